"""The feasible set against going through every network: counts, draws, and what cannot be met."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.cost.limits import Limit, violations, worst
from scalesearch.errors import UserError
from scalesearch.population import counting, feasible
from scalesearch.population.feasible import FeasibleSet
from scalesearch.population.space_tables import of_slots
from scalesearch.spaces.backbone import BackboneSpace
from tests.populations import (
    WORKLOADS,
    backbone,
    chi_square_bound,
    every_row,
    network,
    one_by_one,
    slots,
)

SLOW = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
MNASNET = BackboneSpace.load("search_spaces/mnasnet_imagenet.yaml").tables()


@st.composite
def some_limits(draw, spent):
    """One to four limits, each at values that networks have."""
    names = draw(st.lists(st.sampled_from(COUNTED), min_size=1, max_size=4, unique=True))
    limits = {}
    for name in names:
        low, high = sorted(draw(st.sampled_from(sorted(set(spent[name].tolist())))) for _ in "ab")
        keys = draw(st.sampled_from([("max",), ("min",), ("min", "max")]))
        limits[name] = Limit(**{key: {"min": low, "max": high}[key] for key in keys})
    return limits


def within_limits(of, workload, limits):
    """The rows that are within limits, one network after the other."""
    rows = every_row(of)
    spent = one_by_one([network(of, row) for row in rows], workload)
    met = np.ones(len(rows), bool)
    for name, limit in limits.items():
        met &= spent[name] <= (np.inf if limit.max is None else limit.max)
        met &= spent[name] >= (limit.min or 0)
    return {tuple(row) for row in rows[met].tolist()}


def as_if_large(monkeypatch, listable=0, steps=10**5):
    """Every space is counted by dynamic programming, in as many steps."""
    monkeypatch.setattr(feasible, "_LISTABLE_SPACE", 0)
    monkeypatch.setattr(feasible, "_LISTABLE_REST", listable)
    monkeypatch.setattr(counting, "most_steps", lambda tables: steps)
    monkeypatch.setattr(feasible, "_LOOK", 2_000)


@pytest.mark.parametrize("listable", [None, 10**6, 0])
@given(of=slots(), workload=WORKLOADS, data=st.data())
@settings(SLOW, max_examples=25)
def test_counts_and_draws_are_what_going_through_all_networks_gives(listable, of, workload, data):
    tables = of_slots(of, backbone, workload)
    limits = data.draw(some_limits(tables.cost(every_row(of)).known()))
    expected = within_limits(of, workload, limits)
    with pytest.MonkeyPatch.context() as patch:
        if listable is not None:
            as_if_large(patch, listable, data.draw(st.sampled_from([16, 100, 10**5])))
        found = FeasibleSet.make(tables, limits)
        count = found.count()
        if listable is None or listable:
            assert (count.value, count.error, count.exact) == (len(expected), 0, True)
        else:
            # The error is 1.96 deviations: five times that, and two, are never left by chance.
            assert abs(count.value - len(expected)) <= 5 * count.error + 2
            assert count.error == 0 or not count.exact
        if expected:
            drawn = {tuple(row) for row in found.draw(30, 0).tolist()}
            assert drawn <= expected
            assert {tuple(row) for row in found.look().tolist()} <= expected
        else:
            with pytest.raises(UserError, match=r"within the limits|can meet the limits"):
                found.look()


@pytest.mark.parametrize("steps", [10**5, 9])
@given(of=slots(), seed=st.integers(0, 10**6), data=st.data())
@settings(SLOW, max_examples=12)
def test_draws_are_uniform(steps, of, seed, data):
    """Also where steps are so coarse that much of what they leave is rejected."""
    tables = of_slots(of, backbone, Workload())
    limits = data.draw(some_limits(tables.cost(every_row(of)).known()))
    expected = sorted(within_limits(of, Workload(), limits))
    if not expected:
        return
    with pytest.MonkeyPatch.context() as patch:
        as_if_large(patch, 0, steps)
        drawn = FeasibleSet.make(tables, limits).draw(100 * len(expected), seed)
    counts = Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= set(expected)
    chi_square = sum((counts[one] - 100) ** 2 / 100 for one in expected)
    assert chi_square <= chi_square_bound(len(expected) - 1)


def test_no_limits_leave_the_whole_space():
    whole = FeasibleSet.make(MNASNET, {})
    assert whole.count() == feasible.Count(104_485_552_128, 0.0, True)
    rows = whole.draw(36_000, 1)
    # Each choice of the first stage is as likely: 1,000 times, with a deviation of 31.
    counts = np.bincount(rows[:, 6], minlength=36)
    assert counts.min() > 850
    assert counts.max() < 1150


@pytest.mark.parametrize(
    "limits",
    [
        {"flops": Limit(max=300e6)},
        {"flops": Limit(min=250e6, max=251e6)},
        {"flops": Limit(max=200e6), "params": Limit(max=3.5e6)},
        {"training_bytes": Limit(max=1.5 * 2**30)},
        {"inference_bytes": Limit(max=20 * 2**20), "activations": Limit(min=3e6)},
        {
            name: Limit(max=most)
            for name, most in zip(COUNTED[:4], (3e8, 3.2e8, 4e6, 5e6), strict=True)
        },
    ],
    ids=lambda limits: " ".join(limits),
)
def test_counts_of_a_large_space_agree_with_drawing_from_all_of_it(limits):
    count = FeasibleSet.make(MNASNET, limits).count()
    rows = MNASNET.uniform(200_000, np.random.default_rng(5))
    over = violations(MNASNET.cost(rows), limits)
    share = (np.max(list(over.values()), axis=0) <= 0).mean()
    deviation = (share * (1 - share) / 200_000) ** 0.5
    assert count.value / MNASNET.size == pytest.approx(share, abs=4 * deviation)
    assert count.error < 0.02 * count.value


def test_one_in_a_million_is_drawn_at_once():
    limits = {"flops": Limit(min=300e6, max=300.1e6), "params": Limit(min=4e6, max=4.01e6)}
    rare = FeasibleSet.make(MNASNET, limits)
    assert rare.count().value / MNASNET.size < 1e-6
    rows = rare.draw(200, 0)
    spent = MNASNET.cost(rows)
    assert all(300e6 <= flops <= 300.1e6 for flops in spent.flops.tolist())
    assert all(4e6 <= params <= 4.01e6 for params in spent.params.tolist())
    assert len({tuple(row) for row in rows.tolist()}) > 190


def test_exact_counts_of_a_large_space_by_another_way():
    """All sums of the first and of the second half of the stages, put together in order."""
    limit = 85e6
    tables = MNASNET
    halves, rest = [], 0
    for stages in ((6, 7, 8), (9, 10, 11, 12)):
        sums = np.zeros(1, np.int64)
        for level in tables.levels:
            if set(level.columns) & set(stages):
                sums = (sums[:, None] + level.costs.flops[0]).reshape(-1)
        halves.append(sums)
    fixed = (np.asarray(level.costs.flops) for level in tables.levels if not level.columns)
    rest = sum(int(flops.sum()) for flops in fixed)
    first, second = np.sort(halves[0]), np.sort(halves[1])
    expected = int(np.searchsorted(first, limit - rest - second, side="right").sum())
    found = FeasibleSet.make(tables, {"flops": Limit(max=limit)}).count()
    assert found == feasible.Count(expected, 0.0, True)


def test_the_same_seed_draws_the_same():
    some = FeasibleSet.make(MNASNET, {"flops": Limit(max=85e6)})
    again = FeasibleSet.make(MNASNET, {"flops": Limit(max=85e6)})
    assert some.draw(20, 3).tolist() == again.draw(20, 3).tolist()
    assert some.draw(20, 3).tolist() != some.draw(20, 4).tolist()
    assert some.draw(5, -1).tolist() == again.draw(5, -1).tolist()
    assert some.draw(0, 0).shape == (0, len(MNASNET.sizes))
    assert some.count() == again.count()


def test_latency_is_left_to_a_worker_and_nonsense_is_refused():
    limits = {"flops": Limit(max=85e6), "latency": Limit(max=1e-9)}
    without = FeasibleSet.make(MNASNET, {"flops": Limit(max=85e6)})
    assert FeasibleSet.make(MNASNET, limits).count() == without.count()
    assert FeasibleSet.make(MNASNET, {"latency": Limit(max=1e-9)}).count().value == MNASNET.size
    with pytest.raises(UserError, match="'flop' is not a cost"):
        FeasibleSet.make(MNASNET, {"flop": Limit(max=1)})


def test_limits_that_nothing_meets():
    nothing = FeasibleSet.make(MNASNET, {"flops": Limit(max=1e6)})
    assert nothing.count() == feasible.Count(0, 0.0, True)
    for call in (nothing.look, lambda: nothing.draw(1, 0)):
        with pytest.raises(UserError, match=r"nothing in the space can meet the limits: the clos"):
            call()


def test_limits_that_leave_too_little_of_what_can_be_counted(monkeypatch):
    """Here lower bounds on memory, which no sum knows of, and coarse steps."""
    as_if_large(monkeypatch, 0, 16)
    monkeypatch.setattr(feasible, "_MOST_DRAWS", 1_000)
    spent = MNASNET.cost(MNASNET.uniform(20_000, np.random.default_rng(0))).inference_bytes
    limits = {"inference_bytes": Limit(min=float(spent.max())), "flops": Limit(max=9e8)}
    hardly = FeasibleSet.make(MNASNET, limits)
    with pytest.raises(UserError) as error:
        hardly.draw(100, 0)
    assert "networks drawn from those that may be within the limits are within" in str(error.value)
    assert error.value.hint == "loosen the limits, or ask for fewer networks"
    row = hardly.look()[0]  # a walk leads there
    assert (
        worst({k: float(v[0]) for k, v in violations(MNASNET.cost(row[None]), limits).items()}) == 0
    )
