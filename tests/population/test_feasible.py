"""The feasible set against going through every network: counts, draws, and what cannot be met."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.cost.composition import BlockCost
from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.cost.limits import Limit, violations
from scalesearch.errors import UserError
from scalesearch.population import feasible
from scalesearch.population.feasible import FeasibleSet
from scalesearch.population.tables import Level, Tables
from scalesearch.spaces.backbone import BackboneSpace
from tests.populations import DETECTORS, WORKLOADS, chi_square_bound, slots, tables_of

SLOW = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
MNASNET = BackboneSpace.load("search_spaces/mnasnet_imagenet.yaml").tables()


@contextmanager
def as_if_large(listable=0, steps=10**5):
    """Every space is counted by dynamic programming, in as many steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feasible, "_LISTABLE_SPACE", 0)
        patch.setattr(feasible, "_LISTABLE_REST", listable)
        patch.setattr(feasible, "most_steps", lambda tables: steps)
        patch.setattr(feasible, "_SAMPLE", 2_000)
        yield


def as_drawn(listable=0, steps=10**5):
    """The same, or as it is where `listable` is None."""
    return nullcontext() if listable is None else as_if_large(listable, steps)


@st.composite
def questions(draw):
    """The tables of a space, one to four limits at values of networks, and who meets them."""
    of, workload = draw(slots() | st.just(DETECTORS)), draw(WORKLOADS)
    tables = tables_of(of, workload)
    (rows,) = tables.every()
    costs = tables.cost(rows).known()
    limits, met = {}, np.ones(len(rows), bool)
    names = draw(st.lists(st.sampled_from(COUNTED), min_size=1, max_size=4, unique=True))
    for name in names:
        low, high = sorted(costs[name][draw(st.integers(0, len(rows) - 1))].item() for _ in "ab")
        keys = draw(st.sampled_from([("max",), ("min",), ("min", "max")]))
        limits[name] = Limit(**{key: {"min": low, "max": high}[key] for key in keys})
        met &= costs[name] <= (high if "max" in keys else np.inf)
        met &= costs[name] >= (low if "min" in keys else 0)
    return tables, limits, {tuple(row) for row in rows[met].tolist()}


@given(
    question=questions(),
    listable=st.sampled_from([None, 10**6, 0]),
    steps=st.sampled_from([16, 100, 10**5]),
)
@settings(SLOW, max_examples=80)
def test_counts_and_draws_are_what_going_through_all_networks_gives(question, listable, steps):
    tables, limits, expected = question
    with as_drawn(listable, steps):
        feasible_set = FeasibleSet.make(tables, limits)
        count = feasible_set.count()
        if listable != 0:
            assert (count.value, count.error, count.exact) == (len(expected), 0, True)
        else:
            # The error is 1.96 deviations: five times that, and two, are never left by chance.
            assert abs(count.value - len(expected)) <= 5 * count.error + 2
            assert count.error == 0 or not count.exact
        if expected:
            assert as_set(feasible_set.draw(30, 0)) <= expected
            assert as_set(feasible_set.look()) <= expected
        else:
            with pytest.raises(UserError, match=r"within the limits|can meet the limits"):
                feasible_set.look()


@given(
    question=questions(),
    listable=st.sampled_from([None, 0]),
    steps=st.sampled_from([10**5, 9]),
    seed=st.integers(0, 10**6),
)
@settings(SLOW, max_examples=40)
def test_draws_are_uniform(question, listable, steps, seed):
    """Also where steps are so coarse that much of what they leave is rejected."""
    tables, limits, expected = question
    if not 0 < len(expected) <= 1_000:
        return
    with as_drawn(listable, steps):
        drawn = FeasibleSet.make(tables, limits).draw(50 * len(expected), seed)
    counts = Counter(map(tuple, drawn.tolist()))
    assert set(counts) <= expected
    chi_square = sum((counts[row] - 50) ** 2 / 50 for row in expected)
    assert chi_square <= chi_square_bound(len(expected) - 1)


def as_set(rows):
    return set(map(tuple, rows.tolist()))


def test_no_limits_leave_the_whole_space():
    whole = FeasibleSet.make(MNASNET, {})
    assert whole.count() == feasible.Count(104_485_552_128, 0.0, True)
    rows = whole.draw(36_000, 1)
    # Each choice of the first stage is as likely: 1,000 times, with a deviation of 31.
    counts = np.bincount(rows[:, 6], minlength=36)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_counts_of_a_large_space_agree_with_drawing_from_all_of_it():
    rows = MNASNET.uniform(200_000, np.random.default_rng(5))
    cost = MNASNET.cost(rows)
    for limits in (
        {"flops": Limit(max=300e6)},
        {"flops": Limit(min=250e6, max=251e6)},
        {"flops": Limit(max=200e6), "params": Limit(max=3.5e6)},
        {"training_bytes": Limit(max=1.5 * 2**30)},
        {"inference_bytes": Limit(max=20 * 2**20), "activations": Limit(min=3e6)},
        {
            name: Limit(max=most)
            for name, most in zip(COUNTED[:4], (3e8, 3.2e8, 4e6, 5e6), strict=True)
        },
    ):
        count = FeasibleSet.make(MNASNET, limits).count()
        share = (np.max(list(violations(cost, limits).values()), axis=0) <= 0).mean()
        deviation = (share * (1 - share) / 200_000) ** 0.5
        assert count.value / MNASNET.size == pytest.approx(share, abs=4 * deviation), limits
        assert count.error < 0.02 * count.value, limits


