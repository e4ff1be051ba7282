"""Operations and their builder: values and weights by hand, sizes as torch makes them."""

from __future__ import annotations

import torch
from hypothesis import given

from scalesearch.arch.graph import FeatureMap, GraphBuilder, Op, shrink
from tests.graphs import by_hand, lines
from tests.strategies import SIZES


def test_values_and_weights_by_hand():
    one = (1, 1)
    assert FeatureMap(3, (7, 4)).values == 3 * 7 * 4

    def weights(kind, inputs, outputs, **fields):
        return Op(kind, "", (0,), FeatureMap(inputs, one), FeatureMap(outputs, one), **fields)

    assert weights("conv", 6, 12, kernel=5).weights == 6 * 12 * 25
    assert weights("conv", 12, 12, kernel=5, groups=12).weights == 12 * 25
    assert weights("conv", 12, 8, kernel=3, groups=4).weights == 8 * 3 * 9
    # A bias is no part of the weight.
    assert weights("linear", 6, 10, bias=True).weights == 60


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


def test_same_padding_is_an_operation_of_its_own_before_what_is_strided():
    """7 pixels strided by 3 with kernel 5 are read from 2 * 3 + 5 = 11; 10 pixels from 14; a
    kernel smaller than its stride leaves pixels out and adds none.
    """
    g = GraphBuilder([FeatureMap(2, (7, 10))], "silu", same=True)
    g.conv_norm_act("wide", 0, 4, kernel=5, stride=3, act=False)
    g.conv_norm_act("narrow", 0, 4, kernel=1, stride=3, norm=False)
    g.conv_norm_act("dense", 0, 4, kernel=5, norm=False, act=False)
    assert lines(g.graph(0)) == by_hand("""
        wide.pad pad 0 -> 2x11x14
        wide.conv conv 1 -> 4x3x4 k5 s3
        wide.norm batch_norm 2 -> 4x3x4
        narrow.pad pad 0 -> 2x7x10
        narrow.conv conv 4 -> 4x3x4 k1 s3
        narrow.active activation 5 -> 4x3x4 silu
        dense.conv conv 0 -> 4x7x10 k5 s1
    """)


@given(SIZES)
def test_same_padding_pads_as_torch_needs_it(size):
    for kernel, stride in ((3, 2), (5, 2), (3, 3), (1, 2)):
        g = GraphBuilder([FeatureMap(1, size)], same=True)
        y = g.conv_norm_act("conv", 0, 1, kernel=kernel, stride=stride, norm=False, act=False)
        graph = g.graph(y)
        padded = torch.empty(1, 1, *graph.map(1).size, device="meta")
        conv = torch.nn.Conv2d(1, 1, kernel, stride, device="meta")
        assert tuple(conv(padded).shape[-2:]) == graph.map(y).size


def test_maps_are_numbered_from_the_inputs_on():
    g = GraphBuilder([FeatureMap(2, (4, 4)), FeatureMap(3, (4, 4))])
    total = g.op("concat", "both", 0, 1, output=FeatureMap(5, (4, 4)))
    y = g.conv("conv", total, 7, bias=True)
    graph = g.graph(y, 1)
    assert [graph.map(i).width for i in range(4)] == [2, 3, 5, 7]
    assert graph.outputs == (3, 1)
    assert graph.ops[1].source == FeatureMap(5, (4, 4))
