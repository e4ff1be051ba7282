"""One operation: its values and weights by hand, and how it shrinks an image."""

from __future__ import annotations

import torch
from hypothesis import given

from scalesearch.arch.graph import Op, shrink
from tests.strategies import SIZES


def test_values_are_channels_times_pixels():
    op = Op("conv", "project", 3, 5, (7, 4), (4, 2), stride=2)
    assert (op.values_in, op.values_out) == (3 * 7 * 4, 5 * 4 * 2)


def test_weights_by_hand():
    one = (1, 1)
    assert Op("conv", "dense", 6, 12, one, one, 5).weights == 6 * 12 * 25
    assert Op("conv", "depthwise", 12, 12, one, one, 5, 12).weights == 12 * 25
    assert Op("conv", "grouped", 12, 8, one, one, 3, 4).weights == 8 * 3 * 9
    assert Op("linear", "classifier", 6, 10, one, one, bias=True).weights == 60 + 10
    # The norm that follows a convolution is not its weight; a norm of its own has none here.
    assert Op("conv", "expand", 6, 12, one, one, norm=True).weights == 72
    for kind in ("norm", "pool", "max_pool", "gate", "add", "cut", "dropout"):
        assert Op(kind, kind, 6, 6, one, one).weights == 0


@given(SIZES)
def test_an_odd_padded_kernel_shrinks_by_the_stride_as_torch_does(size):
    image = torch.empty(1, 1, *size, device="meta")
    for stride in (1, 2, 3):
        for kernel in (1, 3, 5, 7):
            conv = torch.nn.Conv2d(1, 1, kernel, stride, kernel // 2, device="meta")
            assert tuple(conv(image).shape[-2:]) == shrink(size, stride)
        pool = torch.nn.MaxPool2d(3, stride, 1)
        assert tuple(pool(image).shape[-2:]) == shrink(size, stride)
        assert tuple(image[:, :, ::stride, ::stride].shape[-2:]) == shrink(size, stride)
