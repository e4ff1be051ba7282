"""Which network comes closest to limits that nothing meets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.cost.limits import Limit
from scalesearch.population.closest import closest, none_within, over
from scalesearch.population.space_tables import of_slots
from scalesearch.spaces.backbone import BackboneSpace
from tests.populations import backbone, every_row, slots

MNASNET = BackboneSpace.load("search_spaces/mnasnet_imagenet.yaml").tables()
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(of=slots(), names=st.lists(st.sampled_from(COUNTED), min_size=1, max_size=3, unique=True))
@settings(SLOW, max_examples=30)
def test_the_closest_of_all_networks(of, names):
    tables, rows = of_slots(of, backbone, Workload()), every_row(of)
    spent = tables.cost(rows).known()
    limits = {name: Limit(max=0.7 * float(spent[name].min())) for name in names}
    violations = np.max([spent[name] / limits[name].max - 1 for name in names], axis=0)
    assert over(tables, limits, rows).tolist() == violations.tolist()
    near = closest(tables, limits, listable=10**6)
    assert near.sure
    assert near.over == violations.min()
    assert near.over == violations[[row.tolist() for row in rows].index(near.row.tolist())]
    walked = closest(tables, limits, listable=0)
    assert walked.over >= near.over
    if names == ["flops"]:
        assert walked.sure
        assert walked.over == near.over


def test_what_is_least_of_all_is_surely_closest():
    space = BackboneSpace.load("search_spaces/mnasnet_imagenet.yaml")
    near = closest(MNASNET, {"params": Limit(max=1)}, listable=0)
    assert near.sure
    for stage in space.at(near.row).stages:  # nothing less can be chosen anywhere
        assert (stage.depth, stage.kernel, stage.expand, stage.se) == (1, 3, 1, 0)


@pytest.mark.parametrize(
    ("limits", "sure", "proven", "said"),
    [
        ({"flops": Limit(max=70e6)}, True, True, "and flops.max is 70,000,000"),
        ({"params": Limit(min=1e9)}, True, True, "and params.min is 1,000,000,000"),
        ({"training_bytes": Limit(max=1e8)}, False, True, "and training_bytes.max is 100,000,000"),
        (
            {"flops": Limit(max=5e6), "params": Limit(min=1e7)},
            False,
            False,
            "and flops.max is 5,000,000",
        ),
    ],
)
def test_what_the_error_says(limits, sure, proven, said):
    near = closest(MNASNET, limits, listable=0)
    error = none_within(MNASNET, limits, near, proven)
    assert near.sure == sure
    name = said.split()[1].split(".")[0]
    value = getattr(MNASNET.cost(near.row[None]), name)[0]
    start = (
        "nothing in the space can meet the limits" if proven else "nothing was found within the li"
    )
    assert error.problem.startswith(start)
    found = "the closest network has" if sure else "the closest network found has"
    assert f"{found} {name} {value:,}, {said}" in error.problem
    assert error.key == "limits"


def test_a_walk_finds_its_way_into_narrow_limits():
    limits = {"flops": Limit(min=300e6, max=300.1e6), "params": Limit(min=4e6, max=4.01e6)}
    drawn = over(MNASNET, limits, MNASNET.uniform(5_000, np.random.default_rng(0)))
    assert closest(MNASNET, limits, listable=0).over < drawn.min()
