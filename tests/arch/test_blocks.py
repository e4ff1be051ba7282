"""The operations of each block kind, by hand.

Every block here takes 6 channels of 9 x 14 pixels; a stride of 2 leaves 5 x 7.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given

from scalesearch.arch.blocks import BLOCKS, reduced_width, squeeze_width
from scalesearch.arch.graph import Op, shrink
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from tests.strategies import SIZES, WIDTHS, stages

BIG, SMALL, ONE = (9, 14), (5, 7), (1, 1)


def conv(name, inputs, outputs, size_in, size_out, kernel=1, **more):
    """A convolution with norm and activation: what most of them have."""
    flags = {"norm": True, "active": True} | more
    stride = 1 if size_in == size_out else 2
    return Op("conv", name, inputs, outputs, size_in, size_out, kernel, stride=stride, **flags)


def squeeze(width, squeezed, size):
    """Squeeze-excite: two convolutions with bias on the channels' means, then the gate."""
    plain = {"norm": False, "bias": True}
    return [
        Op("pool", "squeeze.pool", width, width, size, ONE),
        conv("squeeze.reduce", width, squeezed, ONE, ONE, **plain),
        conv("squeeze.expand", squeezed, width, ONE, ONE, **plain, active=False),
        Op("gate", "squeeze", width, width, size, size),
    ]


def add(width, size, **more):
    return Op("add", "add", width, width, size, size, **more)


