"""Dynamic programming counts and draws what going through the networks gives."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limit
from scalesearch.population.additive import additive
from scalesearch.population.axes import axis
from scalesearch.population.counting import Ways, moves
from scalesearch.population.space_tables import of_slots
from tests.population.test_axes import totals_of
from tests.populations import chi_square_bound, every_row, slots

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(
    of=slots(),
    names=st.sampled_from([(), ("flops",), ("params", "flops"), ("activations", "training_bytes")]),
    longest=st.sampled_from([3, 20, 200]),
    seed=st.integers(0, 99),
)
@settings(SLOW, max_examples=60)
def test_ways_are_the_networks_whose_totals_are_accepted(of, names, longest, seed):
    tables, rows = of_slots(of, Workload()), every_row(of)
    spent, random = tables.cost(rows).known(), np.random.default_rng(seed)
    axes = tuple(
        axis(tables, additive(tables, name), Limit(max=np.quantile(spent[name], 0.8)), longest)
        for name in names
    )
    accepted = np.asarray(random.random([len(one.possible) for one in axes]) < 0.6)
    padded = np.zeros([n + 1 for n in accepted.shape], bool)  # past the last total is out
    padded[tuple(slice(n) for n in accepted.shape)] = accepted
    within = padded[tuple(totals_of(tables, one, rows) for one in axes)]
    expected = set(map(tuple, rows[np.broadcast_to(within, len(rows))].tolist()))
    ways = Ways(tables, axes, moves(tables, axes), accepted)
    assert ways.total == len(expected)
    listed = [tuple(row) for some in ways.every() for row in some.tolist()]
    assert len(listed) == len(expected)
    assert set(listed) == expected
    if expected:
        assert {tuple(row) for row in ways.draw(50, random).tolist()} <= expected


@given(of=slots(), seed=st.integers(0, 10**6))
@settings(SLOW, max_examples=15)
def test_every_way_is_equally_likely(of, seed):
    tables, rows = of_slots(of, Workload()), every_row(of)
    limit = Limit(max=float(np.sort(tables.cost(rows).flops)[min(len(rows) - 1, 30)]))
    one = axis(tables, additive(tables, "flops"), limit, 10**5)
    ways = Ways(tables, (one,), moves(tables, (one,)), one.possible)
    expected = 200.0
    n = int(expected * ways.total)
    counts = Counter(map(tuple, ways.draw(n, np.random.default_rng(seed)).tolist()))
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    chi_square += expected * (ways.total - len(counts))
    assert chi_square <= chi_square_bound(ways.total - 1)
