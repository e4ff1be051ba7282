"""The walk over a network: every operation once, in forward order, with sizes by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.arch.walk import BLOCKS, shrink, squeeze_width, walk
from tests.strategies import SIZES, backbones

NET = Backbone(
    stages=(
        Stage(width=6, depth=3, stride=2, kernel=5, expand=2, se=0.25),
        Stage(block="identity", width=6),
        Stage(block="identity", width=10, stride=2),
    ),
    stem=Stem(width=6, kernel=3, stride=2),
    head=Head(width=20, dropout=0.5),
    resolution=15,
    num_classes=4,
)


def test_parts_and_repeats_by_hand():
    parts = [(part.name, part.repeats, [op.name for op in part.ops]) for part in walk(NET)]
    block = ["expand", "depthwise", "squeeze.pool", "squeeze.reduce", "squeeze.expand"]
    block += ["squeeze", "project"]
    assert parts == [
        ("stem", 1, ["conv"]),
        ("stage1", 1, block),
        ("stage1", 2, [*block, "add"]),
        ("stage2", 1, []),
        ("stage3", 1, ["cut"]),
        ("head", 1, ["conv", "pool", "dropout", "classifier"]),
    ]


def test_sizes_halve_upwards():
    # 15 -> 8 (stem) -> 4 (stage 1, first block) -> 2 (stage 3), each ceil(side / 2).
    sizes = {part.name: part.ops[-1].size_out for part in walk(NET) if part.ops}
    assert sizes == {"stem": (8, 8), "stage1": (4, 4), "stage3": (2, 2), "head": (1, 1)}


def test_only_the_first_block_of_a_stage_has_its_stride():
    strides = [
        (part.repeats, op.stride) for part in walk(NET) for op in part.ops if op.name == "depthwise"
    ]
    assert strides == [(1, 2), (2, 1)]


def test_a_given_size_replaces_the_resolution():
    stem = next(iter(walk(NET, (7, 20)))).ops[0]
    assert (stem.size_in, stem.size_out) == ((7, 20), (4, 10))


def test_values_and_weights_of_an_operation_by_hand():
    stem, first = (part.ops for part in list(walk(NET))[:2])
    assert (stem[0].values_in, stem[0].values_out) == (3 * 15 * 15, 6 * 8 * 8)
    by_name = {op.name: op for op in first}
    assert by_name["expand"].weights == 6 * 12
    assert by_name["depthwise"].weights == 12 * 5 * 5  # one kernel for each channel
    assert by_name["squeeze.reduce"].weights == 12 * 1 + 1  # int(6 * 0.25) = 1 channel, and bias
    assert by_name["squeeze.expand"].weights == 1 * 12 + 12
    assert by_name["squeeze"].weights == 0


@pytest.mark.parametrize(
    ("width", "share", "squeezed"),
    # int(input_filters * se_ratio), at least 1: the official code. 0.25 of 10 is 2, not 3.
    [(32, 0.25, 8), (10, 0.25, 2), (11, 0.25, 2), (3, 0.25, 1), (1, 0.04, 1), (16, 1.0, 16)],
)
def test_squeeze_channels_are_cut_not_rounded(width, share, squeezed):
    assert squeeze_width(width, share) == squeezed


@given(SIZES)
def test_an_odd_padded_kernel_shrinks_by_the_stride_as_torch_does(size):
    for kernel in (1, 3, 5, 7):
        for stride in (1, 2, 3):
            conv = torch.nn.Conv2d(1, 1, kernel, stride, kernel // 2, device="meta")
            shape = conv(torch.empty(1, 1, *size, device="meta")).shape
            assert tuple(shape[-2:]) == shrink(size, stride)


@given(backbones())
@settings(max_examples=50)
def test_each_operation_takes_what_the_one_before_it_made(net):
    channels, size = net.in_channels, (net.resolution, net.resolution)
    for part in walk(net):
        if not part.ops:
            continue
        first, last = part.ops[0], part.ops[-1]
        assert (first.inputs, first.size_in) == (channels, size)
        channels, size = last.outputs, last.size_out
        if part.name.startswith("stage") and part.repeats > 1:
            assert (first.inputs, first.size_in) == (channels, size)
    assert (channels, size) == (net.num_classes, (1, 1))


def test_every_block_kind_is_walked():
    assert set(BLOCKS) == set(BLOCK_FIELDS)
