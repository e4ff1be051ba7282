"""The walk over a network: every operation once, in forward order, with sizes by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.graph import Op
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk
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


def test_a_stem_by_hand():
    bare = replace(NET, stem=Stem(width=6, kernel=7, stride=2, pool=2, norm=False))
    # 15 x 22 -> 8 x 11 by the convolution -> 4 x 6 by the pooling; a norm brings the activation.
    conv = Op("conv", "conv", 3, 6, (15, 22), (8, 11), 7, stride=2)
    pool = Op("max_pool", "pool", 6, 6, (8, 11), (4, 6), 3, stride=2)
    assert next(iter(walk(bare, (15, 22)))).ops == (conv, pool)
    both = replace(bare, stem=replace(bare.stem, norm=True))
    assert next(iter(walk(both, (15, 22)))).ops == (conv._replace(norm=True, active=True), pool)


@pytest.mark.parametrize(
    ("head", "before", "width"),
    [
        (Head(width=20), [Op("conv", "conv", 10, 20, (2, 2), (2, 2), norm=True, active=True)], 20),
        (Head(width=0), [], 10),
        (
            Head(width=0, norm=True),
            [Op("norm", "norm", 10, 10, (2, 2), (2, 2), norm=True, active=True)],
            10,
        ),
    ],
)
def test_heads_by_hand(head, before, width):
    one = (1, 1)
    pool = Op("pool", "pool", width, width, (2, 2), one, counted=True)
    classifier = Op("linear", "classifier", width, 4, one, one, bias=True)
    assert list(walk(replace(NET, head=head)))[-1].ops == (*before, pool, classifier)
    dropped = list(walk(replace(NET, head=replace(head, dropout=0.1))))[-1].ops
    dropout = Op("dropout", "dropout", width, width, one, one)
    assert dropped == (*before, pool, dropout, classifier)


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


@given(backbones())
@settings(max_examples=30)
def test_equal_arguments_of_a_rule_give_equal_operations(net):
    for part in walk(net):
        again = hash((part.rule, part.args)), part.rule(*part.args)
        assert again == (hash((part.rule, part.args)), part.ops)
    stages = [part for part in walk(net) if part.name.startswith("stage")]
    assert sum(part.repeats for part in stages) == net.depth