def test_one_in_a_million_is_drawn_at_once():
    for limits in (
        {"flops": Limit(min=300e6, max=300.1e6), "params": Limit(min=4e6, max=4.01e6)},
        {"flops": Limit(min=850e6)},
    ):
        rare = FeasibleSet.make(MNASNET, limits)
        assert 0 < rare.count().value / MNASNET.size < 1e-6
        rows = rare.draw(100, 0)
        assert len(as_set(rows)) > 95
        violated = violations(MNASNET.cost(rows), limits)
        assert all(share.max() <= 0 for share in violated.values()), limits


def test_exact_counts_of_a_large_space_by_another_way():
    """All sums of the first and of the second half of the stages, put together in order."""
    halves = []
    for stages in ((6, 7, 8), (9, 10, 11, 12)):
        sums = np.zeros(1, np.int64)
        for level in MNASNET.levels:
            if set(level.columns) & set(stages):
                sums = (sums[:, None] + level.costs.flops[0]).reshape(-1)
        halves.append(np.sort(sums))
    fixed = (np.asarray(level.costs.flops) for level in MNASNET.levels if not level.columns)
    rest = halves[0] + sum(int(flops.sum()) for flops in fixed)

    def below(flops, side):
        return int(np.searchsorted(halves[1], flops - rest, side=side).sum())

    assert below(85e6, "right") == 85_451_236  # as README says
    for low, high in ((0, 85e6), (750e6, 2e9), (780e6, 781e6)):
        limits = {"flops": Limit(**{"min": low} if low else {}, max=high)}
        expected = below(high, "right") - below(low, "left")
        count = FeasibleSet.make(MNASNET, limits).count()
        assert count == feasible.Count(expected, 0.0, True), limits


def test_the_same_seed_draws_the_same():
    some = FeasibleSet.make(MNASNET, {"flops": Limit(max=85e6)})
    again = FeasibleSet.make(MNASNET, {"flops": Limit(max=85e6)})
    assert some.draw(20, 3).tolist() == again.draw(20, 3).tolist()
    assert some.draw(20, 3).tolist() != some.draw(20, 4).tolist()
    assert some.draw(5, -1).tolist() == again.draw(5, -1).tolist()
    assert some.draw(0, 0).shape == (0, len(MNASNET.sizes))
    assert some.count() == again.count()


def test_latency_is_left_to_a_worker():
    limits = {"flops": Limit(max=85e6), "latency": Limit(max=1e-9)}
    without = FeasibleSet.make(MNASNET, {"flops": Limit(max=85e6)})
    assert FeasibleSet.make(MNASNET, limits).count() == without.count()
    assert FeasibleSet.make(MNASNET, {"latency": Limit(max=1e-9)}).count().value == MNASNET.size


def test_spaces_larger_than_floats():
    """Dice with 2 sides of 1 and 2 FLOPs: half of an odd number of them show more ones."""

    def coins(number):
        throws = [[(BlockCost(flops=side), None) for side in (1, 2)]]
        level = Level.make([0], (2,) * number, throws)[0]
        levels = tuple(replace(level, columns=(slot,)) for slot in range(number))
        return Tables((2,) * number, levels, Workload())

    exact = FeasibleSet.make(coins(31), {"flops": Limit(max=46)}).count()
    assert exact == feasible.Count(2**30, 0.0, True)
    rounded = FeasibleSet.make(coins(101), {"flops": Limit(max=151)}).count()
    assert not rounded.exact
    assert 0 < rounded.error < 1e-14 * 2**100
    assert abs(rounded.value - 2**100) <= rounded.error
    with pytest.raises(UserError, match="more networks than numbers can tell apart"):
        FeasibleSet.make(coins(1001), {"flops": Limit(max=1501)})
    assert FeasibleSet.make(coins(1001), {}).count().value == 2**1001


def test_limits_that_nothing_meets():
    nothing = FeasibleSet.make(MNASNET, {"flops": Limit(max=1e6)})
    assert nothing.count() == feasible.Count(0, 0.0, True)
    for call in (nothing.look, lambda: nothing.draw(1, 0)):
        with pytest.raises(UserError, match=r"nothing in the space can meet the limits: the clos"):
            call()


def test_limits_that_leave_too_little_of_what_can_be_counted(monkeypatch):
    """Here lower bounds on memory, which no sum knows of, and coarse steps."""
    monkeypatch.setattr(feasible, "_MOST_DRAWS", 1_000)
    memory = MNASNET.cost(MNASNET.uniform(20_000, np.random.default_rng(0))).inference_bytes
    limits = {"inference_bytes": Limit(min=float(memory.max())), "flops": Limit(max=9e8)}
    with as_if_large(steps=16):
        hardly = FeasibleSet.make(MNASNET, limits)
        with pytest.raises(UserError) as error:
            hardly.draw(100, 0)
        row = hardly.look()[0]  # a walk leads there
    said = "networks drawn from those that may be within the limits are within all of them"
    assert said in str(error.value)
    assert error.value.hint == "loosen the limits, or ask for fewer networks"
    violated = violations(MNASNET.cost(row[None]), limits)
    assert max(share[0] for share in violated.values()) <= 0
