"""Ways against the sums of dice and against going through every network."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.cost.composition import BlockCost
from scalesearch.cost.cost import ADDITIVE, COUNTED, Workload
from scalesearch.cost.limits import Limit
from scalesearch.population.counting import Ways, added, least, least_row
from scalesearch.population.tables import Level, Tables
from tests.populations import DETECTORS, WORKLOADS, chi_square_bound, slots, tables_of

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
STEPS = st.sampled_from([1, 7, 300, 20_000])


def dice(number, sides=6):
    """Networks whose levels cost 1 to `sides` FLOPs each."""
    sizes = (sides,) * number
    throws = [[(BlockCost(flops=side), None) for side in range(1, sides + 1)]]
    levels = tuple(Level.make([slot], sizes, throws)[0] for slot in range(number))
    return Tables(sizes, levels, Workload())


def test_three_dice():
    """The distribution of their sum is in every textbook: 27 of 216 throws are 10."""
    for limit, throws in (
        (Limit(max=2), 0),
        (Limit(max=3), 1),
        (Limit(max=10), 108),
        (Limit(max=10.9), 108),
        (Limit(min=10, max=10), 27),
        (Limit(min=9.5, max=11), 54),
        (Limit(min=17), 4),
        (Limit(min=19), 0),
        (Limit(min=1, max=math.inf), 216),
    ):
        ways = Ways.within(dice(3), "flops", limit, 100)
        assert ways.total == throws, limit
        assert ways.split()[0] == throws, limit
        rows = [tuple(row) for chunk in ways.every() for row in chunk.tolist()]
        assert len(set(rows)) == len(rows) == throws
        high = math.inf if limit.max is None else limit.max
        assert all((limit.min or 0) <= sum(row) + 3 <= high for row in rows)


def test_twenty_dice_by_their_polynomial():
    """3.6e15 throws, which floats hold to the last one."""
    throws = {0: 1}
    for _ in range(20):
        more = Counter()
        for total, count in throws.items():
            more.update({total + side: count for side in range(1, 7)})
        throws = more
    for low, high in ((20, 60), (70, 71), (100, 120)):
        expected = sum(throws[total] for total in range(low, high + 1))
        ways = Ways.within(dice(20), "flops", Limit(min=low, max=high), 1000)
        assert ways.total == ways.split()[0] == expected


def test_more_choices_than_are_weighed_at_once():
    tables = dice(1, sides=50_000)
    ways = Ways.within(tables, "flops", Limit(max=100), 1000)
    assert [row for chunk in ways.every() for row in chunk.tolist()] == [[n] for n in range(100)]
    drawn = ways.draw(500, np.random.default_rng(0))
    assert drawn.shape == (500, 1)
    assert drawn.max() < 100 < len(drawn)


@st.composite
def questions(draw):
    """The tables of a space, all its rows, their sums and costs, and a limit on one of these."""
    of = draw(slots() | st.just(DETECTORS))
    tables = tables_of(of, draw(WORKLOADS))
    rows = np.concatenate(list(tables.every()))
    name = draw(st.sampled_from(COUNTED))
    cost = getattr(tables.cost(rows), name)
    low, high = sorted(cost[draw(st.integers(0, len(cost) - 1))].item() for _ in "ab")
    keys = draw(st.sampled_from([("max",), ("min",), ("min", "max")]))
    limit = Limit(**{key: {"min": low, "max": high}[key] for key in keys})
    return tables, rows, name, cost, limit


def as_set(rows):
    return set(map(tuple, rows.tolist()))


@given(question=questions(), most=STEPS)
@settings(SLOW, max_examples=100)
def test_what_a_limit_does_not_rule_out(question, most):
    tables, rows, name, cost, limit = question
    within = np.ones(len(rows), bool) if limit.max is None else cost <= limit.max
    within &= cost >= (limit.min or 0)
    ways = Ways.within(tables, name, limit, most)
    listed = [row for chunk in ways.every() for row in map(tuple, chunk.tolist())]
    assert len(set(listed)) == len(listed) == ways.total
    assert as_set(rows[within]) <= set(listed)
    sure, undecided = ways.split()
    undecided = {tuple(row) for chunk in undecided.every() for row in chunk.tolist()}
    assert len(listed) == sure + len(undecided)
    assert set(listed) - undecided <= as_set(rows[within])
    if name in ADDITIVE and np.ptp(cost) < most:
        assert set(listed) == as_set(rows[within])
        assert sure == within.sum()


@given(question=questions(), most=STEPS, seed=st.integers(0, 10**6))
@settings(SLOW, max_examples=30)
def test_draws_are_uniform(question, most, seed):
    tables, _, name, _, limit = question
    ways = Ways.within(tables, name, limit, most)
    if not 0 < ways.total <= 1_000:
        return
    counts = Counter(
        map(tuple, ways.draw(50 * int(ways.total), np.random.default_rng(seed)).tolist())
    )
    listed = [tuple(row) for chunk in ways.every() for row in chunk.tolist()]
    assert set(counts) <= set(listed)
    chi_square = sum((counts[row] - 50) ** 2 / 50 for row in listed)
    assert chi_square <= chi_square_bound(len(listed) - 1)


@given(question=questions())
@settings(SLOW, max_examples=40)
def test_sums_are_costs_or_below_them(question):
    tables, rows, name, cost, _ = question
    sums = added(tables, name)
    smallest = least(tables, sums)[0][0]
    row = least_row(tables, sums)
    assert as_set(row[None]) <= as_set(rows)
    if name in ADDITIVE:
        assert smallest == cost.min() == getattr(tables.cost(row[None]), name)[0]
        largest = least_row(tables, [-part for part in sums])
        assert getattr(tables.cost(largest[None]), name)[0] == cost.max()
    else:
        assert smallest <= cost.min()
