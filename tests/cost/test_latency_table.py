"""The additive table: entries by their names, sums by hand."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk
from scalesearch.cost.cost import Deployment
from scalesearch.cost.latency_table import (
    LatencyTable,
    entry_name,
    predict,
    table_from_plain,
)
from scalesearch.errors import UserError
from tests.strategies import backbones

NET = Backbone(
    stem=Stem(width=8, stride=2),
    stages=(
        Stage(width=8, depth=1, kernel=3, expand=1),
        Stage(width=16, depth=3, stride=2, kernel=5, expand=6, se=0.25),
    ),
    head=Head(width=32),
    resolution=32,
    num_classes=10,
)
# The five different blocks, in the order of the walk.
ENTRIES = [
    "stem k3 s2, 3 to 8 channels of 32 x 32, silu",
    "mbconv k3 e1 se0.0 s1, 8 to 8 channels of 16 x 16, silu",
    "mbconv k5 e6 se0.25 s2, 8 to 16 channels of 16 x 16, silu",
    "mbconv k5 e6 se0.25 s1, 16 to 16 channels of 8 x 8, silu",
    "head w32, 16 to 10 channels of 8 x 8, silu",
]


def names(net):
    return [entry_name(part.args) for part in walk(net)]


def table_of(**fields):
    return LatencyTable(deployment=Deployment(), machine="a CPU", torch="2.14", **fields)


TABLE = table_of(
    entries=dict(zip(ENTRIES, [[0.1], [0.9, 0.2, 0.3], [0.4], [0.8, 0.9], [1.6]], strict=True)),
    rests=[0.03, 0.01, 0.5],
    checks={"d": [2.0, 1.5]},
)


def test_entries_have_names_to_be_read():
    assert names(NET) == ENTRIES


def test_a_prediction_is_the_sum_of_blocks_and_the_rest():
    # By hand, of several readings the least: 0.1 + 0.2 + 0.4 + 2 * 0.8 + 1.6, and the median rest.
    assert predict(TABLE, NET) == pytest.approx(3.9 + 0.03)
    one_deep = replace(NET, stages=(NET.stages[0], replace(NET.stages[1], depth=1)))
    assert predict(TABLE, one_deep) == pytest.approx(3.9 + 0.03 - 1.6)


def test_a_table_without_any_network_has_no_rest():
    assert table_of().rest == 0.0


def test_a_block_that_is_not_there_is_named():
    other = replace(NET, num_classes=11)
    with pytest.raises(UserError) as caught:
        predict(TABLE, other)
    assert str(caught.value) == (
        "the latency table has no entry 'head w32, 16 to 11 channels of 8 x 8, silu'"
    )


def test_what_changes_the_work_is_in_the_name_and_nothing_else(subtests):
    for change, word in (
        ({"activation": "relu"}, "relu"),
        ({"padding": "same"}, "same padding"),
        ({"stem": Stem(width=8, stride=2, pool=2)}, "stem k3 s2 pool2,"),
        ({"stem": Stem(width=8, stride=2, norm=False)}, "stem k3 s2 bare,"),
        ({"head": Head(width=0)}, "head, 16"),
        ({"head": Head(width=0, norm=True)}, "head norm, 16"),
        ({"stages": (Stage(block="bottleneck", width=16, reduce=2),)}, "bottleneck k3 r2 s1, 8"),
        ({"stages": (Stage(block="identity", width=8),)}, "identity s1, 8 to 8"),
    ):
        with subtests.test(word):
            assert any(word in name for name in names(replace(NET, **change)))
    for change in ({"drop_path": 0.2}, {"head": Head(width=32, dropout=0.5)}, {"norm_eps": 1e-3}):
        assert names(replace(NET, **change)) == ENTRIES


def work(part, net):
    """All that a block computes: its operations but for what drops values in training."""
    ops = [op for op in part.graph.ops if op.kind != "dropout"]
    shapes = tuple(
        (op.kind, op.name, op.source, op.output, op.kernel, op.stride, op.groups) for op in ops
    )
    return shapes, net.activation, net.padding


@given(st.lists(backbones(), min_size=2, max_size=4))
@settings(max_examples=60)
def test_equal_names_are_equal_work(nets):
    by_name = defaultdict(set)
    for net in nets:
        for part, name in zip(walk(net), names(net), strict=True):
            by_name[name].add(work(part, net))
    assert all(len(works) == 1 for works in by_name.values())


def test_a_table_comes_back_from_its_file():
    again = table_from_plain(json.loads(json.dumps(asdict(TABLE))))
    assert again == TABLE
    assert again.deployment == Deployment()


def test_anything_else_is_not_a_table(subtests):
    whole = asdict(TABLE)
    for plain in (
        {},
        [],
        3,
        None,
        {"entries": {}},
        whole | {"extra": 1},
        whole | {"entries": {"a": []}},
        whole | {"entries": {"a": ["fast"]}},
        whole | {"entries": {"a": [float("nan")]}},
        whole | {"rests": ["x"]},
        whole | {"checks": {"d": 1.0}},
        whole | {"deployment": {"gpu": 1}},
    ):
        with subtests.test(str(plain)):
            with pytest.raises(UserError, match="this is not a latency table") as caught:
                table_from_plain(plain)
            assert "scalesearch profile --space" in caught.value.hint