LINEAR = {"active": False}
BARE = {"norm": False, "active": False}
# Each block where its two ends differ (stride 2, 10 channels), and where they are equal.
BY_HAND = {
    # Tan et al. 2019 (MnasNet), Figure 7: the stride is on the depthwise convolution.
    "mbconv, strided": (
        Stage(width=10, stride=2, kernel=5, expand=3, se=0.5),
        [
            conv("expand", 6, 18, BIG, BIG),
            conv("depthwise", 18, 18, BIG, SMALL, 5, groups=18),
            *squeeze(18, 3, SMALL),
            conv("project", 18, 10, SMALL, SMALL, **LINEAR),
        ],
    ),
    "mbconv, plain": (
        Stage(width=6),
        [
            conv("depthwise", 6, 6, BIG, BIG, 3, groups=6),
            conv("project", 6, 6, BIG, BIG, **LINEAR),
            add(6, BIG),
        ],
    ),
    # Tan & Le 2021, Figure 2: one full convolution, strided, in place of the first two.
    "fused_mbconv, strided": (
        Stage(block="fused_mbconv", width=10, stride=2, expand=4, se=0.5),
        [
            conv("expand", 6, 24, BIG, SMALL, 3),
            *squeeze(24, 3, SMALL),
            conv("project", 24, 10, SMALL, SMALL, **LINEAR),
        ],
    ),
    "fused_mbconv, plain": (
        Stage(block="fused_mbconv", width=6, kernel=5),
        [conv("project", 6, 6, BIG, BIG, 5), add(6, BIG)],
    ),
    "fused_mbconv, squeezed before its one convolution": (
        Stage(block="fused_mbconv", width=10, stride=2, se=0.5),
        [*squeeze(6, 3, BIG), conv("project", 6, 10, BIG, SMALL, 3)],
    ),
    # Howard et al. 2017, Figure 3 right: both convolutions are activated, and nothing is added.
    "separable, strided": (
        Stage(block="separable", width=10, stride=2, kernel=5),
        [
            conv("depthwise", 6, 6, BIG, SMALL, 5, groups=6),
            conv("project", 6, 10, SMALL, SMALL),
        ],
    ),
    "separable, plain": (
        Stage(block="separable", width=6),
        [conv("depthwise", 6, 6, BIG, BIG, 3, groups=6), conv("project", 6, 6, BIG, BIG)],
    ),
    # He et al. 2016, Figure 5 left, with option B's projection where the ends differ.
    "basic, strided": (
        Stage(block="basic", width=10, stride=2, kernel=5),
        [
            conv("first", 6, 10, BIG, SMALL, 5),
            conv("second", 10, 10, SMALL, SMALL, 5, **LINEAR),
            conv("shortcut", 6, 10, BIG, SMALL, **LINEAR, aside=True),
            add(10, SMALL, active=True),
        ],
    ),
    "basic, plain": (
        Stage(block="basic", width=6),
        [
            conv("first", 6, 6, BIG, BIG, 3),
            conv("second", 6, 6, BIG, BIG, 3, **LINEAR),
            add(6, BIG, active=True),
        ],
    ),
    # The same, Figure 5 right; the stride on the 3x3 convolution, as torchvision has it.
    "bottleneck, strided": (
        Stage(block="bottleneck", width=10, stride=2, reduce=3),
        [
            conv("reduce", 6, 3, BIG, BIG),
            conv("spatial", 3, 3, BIG, SMALL, 3),
            conv("expand", 3, 10, SMALL, SMALL, **LINEAR),
            conv("shortcut", 6, 10, BIG, SMALL, **LINEAR, aside=True),
            add(10, SMALL, active=True),
        ],
    ),
    "bottleneck, plain": (
        Stage(block="bottleneck", width=6),
        [
            conv("reduce", 6, 1, BIG, BIG),
            conv("spatial", 1, 1, BIG, BIG, 3),
            conv("expand", 1, 6, BIG, BIG, **LINEAR),
            add(6, BIG, active=True),
        ],
    ),
    # Zagoruyko & Komodakis 2016, Figure 1: BN-ReLU-conv twice; no norm behind the second.
    "wide, strided": (
        Stage(block="wide", width=10, stride=2),
        [
            Op("norm", "entry", 6, 6, BIG, BIG, norm=True, active=True),
            conv("first", 6, 10, BIG, SMALL, 3),
            conv("second", 10, 10, SMALL, SMALL, 3, **BARE),
            conv("shortcut", 6, 10, BIG, SMALL, **BARE, aside=True),
            add(10, SMALL),
        ],
    ),
    "wide, plain": (
        Stage(block="wide", width=6),
        [
            Op("norm", "entry", 6, 6, BIG, BIG, norm=True, active=True),
            conv("first", 6, 6, BIG, BIG, 3),
            conv("second", 6, 6, BIG, BIG, 3, **BARE),
            add(6, BIG),
        ],
    ),
    "identity, strided": (
        Stage(block="identity", width=10, stride=2),
        [Op("cut", "cut", 6, 10, BIG, SMALL, stride=2)],
    ),
    "identity, plain": (Stage(block="identity", width=6), []),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_operations_by_hand(case):
    stage, expected = BY_HAND[case]
    assert list(BLOCKS[stage.block](stage, 6, BIG, stage.stride)) == expected


def test_every_block_kind_is_shown_with_equal_and_with_different_ends():
    assert {case.split(",")[0] for case in BY_HAND} == set(BLOCKS) == set(BLOCK_FIELDS)
    for kind in BLOCKS:
        assert {f"{kind}, strided", f"{kind}, plain"} <= set(BY_HAND)


@pytest.mark.parametrize("kind", ["basic", "bottleneck", "wide"])
@pytest.mark.parametrize(("width", "stride"), [(6, 1), (6, 2), (7, 1), (7, 2)])
def test_a_shortcut_is_projected_where_its_ends_differ(kind, width, stride):
    ops = BLOCKS[kind](Stage(block=kind, width=width, stride=stride), 6, BIG, stride)
    assert ("shortcut" in [op.name for op in ops]) == ((width, stride) != (6, 1))


@given(stages(), WIDTHS, SIZES)
def test_a_block_makes_what_its_stage_says(stage, width, size):
    ops = BLOCKS[stage.block](stage, width, size, stage.stride)
    out = (stage.width, shrink(size, stage.stride))
    last = (ops[-1].outputs, ops[-1].size_out) if ops else (width, size)
    assert last == out
    for before, op in pairwise(ops):
        if op.aside:  # from what the branch took to what it made
            entry = ops[0]
            assert (op.inputs, op.size_in) == (entry.inputs, entry.size_in)
            assert (op.outputs, op.size_out) == (before.outputs, before.size_out)
        elif op.kind == "gate":  # what was pooled, times its weights
            assert (op.inputs, op.size_in) == (op.outputs, op.size_out)
        else:
            assert (op.inputs, op.size_in) == (before.outputs, before.size_out)


@pytest.mark.parametrize(
    ("width", "share", "squeezed"),
    # int(input_filters * se_ratio), at least 1: the official code. 0.25 of 10 is 2, not 3.
    [(32, 0.25, 8), (10, 0.25, 2), (11, 0.25, 2), (3, 0.25, 1), (1, 0.04, 1), (16, 1.0, 16)],
)
def test_squeeze_channels_are_cut_not_rounded(width, share, squeezed):
    assert squeeze_width(width, share) == squeezed


@pytest.mark.parametrize(
    ("width", "reduce", "inner"),
    # 2048 / 4 is ResNet-50's last stage; 2048 / 2 that of torchvision's wide_resnet50_2.
    [(2048, 4, 512), (2048, 2, 1024), (10, 3, 3), (11, 3, 3), (3, 4, 1), (7, 1, 7)],
)
def test_inner_channels_of_a_bottleneck_are_cut_not_rounded(width, reduce, inner):
    assert reduced_width(width, reduce) == inner
