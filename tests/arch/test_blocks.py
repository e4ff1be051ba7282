"""The operations of each block kind, by hand.

Every block here takes 6 channels of 9 x 14 pixels; a stride of 2 leaves 5 x 7.
"""

from __future__ import annotations

import pytest
from hypothesis import given

from scalesearch.arch.blocks import BLOCKS, BlockContext, Style, reduced_width, squeeze_width
from scalesearch.arch.graph import FeatureMap, shrink
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from tests.graphs import by_hand, lines
from tests.strategies import SIZES, WIDTHS, stages

STYLE = Style("silu", "symmetric")


def graph_of(stage, width=6, size=(9, 14), style=STYLE):
    return BLOCKS[stage.block](stage, BlockContext(width, size, stage.stride, style))


# Each block where its two ends differ (stride 2, 10 channels), and where they are equal.
BY_HAND = {
    # Tan et al. 2019 (MnasNet), Figure 7: the stride is on the depthwise convolution.
    "mbconv, strided": (
        Stage(width=10, stride=2, kernel=5, expand=3, se=0.5),
        """
        expand.conv conv 0 -> 18x9x14 k1 s1
        expand.norm batch_norm 1 -> 18x9x14
        expand.active activation 2 -> 18x9x14 silu
        depthwise.conv conv 3 -> 18x5x7 k5 s2 g18
        depthwise.norm batch_norm 4 -> 18x5x7
        depthwise.active activation 5 -> 18x5x7 silu
        squeeze.mean mean 6 -> 18x1x1
        squeeze.reduce conv 7 -> 3x1x1 k1 s1 bias
        squeeze.active activation 8 -> 3x1x1 silu
        squeeze.expand conv 9 -> 18x1x1 k1 s1 bias
        squeeze.sigmoid sigmoid 10 -> 18x1x1
        squeeze.multiply multiply 6,11 -> 18x5x7
        project.conv conv 12 -> 10x5x7 k1 s1
        project.norm batch_norm 13 -> 10x5x7
        """,
    ),
    "mbconv, plain": (
        Stage(width=6),
        """
        depthwise.conv conv 0 -> 6x9x14 k3 s1 g6
        depthwise.norm batch_norm 1 -> 6x9x14
        depthwise.active activation 2 -> 6x9x14 silu
        project.conv conv 3 -> 6x9x14 k1 s1
        project.norm batch_norm 4 -> 6x9x14
        drop_path add 0,5 -> 6x9x14
        """,
    ),
    # Tan & Le 2021, Figure 2: one full convolution, strided, in place of the first two.
    "fused_mbconv, strided": (
        Stage(block="fused_mbconv", width=10, stride=2, expand=4, se=0.5),
        """
        expand.conv conv 0 -> 24x5x7 k3 s2
        expand.norm batch_norm 1 -> 24x5x7
        expand.active activation 2 -> 24x5x7 silu
        squeeze.mean mean 3 -> 24x1x1
        squeeze.reduce conv 4 -> 3x1x1 k1 s1 bias
        squeeze.active activation 5 -> 3x1x1 silu
        squeeze.expand conv 6 -> 24x1x1 k1 s1 bias
        squeeze.sigmoid sigmoid 7 -> 24x1x1
        squeeze.multiply multiply 3,8 -> 24x5x7
        project.conv conv 9 -> 10x5x7 k1 s1
        project.norm batch_norm 10 -> 10x5x7
        """,
    ),
    "fused_mbconv, plain": (
        Stage(block="fused_mbconv", width=6, kernel=5),
        """
        project.conv conv 0 -> 6x9x14 k5 s1
        project.norm batch_norm 1 -> 6x9x14
        project.active activation 2 -> 6x9x14 silu
        drop_path add 0,3 -> 6x9x14
        """,
    ),
    "fused_mbconv, squeezed before its one convolution": (
        Stage(block="fused_mbconv", width=10, stride=2, se=0.5),
        """
        squeeze.mean mean 0 -> 6x1x1
        squeeze.reduce conv 1 -> 3x1x1 k1 s1 bias
        squeeze.active activation 2 -> 3x1x1 silu
        squeeze.expand conv 3 -> 6x1x1 k1 s1 bias
        squeeze.sigmoid sigmoid 4 -> 6x1x1
        squeeze.multiply multiply 0,5 -> 6x9x14
        project.conv conv 6 -> 10x5x7 k3 s2
        project.norm batch_norm 7 -> 10x5x7
        project.active activation 8 -> 10x5x7 silu
        """,
    ),
    # Howard et al. 2017, Figure 3 right: both convolutions are activated, and nothing is added.
    "separable, strided": (
        Stage(block="separable", width=10, stride=2, kernel=5),
        """
        depthwise.conv conv 0 -> 6x5x7 k5 s2 g6
        depthwise.norm batch_norm 1 -> 6x5x7
        depthwise.active activation 2 -> 6x5x7 silu
        project.conv conv 3 -> 10x5x7 k1 s1
        project.norm batch_norm 4 -> 10x5x7
        project.active activation 5 -> 10x5x7 silu
        """,
    ),
    "separable, plain": (
        Stage(block="separable", width=6),
        """
        depthwise.conv conv 0 -> 6x9x14 k3 s1 g6
        depthwise.norm batch_norm 1 -> 6x9x14
        depthwise.active activation 2 -> 6x9x14 silu
        project.conv conv 3 -> 6x9x14 k1 s1
        project.norm batch_norm 4 -> 6x9x14
        project.active activation 5 -> 6x9x14 silu
        """,
    ),
    # He et al. 2016, Figure 5 left, with option B's projection where the ends differ.
    "basic, strided": (
        Stage(block="basic", width=10, stride=2, kernel=5),
        """
        first.conv conv 0 -> 10x5x7 k5 s2
        first.norm batch_norm 1 -> 10x5x7
        first.active activation 2 -> 10x5x7 silu
        second.conv conv 3 -> 10x5x7 k5 s1
        second.norm batch_norm 4 -> 10x5x7
        shortcut.conv conv 0 -> 10x5x7 k1 s2
        shortcut.norm batch_norm 6 -> 10x5x7
        drop_path add 7,5 -> 10x5x7
        active activation 8 -> 10x5x7 silu
        """,
    ),
    "basic, plain": (
        Stage(block="basic", width=6),
        """
        first.conv conv 0 -> 6x9x14 k3 s1
        first.norm batch_norm 1 -> 6x9x14
        first.active activation 2 -> 6x9x14 silu
        second.conv conv 3 -> 6x9x14 k3 s1
        second.norm batch_norm 4 -> 6x9x14
        drop_path add 0,5 -> 6x9x14
        active activation 6 -> 6x9x14 silu
        """,
    ),
    # The same, Figure 5 right; the stride on the 3x3 convolution, as torchvision has it.
    "bottleneck, strided": (
        Stage(block="bottleneck", width=10, stride=2, reduce=3),
        """
        reduce.conv conv 0 -> 3x9x14 k1 s1
        reduce.norm batch_norm 1 -> 3x9x14
        reduce.active activation 2 -> 3x9x14 silu
        spatial.conv conv 3 -> 3x5x7 k3 s2
        spatial.norm batch_norm 4 -> 3x5x7
        spatial.active activation 5 -> 3x5x7 silu
        expand.conv conv 6 -> 10x5x7 k1 s1
        expand.norm batch_norm 7 -> 10x5x7
        shortcut.conv conv 0 -> 10x5x7 k1 s2
        shortcut.norm batch_norm 9 -> 10x5x7
        drop_path add 10,8 -> 10x5x7
        active activation 11 -> 10x5x7 silu
        """,
    ),
    "bottleneck, plain": (
        Stage(block="bottleneck", width=6),
        """
        reduce.conv conv 0 -> 1x9x14 k1 s1
        reduce.norm batch_norm 1 -> 1x9x14
        reduce.active activation 2 -> 1x9x14 silu
        spatial.conv conv 3 -> 1x9x14 k3 s1
        spatial.norm batch_norm 4 -> 1x9x14
        spatial.active activation 5 -> 1x9x14 silu
        expand.conv conv 6 -> 6x9x14 k1 s1
        expand.norm batch_norm 7 -> 6x9x14
        drop_path add 0,8 -> 6x9x14
        active activation 9 -> 6x9x14 silu
        """,
    ),
    # Zagoruyko & Komodakis 2016, Figure 1: BN-ReLU-conv twice; no norm behind the second.
    "wide, strided": (
        Stage(block="wide", width=10, stride=2),
        """
        entry.norm batch_norm 0 -> 6x9x14
        entry.active activation 1 -> 6x9x14 silu
        first.conv conv 2 -> 10x5x7 k3 s2
        first.norm batch_norm 3 -> 10x5x7
        first.active activation 4 -> 10x5x7 silu
        second.conv conv 5 -> 10x5x7 k3 s1
        shortcut.conv conv 2 -> 10x5x7 k1 s2
        drop_path add 7,6 -> 10x5x7
        """,
    ),
    "wide, plain": (
        Stage(block="wide", width=6),
        """
        entry.norm batch_norm 0 -> 6x9x14
        entry.active activation 1 -> 6x9x14 silu
        first.conv conv 2 -> 6x9x14 k3 s1
        first.norm batch_norm 3 -> 6x9x14
        first.active activation 4 -> 6x9x14 silu
        second.conv conv 5 -> 6x9x14 k3 s1
        drop_path add 0,6 -> 6x9x14
        """,
    ),
    "identity, strided": (
        Stage(block="identity", width=10, stride=2),
        """
        shortcut 0 -> 10x5x7
        """,
    ),
    "identity, plain": (
        Stage(block="identity", width=6),
        """
        """,
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_operations_by_hand(case):
    stage, expected = BY_HAND[case]
    graph = graph_of(stage)
    assert lines(graph) == by_hand(expected)
    assert graph.outputs == (len(graph.ops),)


def test_every_block_kind_is_shown_with_equal_and_with_different_ends():
    assert {case.split(",")[0] for case in BY_HAND} == set(BLOCKS) == set(BLOCK_FIELDS)
    for kind in BLOCKS:
        assert {f"{kind}, strided", f"{kind}, plain"} <= set(BY_HAND)


def test_a_shortcut_is_projected_where_its_ends_differ():
    for kind in ("basic", "bottleneck", "wide"):
        for width, stride in ((6, 1), (6, 2), (7, 1), (7, 2)):
            graph = graph_of(Stage(block=kind, width=width, stride=stride))
            projected = "shortcut.conv" in [op.name for op in graph.ops]
            assert projected == ((width, stride) != (6, 1)), (kind, width, stride)


def test_what_a_network_shares_is_in_its_blocks():
    stage = Stage(width=6)
    *_, add = graph_of(stage, style=Style("relu", "same", drop_path=True)).ops
    assert (add.kind, add.function) == ("add", "drop_path")
    strided = graph_of(Stage(width=6, stride=2), style=Style("relu", "same"))
    assert lines(strided)[:4] == by_hand("""
        depthwise.pad pad 0 -> 6x11x15
        depthwise.conv conv 1 -> 6x5x7 k3 s2 g6
        depthwise.norm batch_norm 2 -> 6x5x7
        depthwise.active activation 3 -> 6x5x7 relu
    """)


@given(stages(), WIDTHS, SIZES)
def test_a_block_makes_what_its_stage_says(stage, width, size):
    graph = graph_of(stage, width, size)
    (output,) = graph.outputs
    assert graph.map(output) == FeatureMap(stage.width, shrink(size, stage.stride))
    for number, op in enumerate(graph.ops, 1):
        assert op.source == graph.map(op.inputs[0])
        assert max(op.inputs) < number  # what was made before
        if op.kind == "add":
            assert {graph.map(i) for i in op.inputs} == {op.output}
    used = {i for op in graph.ops for i in op.inputs} | {output}
    assert used == set(range(len(graph.ops) + 1))


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
