"""The grid around a network that a factory builds."""

import numpy as np
import pytest

from scalesearch.arch.factory import Factory, build_module
from scalesearch.cost.closed_form import cost
from scalesearch.cost.factory import factory_flops
from scalesearch.errors import UserError
from scalesearch.spaces.coefficient_grid import CoefficientGrid
from tests.factories import FIVE

WIDE = Factory(factory="tests.factories:wide", resolution=32, num_classes=2, options={"base": 64})


def test_it_varies_what_the_factory_scales():
    grid = CoefficientGrid(baseline=WIDE, step=0.2)
    assert list(grid.parameters) == ["beta", "gamma"]
    triples = [(1.0, p["beta"], p["gamma"]) for p in grid.points()]
    # Of beta^2 * gamma^2 within .1 of 2 on a step of .2: 1.4^2 = 1.96 and 1.2^4 = 2.07.
    assert triples == [(1.0, 1.0, 1.4), (1.0, 1.2, 1.2), (1.0, 1.4, 1.0)]
    assert grid.coefficients({"beta": 1.4, "gamma": 1.0}).alpha == 1
    for point in grid.points():
        ratio = factory_flops(grid.decode(point)) / factory_flops(WIDE)
        assert ratio == pytest.approx(2, rel=0.02)


def test_a_budget_below_1_shrinks_what_the_factory_scales():
    grid = CoefficientGrid(baseline=WIDE, budget=0.5, step=0.1, tolerance=0.05)
    # beta^2 * gamma^2 within .05 of .5: .7 and 1, .8 and .9.
    pairs = [(point["beta"], point["gamma"]) for point in grid.points()]
    assert pairs == [(0.7, 1.0), (0.8, 0.9), (0.9, 0.8), (1.0, 0.7)]
    with pytest.raises(UserError, match=r"the closest product is 0\.49 of \(1, "):
        CoefficientGrid(baseline=WIDE, budget=0.5, step=0.1, tolerance=0.001)


def test_populations_have_the_costs_of_its_networks():
    grid = CoefficientGrid(baseline=WIDE, step=0.4)
    rows = [grid.locate(point) for point in grid.points()]
    spent = grid.tables().cost(np.array(rows))
    for number, point in enumerate(grid.points()):
        expected = cost(grid.decode(point))
        assert spent.flops[number] == expected.flops
        assert spent.training_bytes[number] == expected.training_bytes


def test_a_head_that_is_kept_is_not_its_to_keep():
    net = Factory(factory=FIVE, resolution=28, in_channels=1, num_classes=10)
    with pytest.raises(UserError, match="decides itself how wide its head is"):
        CoefficientGrid(baseline=net, step=0.4, tolerance=0.2, head_scaling="keep")


def test_triples_for_which_a_factory_builds_the_same_have_one_network():
    """A width of 8 times beta, rounded, has fewer values than a fine grid."""
    net = Factory(factory="tests.factories:wide", resolution=32, num_classes=2)
    space = CoefficientGrid(baseline=net, step=0.02, tolerance=0.02, match="nominal")
    networks = {space.decode(point) for point in space.points()}
    built = {
        (tuple(build_module(each)[0].weight.shape), each.resolution)
        for each in map(space.decode, space.points())
    }
    assert len(networks) == len(built) < space.size
