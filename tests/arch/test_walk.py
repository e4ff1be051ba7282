"""The parts of whole networks, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.detector import Detector, Heads
from scalesearch.arch.graph import FeatureMap
from scalesearch.arch.neck import Neck
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk
from tests.detectors import detectors
from tests.graphs import by_hand, lines
from tests.strategies import backbones

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
# Levels 2 and 3 of the neck come from the stages, 1 to 10 channels of the first being projected
# to the 8 of the neck and the second's taken as they are; level 4 is made.
DETECTOR = Detector(
    backbone=Backbone(
        stem=Stem(width=6),
        stages=(
            Stage(block="separable", width=10, stride=2),
            Stage(block="separable", width=8, stride=2),
        ),
        resolution=24,
    ),
    neck=Neck(kind="fpn", width=8, depth=3, min_level=2, max_level=4),
    heads=Heads(depth=1),
    num_classes=5,
    norm_bias=True,
)


def convolutions(part):
    return [op.name.removesuffix(".conv") for op in part.graph.ops if op.kind == "conv"]


def output(part):
    return part.graph.map(part.graph.outputs[0])


def test_parts_and_repeats_by_hand():
    parts = [(part.name, part.repeats, convolutions(part)) for part in walk(NET)]
    block = ["expand", "depthwise", "squeeze.reduce", "squeeze.expand", "project"]
    assert parts == [
        ("stem", 1, ["stem"]),
        ("stage1", 1, block),
        ("stage1", 2, block),
        ("stage2", 1, []),
        ("stage3", 1, []),
        ("head", 1, ["head"]),
    ]
    adds = ["add" in [op.kind for op in part.graph.ops] for part in walk(NET)]
    assert adds == [False, False, True, False, False, False]


def test_sizes_halve_upwards():
    # 15 -> 8 (stem) -> 4 (stage 1, first block) -> 2 (stage 3), each ceil(side / 2).
    sizes = [output(part).size for part in walk(NET)]
    assert sizes == [(8, 8), (4, 4), (4, 4), (4, 4), (2, 2), (1, 1)]


def test_only_the_first_block_of_a_stage_has_its_stride():
    strides = [
        (part.repeats, op.stride)
        for part in walk(NET)
        for op in part.graph.ops
        if op.name == "depthwise.conv"
    ]
    assert strides == [(1, 2), (2, 1)]


def test_the_first_block_of_the_network_alone_is_never_dropped():
    net = replace(NET, stages=(Stage(width=6, depth=2), Stage(width=6)), drop_path=0.2)
    adds = [op.function for part in walk(net) for op in part.graph.ops if op.kind == "add"]
    assert adds == ["", "drop_path", "drop_path"]


def test_a_given_size_replaces_the_resolution():
    stem = next(iter(walk(NET, (7, 20))))
    assert (stem.graph.inputs[0].size, output(stem).size) == ((7, 20), (4, 10))


def test_a_stem_by_hand():
    bare = replace(NET, stem=Stem(width=6, kernel=7, stride=2, pool=2, norm=False))
    # 15 x 22 -> 8 x 11 by the convolution -> 4 x 6 by the pooling; a norm brings the activation.
    assert lines(next(iter(walk(bare, (15, 22)))).graph) == by_hand("""
        stem.conv conv 0 -> 6x8x11 k7 s2
        stem_pool max_pool 1 -> 6x4x6 k3 s2
    """)
    both = replace(bare, stem=replace(bare.stem, norm=True))
    assert lines(next(iter(walk(both, (15, 22)))).graph) == by_hand("""
        stem.conv conv 0 -> 6x8x11 k7 s2
        stem.norm batch_norm 1 -> 6x8x11
        stem.active activation 2 -> 6x8x11 silu
        stem_pool max_pool 3 -> 6x4x6 k3 s2
    """)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            Head(width=20),
            """
            head.conv conv 0 -> 20x2x2 k1 s1
            head.norm batch_norm 1 -> 20x2x2
            head.active activation 2 -> 20x2x2 silu
            pool avg_pool 3 -> 20x1x1
            classifier linear 4 -> 4x1x1
            """,
        ),
        (
            Head(width=0, dropout=0.1),
            """
            pool avg_pool 0 -> 10x1x1
            dropout dropout 1 -> 10x1x1
            classifier linear 2 -> 4x1x1
            """,
        ),
        (
            Head(width=0, norm=True),
            """
            head.norm batch_norm 0 -> 10x2x2
            head.active activation 1 -> 10x2x2 silu
            pool avg_pool 2 -> 10x1x1
            classifier linear 3 -> 4x1x1
            """,
        ),
    ],
)
def test_heads_by_hand(head, expected):
    *ops, loss = lines(list(walk(replace(NET, head=head)))[-1].graph)
    assert ops == by_hand(expected)
    assert loss.split()[0] == "cross_entropy"


def test_a_neck_by_hand():
    """A top-down FPN: a node for each level, which also takes the node of the level above."""
    parts = {part.name: part for part in walk(DETECTOR)}
    assert list(parts)[-4:] == ["neck.layer1", "neck.layer2", "class_head", "box_head"]
    assert (parts["neck.layer1"].repeats, parts["neck.layer2"].repeats) == (1, 2)
    node = """
        joints.{0}.fusion fuse {1} -> {2} fast
        joints.{0}.active activation {3} -> {2} silu
        joints.{0}.conv.depthwise conv {4} -> {2} k3 s1 g8
        joints.{0}.conv.pointwise conv {5} -> {2} k1 s1 bias
        joints.{0}.norm batch_norm {6} -> {2}
    """
    # Tensors 0 and 1 are levels 2 and 3, tensor 2 is level 4; nodes end in 7, 13 and 21. In the
    # table of the neck the maps are 0 to 2 and the nodes 3 to 5.
    assert lines(parts["neck.layer1"].graph) == by_hand(f"""
        extra.2 max_pool 1 -> 8x2x2 k3 s2
        {node.format(0, "2", "8x2x2", 3, 4, 5, 6).strip()}
        joints.1.resample.3 upsample 7 -> 8x3x3
        {node.format(1, "1,8", "8x3x3", 9, 10, 11, 12).strip()}
        joints.2.resample.0.conv conv 0 -> 8x6x6 k1 s1 bias
        joints.2.resample.0.norm batch_norm 14 -> 8x6x6
        joints.2.resample.4 upsample 13 -> 8x6x6
        {node.format(2, "15,16", "8x6x6", 17, 18, 19, 20).strip()}
    """)
    assert parts["neck.layer1"].graph.outputs == (21, 13, 7)


def test_a_head_of_a_detector_by_hand():
    """9 anchors at each pixel of 6 x 6, 3 x 3 and 2 x 2; convolutions are shared by the levels."""
    boxes = list(walk(DETECTOR))[-1]
    level = """
        box_head.convs.0.depthwise conv {0} -> 8x{5} k3 s1 g8 {6}
        box_head.convs.0.pointwise conv {1} -> 8x{5} k1 s1 bias {6}
        box_head.norms.0.{0} batch_norm {2} -> 8x{5}
        box_head.active activation {3} -> 8x{5} silu
        box_head.predict.depthwise conv {4} -> 8x{5} k3 s1 g8 {6}
    """
    assert lines(boxes.graph) == by_hand(f"""
        {level.format(0, *range(3, 7), "6x6", "").strip()}
        {level.format(1, *range(8, 12), "3x3", "shared").strip()}
        {level.format(2, *range(13, 17), "2x2", "shared").strip()}
        box_head.pixels concat 7,12,17 -> 8x1x49
        box_head.predict.pointwise conv 18 -> 36x1x49 k1 s1 bias
    """)


@given(backbones())
@settings(max_examples=50)
def test_each_part_takes_what_the_one_before_it_made(net):
    x = FeatureMap(net.in_channels, (net.resolution, net.resolution))
    for part in walk(net):
        assert part.graph.inputs == (x,)
        x = output(part)
        assert part.repeats == 1 or part.graph.inputs == (x,)
    assert x == FeatureMap(net.num_classes, (1, 1))


@given(detectors())
@settings(max_examples=30)
def test_parts_of_a_neck_take_what_was_made_before(net):
    parts = list(walk(net))
    stages = {part.name: output(part) for part in parts if part.name.startswith("stage")}
    layers = [part.graph for part in parts if part.name.startswith("neck")]
    taps = tuple(stages[f"stage{index + 1}"] for index in net.sources)
    assert layers[0].inputs == taps
    for graph in layers[1:] + [part.graph for part in parts[-2:]]:
        maps = tuple(layers[0].map(i) for i in layers[0].outputs)
        assert graph.inputs == maps
    assert sum(part.repeats for part in parts if part.name.startswith("neck")) == net.neck.depth


@given(backbones() | detectors())
@settings(max_examples=30)
def test_equal_arguments_of_a_rule_give_equal_graphs(net):
    for part in walk(net):
        hash(part.args)  # so that what is made of a graph can be cached
        assert part.rule(*part.args) == part.graph
    stages = [part for part in walk(net) if part.name.startswith("stage")]
    assert sum(part.repeats for part in stages) == net.depth
