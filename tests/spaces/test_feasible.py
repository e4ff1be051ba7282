"""What every space can do with limits, held against going through its points."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.family import members
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.spaces.coefficient_grid import CoefficientGrid
from scalesearch.spaces.family import FamilySpace

SMALL = {
    "resolution": [16, 24],
    "stages": [{"block": ["mbconv", "identity"], "width": [8, 12], "kernel": [3, 5], "stride": 2}],
    "head": {"width": [0, 16]},
}
B0 = published("efficientnet_b0", resolution=64)
SPACES = {
    "backbone": BackboneSpace.from_plain(SMALL),
    "coefficients": CoefficientGrid(baseline=B0, step=0.1, tolerance=0.3),
    "family": FamilySpace(members=members(B0, Coefficients(1.2, 1.1, 1.15), [0, 1, 2])),
}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


def test_tables_cost_what_the_points_do(space):
    (rows,) = space.tables().every()
    networks = [space.decode(point) for point in space.points()]
    assert [space.at(row) for row in rows] == networks
    assert len(networks) == space.size == space.tables().size
    assert space.tables().cost(rows).params.tolist() == [cost(n).params for n in networks]


def test_counting_and_drawing_within_limits(space):
    flops = sorted(cost(space.decode(point)).flops for point in space.points())
    limits = {"flops": Limit(min=flops[1], max=flops[len(flops) // 2])}
    within = Counter(
        network
        for point in space.points()
        if flops[1] <= cost(network := space.decode(point)).flops <= flops[len(flops) // 2]
    )
    assert space.count(limits).value == within.total()
    assert space.count(limits).exact
    assert space.count({}).value == space.size
    drawn = Counter(space.feasible(limits, 100 * within.total(), 0))
    assert set(drawn) == set(within)
    # Points are equally likely: a network of two triples comes twice as often. Five deviations.
    assert all(abs(drawn[n] - 100 * times) < 50 * times**0.5 for n, times in within.items())
    assert space.feasible(limits, 4, 7) == space.feasible(limits, 4, 7)
    with pytest.raises(UserError, match=r"'flop' is not a cost[^$]*flops"):
        space.count({"flop": Limit(max=1)})
    with pytest.raises(UserError, match="the closest network has flops"):
        space.feasible({"flops": Limit(max=flops[0] - 1)}, 1, 0)


def test_memory_is_counted_for_the_workload(space):
    batches = (Workload(training_batch=1), Workload(training_batch=64))
    (rows,) = space.tables().every()
    few, many = (space.tables(work).cost(rows).training_bytes for work in batches)
    limits = {"training_bytes": Limit(max=int(few.max()))}
    assert space.count(limits, workload=batches[0]).value == space.size
    assert space.count(limits, workload=batches[1]).value == (many <= few.max()).sum() < space.size
    assert space.tables(batches[0]) is space.tables(batches[0])


def test_what_was_prepared_is_kept_for_the_same_limits():
    space, limits = (
        BackboneSpace.from_plain(SMALL),
        {"flops": Limit(max=1e5), "params": Limit(max=1e4)},
    )
    prepared = space.within(limits)
    assert space.within(dict(reversed(limits.items()))) is prepared
    assert space.within(limits, Workload(ema=True)) is not prepared


def test_loading_a_space_does_not_load_numpy():
    code = (
        "import sys, scalesearch as ss; s = ss.Space.load('search_spaces/mbconv_small.yaml');"
        "s.encode(s.sample(0)); print('numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
