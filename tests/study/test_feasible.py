from __future__ import annotations

import itertools

import pytest

from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.spaces.backbone import Space
from scalesearch.spaces.coefficients import Space as Grid
from scalesearch.study.feasible import require_feasible, survey
from tests.pool import space

WORK = Workload(training_batch=2)
MNASNET = "search_spaces/mnasnet_imagenet.yaml"


def every_flops(of):
    return sorted(cost(of.decode(point)).flops for point in of.points())


def test_limits_that_one_network_meets_are_possible():
    small = space()
    least, next_one, *_ = every_flops(small)
    require_feasible(small, {"flops": Limit(max=least)}, WORK, 0)
    with pytest.raises(UserError, match="nothing in the space can meet the limits") as error:
        require_feasible(small, {"flops": Limit(max=least - 1)}, WORK, 0)
    assert error.value.key == "limits"
    assert f"the closest network has flops {least:,}, over flops.max by" in str(error.value)
    assert next_one > least


def test_the_excess_named_is_the_smallest_of_all():
    small = space()
    least = every_flops(small)[0]
    with pytest.raises(UserError, match=r"by 100\.0%"):
        require_feasible(small, {"flops": Limit(max=least / 2)}, WORK, 0)


def test_a_gap_between_two_networks_cannot_be_met():
    small = space()
    flops = every_flops(small)
    low, high = max(itertools.pairwise(flops), key=lambda two: two[1] - two[0])
    limits = {"flops": Limit(min=low + 1, max=high - 1)}
    with pytest.raises(UserError, match="nothing in the space"):
        require_feasible(small, limits, WORK, 0)


def test_the_one_triple_of_a_fine_grid_is_found():
    """Of 1,000 draws from so many triples most would miss it."""
    grid = Grid(baseline=space().sample(0), step=0.02, tolerance=0.1)
    assert grid.size > 500
    flops = every_flops(grid)
    require_feasible(grid, {"flops": Limit(max=flops[0])}, WORK, 0)
    with pytest.raises(UserError, match=f"flops {flops[0]:,}"):
        require_feasible(grid, {"flops": Limit(max=flops[0] - 1)}, WORK, 0)


def test_a_space_that_cannot_be_gone_through_is_walked():
    """Nothing drawn is near the smallest network, but every single choice leads towards it."""
    large = Space.load(MNASNET)
    assert large.size > 10**10
    smallest = {}
    for name, choices in large.parameters.items():
        smallest[name] = min(
            choices, key=lambda c, n=name: cost(large.decode(_first(large) | {n: c})).flops
        )
    least = cost(large.decode(smallest)).flops
    require_feasible(large, {"flops": Limit(max=least)}, WORK, 0)
    with pytest.raises(UserError, match=f"the closest network found has flops {least:,}"):
        require_feasible(large, {"flops": Limit(max=least - 1)}, WORK, 0)


def _first(of):
    return {name: choices[0] for name, choices in of.parameters.items()}


def test_no_limits_are_always_met():
    require_feasible(space(), {}, WORK, 0)


def test_a_survey_is_what_its_samples_are():
    small = space()
    middle = every_flops(small)[11]  # 12 of the 24 are within it
    found = survey(small, {"flops": Limit(max=middle)}, WORK, 2_000, seed=1)
    assert found.samples == len(found.flops) == 2_000
    assert found.flops == tuple(sorted(found.flops))
    assert found.within == sum(flops <= middle for flops in found.flops)
    assert abs(found.within / 2_000 - 0.5) < 2 * found.error  # binomial: error is 95 %
    assert found.error == pytest.approx(1.96 * (0.25 / 2_000) ** 0.5, rel=0.01)
    assert cost(found.typical).flops <= middle
    assert found.least == 0


def test_a_survey_where_nothing_is_within():
    small = space()
    least = every_flops(small)[0]
    found = survey(small, {"flops": Limit(max=least / 2)}, WORK, 500)
    assert (found.within, found.least) == (0, pytest.approx(1.0))
    assert cost(found.typical).flops == least
    assert found.error == 3 / 500  # the rule of three: none of n leaves room for 3 / n
