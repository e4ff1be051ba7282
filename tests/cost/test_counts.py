"""The rule of each kind of operation, by hand; that sums are fvcore's is shown in closed_form."""

from __future__ import annotations

from scalesearch.arch.graph import FeatureMap, GraphBuilder
from scalesearch.cost.counts import RULES, Counts, count


def counted(write, width=6, size=(4, 5)):
    """The counts of the one operation that `write` adds behind a map."""
    g = GraphBuilder([FeatureMap(width, size), FeatureMap(width, size)], "silu")
    return count(g.graph(write(g)))


def test_every_rule_by_hand():
    """6 channels of 4 x 5 pixels; flops, flops_total, params and activations of each."""
    one, double = FeatureMap(6, (1, 1)), FeatureMap(6, (8, 10))
    by_hand = {
        # 10 x 6 x 3 x 3 weights at 2 x 3 pixels.
        "conv": (lambda g: g.conv("", 0, 10, 3, 2), Counts(3240, 3240, 540, 60)),
        "conv with bias": (
            lambda g: g.conv("", 0, 10, bias=True),
            Counts(60 * 20, 60 * 20, 60 + 10, 200),
        ),
        "conv of groups": (
            lambda g: g.conv("", 0, 12, 5, groups=6),
            Counts(300 * 20, 300 * 20, 300, 240),
        ),
        "conv that shares its weights": (
            lambda g: g.conv("", 0, 10, bias=True, shared=True),
            Counts(60 * 20, 60 * 20, 0, 200),
        ),
        "linear": (
            lambda g: g.op("linear", "", 0, output=FeatureMap(7, (1, 1))),
            Counts(42, 42, 42 + 7, 7),
        ),
        "batch_norm": (lambda g: g.op("batch_norm", "", 0), Counts(0, 2 * 120, 12, 0)),
        "group_norm": (lambda g: g.op("group_norm", "", 0, groups=2), Counts(0, 5 * 120, 12, 0)),
        "avg_pool": (lambda g: g.op("avg_pool", "", 0, output=one), Counts(0, 120, 0, 0)),
        "upsample": (lambda g: g.op("upsample", "", 0, output=double), Counts(0, 480, 0, 0)),
        "fuse": (lambda g: g.op("fuse", "", 0, 1, function="fast"), Counts(0, 0, 2, 0)),
        "fuse by a sum": (lambda g: g.op("fuse", "", 0, 1, function="sum"), Counts()),
        "mean": (lambda g: g.op("mean", "", 0, output=one), Counts()),
        "add": (lambda g: g.op("add", "", 0, 1), Counts()),
        "activation": (lambda g: g.act("", 0), Counts()),
        "max_pool": (lambda g: g.max_pool("", 0, 3, 2, (2, 3)), Counts()),
    }
    wrong = {
        word: (counted(write), expected)
        for word, (write, expected) in by_hand.items()
        if counted(write) != expected
    }
    assert wrong == {}
    assert set(RULES) <= {word.split()[0] for word in by_hand}


def test_a_graph_is_the_sum_of_its_operations():
    def write(g):
        return g.conv_norm_act("", g.conv_norm_act("", 0, 8), 3, kernel=3, stride=2)

    first = Counts(48 * 20, 48 * 20 + 2 * 160, 48 + 16, 160)
    second = Counts(216 * 6, 216 * 6 + 2 * 18, 216 + 6, 18)
    expected = Counts(*(a + b for a, b in zip(first, second, strict=True)))
    assert counted(write) == expected
