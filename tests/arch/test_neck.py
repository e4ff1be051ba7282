"""The description of a neck, and what its tables must keep to."""

from __future__ import annotations

import pytest

from scalesearch.arch.neck import FUSIONS, Neck, Node, check_nodes, outputs
from scalesearch.errors import UserError

TWO = range(3, 5)  # levels 3 and 4, which come in as feature maps 0 and 1


def test_a_neck_has_its_levels_from_the_finest():
    assert list(Neck().levels) == [3, 4, 5, 6, 7]
    assert list(Neck(min_level=2, max_level=2).levels) == [2]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_can_be_described(fusion):
    assert Neck(fusion=fusion).fusion == fusion


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"width": 0}, "width: 0 cannot be used\n  allowed: a whole number >= 1"),
        ({"depth": 2.0}, "depth: 2.0 cannot be used\n  allowed: a whole number >= 1"),
        ({"min_level": 0}, "min_level: 0 cannot be used\n  allowed: a whole number >= 1"),
        ({"max_level": 2}, "max_level: 2 cannot be used\n  allowed: a whole number >= 3"),
        (
            {"fusion": "softmx"},
            "fusion: 'softmx' is not known\n  allowed: fast, softmax, sum, unbounded\n"
            "  did you mean 'softmax'?",
        ),
        ({"kind": 3}, "kind: 3 cannot be used\n  allowed: bifpn, fpn, …"),
        ({"kind": ""}, "kind: '' cannot be used\n  allowed: bifpn, fpn, …"),
    ],
)
def test_a_wrong_field_is_named(fields, text):
    with pytest.raises(UserError) as told:
        Neck(**fields)
    assert str(told.value) == text


def test_a_levels_last_fusion_is_put_out():
    nodes = (Node(3, (0, 1)), Node(4, (1, 2)), Node(3, (2, 3)))
    assert outputs(nodes, TWO) == (4, 3)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        (
            (Node(3, (0, 2)), Node(4, (1,))),
            "fusion 2 has the inputs (0, 2)\n"
            "  allowed: different feature maps that come before it: 0 to 1",
        ),
        (
            (Node(3, (0,)), Node(4, (1, -1))),
            "fusion 3 has the inputs (1, -1)\n"
            "  allowed: different feature maps that come before it: 0 to 2",
        ),
        (
            (Node(3, (1, 1)), Node(4, (1,))),
            "fusion 2 has the inputs (1, 1)\n"
            "  allowed: different feature maps that come before it: 0 to 1",
        ),
        (
            (Node(3, ()), Node(4, (1,))),
            "fusion 2 has the inputs ()\n"
            "  allowed: different feature maps that come before it: 0 to 1",
        ),
        (
            (Node(3, (0, 1)),),
            "fusions at the levels [3]\n  allowed: each of 3 to 4 once or more",
        ),
        (
            (Node(3, (0, 1)), Node(4, (0, 1)), Node(5, (1,))),
            "fusions at the levels [3, 4, 5]\n  allowed: each of 3 to 4 once or more",
        ),
        ((), "fusions at the levels []\n  allowed: each of 3 to 4 once or more"),
    ],
)
def test_a_table_that_cannot_be_run_is_refused(nodes, text):
    with pytest.raises(UserError) as told:
        check_nodes(nodes, TWO)
    assert str(told.value) == f"neck.kind: {text}"
