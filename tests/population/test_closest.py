"""Which network comes closest to limits that nothing meets."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.cost.cost import ADDITIVE, COUNTED, Workload
from scalesearch.cost.limits import Limit
from scalesearch.population.closest import closest, none_within, over
from scalesearch.spaces.backbone import BackboneSpace
from tests.populations import DETECTORS, slots, tables_of

SPACE = BackboneSpace.load("search_spaces/mnasnet_imagenet.yaml")
MNASNET = SPACE.tables()
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(
    of=slots() | st.just(DETECTORS),
    names=st.lists(st.sampled_from(COUNTED), min_size=1, max_size=3, unique=True),
    low=st.booleans(),
)
@settings(SLOW, max_examples=30)
def test_the_closest_of_all_networks(of, names, low):
    tables = tables_of(of, Workload())
    (rows,) = tables.every()
    costs = tables.cost(rows).known()
    limits = {name: Limit(max=0.7 * float(costs[name].min())) for name in names}
    violated = [costs[name] / limits[name].max - 1 for name in names]
    if low:
        limits = {name: Limit(min=1.3 * float(costs[name].max())) for name in names}
        violated = [1 - costs[name] / limits[name].min for name in names]
    expected = np.max(violated, axis=0)
    assert over(tables, limits, rows).tolist() == expected.tolist()
    row = closest(tables, limits, of_all=True)
    assert row.shape == (1, len(tables.sizes))
    assert over(tables, limits, row)[0] == expected.min()
    walked = over(tables, limits, closest(tables, limits, of_all=False))[0]
    assert expected.min() <= walked <= np.quantile(expected, 0.1)
    if len(names) == 1 and names[0] in ADDITIVE:
        assert walked == expected.min()


def test_what_is_least_of_all_is_surely_closest():
    (row,) = closest(MNASNET, {"params": Limit(max=1)}, of_all=False)
    for stage in SPACE.at(row).stages:  # nothing less can be chosen anywhere
        assert (stage.depth, stage.kernel, stage.expand, stage.se) == (1, 3, 1, 0)


def test_what_the_error_says():
    proven, guessed = "nothing in the space can meet the limits", "nothing was found within the lim"
    small = {"flops": Limit(max=5e6), "params": Limit(min=1e7)}
    for limits, is_proven, start, found, said in (
        ({"flops": Limit(max=70e6)}, True, proven, "", "and flops.max is 70,000,000"),
        ({"params": Limit(min=1e9)}, True, proven, "", "and params.min is 1,000,000,000"),
        (
            {"training_bytes": Limit(max=1e8)},
            True,
            proven,
            " found",
            "and training_bytes.max is 100,000,000",
        ),
        (small, False, guessed, " found", "and flops.max is 5,000,000"),
    ):
        row = closest(MNASNET, limits, of_all=False)
        error = none_within(MNASNET, limits, row, proven=is_proven, of_all=False)
        name = said.split()[1].split(".")[0]
        value = getattr(MNASNET.cost(row), name)[0]
        assert error.problem.startswith(start)
        assert f": the closest network{found} has {name} {value:,}, {said}" in error.problem
        assert error.key == "limits"
    every = none_within(MNASNET, small, row, proven=True, of_all=True)
    assert "the closest network has" in every.problem


def test_a_walk_finds_its_way_into_narrow_limits():
    limits = {"flops": Limit(min=300e6, max=300.1e6), "params": Limit(min=4e6, max=4.01e6)}
    drawn = over(MNASNET, limits, MNASNET.uniform(5_000, np.random.default_rng(0)))
    assert over(MNASNET, limits, closest(MNASNET, limits, of_all=False))[0] < drawn.min()
