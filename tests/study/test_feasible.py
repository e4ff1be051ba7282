from __future__ import annotations

import itertools

import pytest

from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.spaces.coefficient_grid import CoefficientGrid
from scalesearch.study.feasible import require_feasible, survey
from tests.pool import space

WORK = Workload(training_batch=2)
MNASNET = "search_spaces/mnasnet_imagenet.yaml"


def every_flops(of):
    return sorted(cost(of.decode(point)).flops for point in of.points())


def test_limits_that_one_network_meets_are_possible():
    small = space()
    least, next_one, *_ = every_flops(small)
    require_feasible(small, {"flops": Limit(max=least)}, WORK)
    with pytest.raises(UserError, match="nothing in the space can meet the limits") as error:
        require_feasible(small, {"flops": Limit(max=least - 1)}, WORK)
    assert error.value.key == "limits"
    found = f"the closest network has flops {least:,}, and flops.max is {least - 1:,}"
    assert found in str(error.value)
    assert next_one > least


def test_the_excess_named_is_the_smallest_of_all():
    small = space()
    least = every_flops(small)[0]
    with pytest.raises(UserError, match=r"has flops 3,728, and flops\.max is 1,864"):
        require_feasible(small, {"flops": Limit(max=least / 2)}, WORK)


def test_a_gap_between_two_networks_cannot_be_met():
    small = space()
    flops = every_flops(small)
    low, high = max(itertools.pairwise(flops), key=lambda two: two[1] - two[0])
    limits = {"flops": Limit(min=low + 1, max=high - 1)}
    with pytest.raises(UserError, match="nothing in the space"):
        require_feasible(small, limits, WORK)


def test_the_one_triple_of_a_fine_grid_is_found():
    """Of 1,000 draws from so many triples most would miss it."""
    grid = CoefficientGrid(baseline=space().sample(0), step=0.02, tolerance=0.1)
    assert grid.size > 500
    flops = every_flops(grid)
    require_feasible(grid, {"flops": Limit(max=flops[0])}, WORK)
    with pytest.raises(UserError, match=f"flops {flops[0]:,}"):
        require_feasible(grid, {"flops": Limit(max=flops[0] - 1)}, WORK)


def test_the_smallest_network_of_a_large_space_is_found():
    """Nothing drawn at random is near it."""
    large = BackboneSpace.load(MNASNET)
    assert large.size > 10**10
    smallest = {}
    for name, choices in large.parameters.items():
        smallest[name] = min(
            choices, key=lambda c, n=name: cost(large.decode(_first(large) | {n: c})).flops
        )
    least = cost(large.decode(smallest)).flops
    require_feasible(large, {"flops": Limit(max=least)}, WORK)
    with pytest.raises(UserError, match=f"the closest network has flops {least:,}"):
        require_feasible(large, {"flops": Limit(max=least - 1)}, WORK)


def _first(of):
    return {name: choices[0] for name, choices in of.parameters.items()}


def test_no_limits_are_always_met():
    require_feasible(space(), {}, WORK)


def test_a_survey_of_a_small_space_is_exact():
    small = space()
    flops = every_flops(small)
    found = survey(small, {"flops": Limit(max=flops[11])}, WORK, 2_000, seed=1)
    assert (found.size, found.within.value, found.within.exact) == (24, 12, True)
    assert found.flops_within == tuple(flops[:12])
    assert cost(found.typical).flops == flops[6]
    assert len(found.flops) == 2_000
    assert found.flops == tuple(sorted(found.flops))
    assert set(found.flops) == set(flops)
    # Half of them, with a deviation of 22.
    assert 890 < sum(drawn <= flops[11] for drawn in found.flops) < 1110


def test_a_survey_of_a_large_space_looks_at_what_is_within():
    large, limits = BackboneSpace.load(MNASNET), {"flops": Limit(max=90e6)}
    found = survey(large, limits, WORK, 1_000)
    assert found.size == large.size
    assert 0 < found.within.value < 0.01 * large.size
    assert found.flops_within[-1] <= 90e6 < found.flops[500]
    assert len(found.flops_within) > 1_000
    assert cost(found.typical).flops == found.flops_within[len(found.flops_within) // 2]
    assert found == survey(large, limits, WORK, 1_000)


def test_a_survey_where_nothing_is_within():
    with pytest.raises(UserError, match="nothing in the space can meet the limits"):
        survey(space(), {"flops": Limit(max=every_flops(space())[0] / 2)}, WORK, 500)
