"""Every neck's table, by hand, against effdet's, and by what any table must keep to."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch import plugins
from scalesearch.arch.neck import check_nodes, outputs
from scalesearch.errors import UserError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from effdet.config.fpn_config import get_fpn_config

KINDS = plugins.names("necks")
LEAST = {"bifpn": 2, "nas_fpn": 5}  # levels
FIVE, SIX = range(3, 8), range(3, 9)

# Level and inputs of each fusion. P3 … P7 come in as 0 … 4, the first fusion is 5.
BY_HAND = {
    # EfficientDet, Figure 2d: down to P3, up to P7; inner levels take their own input again.
    ("bifpn", FIVE): [
        (6, (3, 4)),
        (5, (2, 5)),
        (4, (1, 6)),
        (3, (0, 7)),
        (4, (1, 7, 8)),
        (5, (2, 6, 9)),
        (6, (3, 5, 10)),
        (7, (4, 11)),
    ],
    ("bifpn", SIX): [
        (7, (4, 5)),
        (6, (3, 6)),
        (5, (2, 7)),
        (4, (1, 8)),
        (3, (0, 9)),
        (4, (1, 9, 10)),
        (5, (2, 8, 11)),
        (6, (3, 7, 12)),
        (7, (4, 6, 13)),
        (8, (5, 14)),
    ],
    # Figure 2a: each level and what came out above it.
    ("fpn", FIVE): [(7, (4,)), (6, (3, 5)), (5, (2, 6)), (4, (1, 7)), (3, (0, 8))],
    ("fpn", SIX): [(8, (5,)), (7, (4, 6)), (6, (3, 7)), (5, (2, 8)), (4, (1, 9)), (3, (0, 10))],
    # Figure 2b: the same, and then up again.
    ("panet", FIVE): [
        (7, (4,)),
        (6, (3, 5)),
        (5, (2, 6)),
        (4, (1, 7)),
        (3, (0, 8)),
        (3, (9,)),
        (4, (8, 10)),
        (5, (7, 11)),
        (6, (6, 12)),
        (7, (5, 13)),
    ],
    ("panet", SIX): [
        (8, (5,)),
        (7, (4, 6)),
        (6, (3, 7)),
        (5, (2, 8)),
        (4, (1, 9)),
        (3, (0, 10)),
        (3, (11,)),
        (4, (10, 12)),
        (5, (9, 13)),
        (6, (8, 14)),
        (7, (7, 15)),
        (8, (6, 16)),
    ],
    # NAS-FPN, Figure 6: P4 of P6 and P4, P4 again, P3 out, P4 out, P5 out, P7 out, P6 out. P5 and
    # P7 as they came in are used nowhere else and join the output there.
    ("nas_fpn", FIVE): [
        (4, (3, 1)),
        (4, (5, 1)),
        (3, (6, 0)),
        (4, (7, 6)),
        (5, (2, 8, 7)),
        (7, (4, 9, 6)),
        (6, (10, 9)),
    ],
    # Ours: P8 joins the output at P7.
    ("nas_fpn", SIX): [
        (4, (3, 1)),
        (4, (6, 1)),
        (3, (7, 0)),
        (4, (8, 7)),
        (5, (2, 9, 8)),
        (7, (4, 10, 7)),
        (6, (11, 10)),
        (8, (5, 11)),
    ],
    ("fully_connected", FIVE): [(level, (0, 1, 2, 3, 4)) for level in FIVE],
    ("fully_connected", SIX): [(level, (0, 1, 2, 3, 4, 5)) for level in SIX],
}


def nodes_of(kind, levels):
    return plugins.load("necks", kind)().nodes(levels)


def test_there_is_a_table_for_each():
    assert {kind for kind, _ in BY_HAND} == set(KINDS)


@pytest.mark.parametrize(("kind", "levels"), BY_HAND)
def test_tables_by_hand(kind, levels):
    assert list(nodes_of(kind, levels)) == BY_HAND[kind, levels]


@pytest.mark.parametrize(("kind", "name"), [("bifpn", "bifpn_fa"), ("panet", "pan_fa")])
@pytest.mark.parametrize("top", [7, 8])
def test_effdets_tables(kind, name, top):
    theirs = get_fpn_config(name, min_level=3, max_level=top).nodes
    assert [(node.level, node.inputs) for node in nodes_of(kind, range(3, top + 1))] == [
        (node.feat_level, tuple(node.inputs_offsets)) for node in theirs
    ]


@given(st.sampled_from(KINDS), st.integers(1, 6), st.integers(1, 8))
def test_every_table_can_be_run_and_uses_all_that_it_is_given(kind, first, count):
    levels = range(first, first + count)
    try:
        nodes = nodes_of(kind, levels)
    except UserError:
        assert count < LEAST[kind]
        return
    assert count >= LEAST.get(kind, 1)
    check_nodes(nodes, levels)
    used = {number for node in nodes for number in node.inputs}
    out = outputs(nodes, levels)
    assert set(range(count)) <= used
    assert set(range(count + len(nodes))) - used <= set(out)
    assert all(levels.start <= node.level < levels.stop for node in nodes)
    assert [nodes[number - count].level for number in out] == list(levels)


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("bifpn", lambda levels: 2 * levels - 2),
        ("fpn", lambda levels: levels),
        ("panet", lambda levels: 2 * levels),
        ("fully_connected", lambda levels: levels),
        ("nas_fpn", lambda levels: levels + 2),
    ],
)
def test_how_many_fusions_a_layer_has(kind, count):
    for levels in range(5, 9):
        assert len(nodes_of(kind, range(2, 2 + levels))) == count(levels)


@pytest.mark.parametrize(
    ("kind", "levels", "text"),
    [
        ("nas_fpn", range(3, 7), "nas_fpn was found for five levels, not 4\n  allowed: at least 7"),
        ("bifpn", range(3, 4), "bifpn fuses levels, and there is one\n  allowed: at least 4"),
    ],
)
def test_too_few_levels(kind, levels, text):
    with pytest.raises(UserError) as raised:
        nodes_of(kind, levels)
    assert str(raised.value) == f"neck.max_level: {text}"
