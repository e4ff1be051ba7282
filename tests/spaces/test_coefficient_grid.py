"""The grid of coefficients, against the paper and a count by plain search."""

import itertools
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.measure import training_memory
from scalesearch.scaling.scale import scale
from scalesearch.spaces.coefficient_grid import CoefficientGrid

B0 = published("efficientnet_b0")
B0_FLOPS = 385_814_752  # by fvcore 0.1.5: convolutions and linear layers


def by_search(budget, tolerance, step):
    """The triples by trying all, with floats as anybody's own loop would compare them."""
    steps = int((Decimal(budget) + Decimal(tolerance)) / Decimal(step)) + 1
    axis = [float(1 + Decimal(step) * n) for n in range(steps)]
    return [
        (alpha, beta, gamma)
        for alpha, beta, gamma in itertools.product(axis, repeat=3)
        if abs(alpha * beta**2 * gamma**2 - float(budget)) <= float(tolerance)
    ]


def test_the_defaults_give_109_triples_with_the_papers_own_among_them():
    space = CoefficientGrid(baseline=B0)
    triples = [tuple(point.values()) for point in space.points()]
    assert space.size == len(triples) == 109
    assert triples == by_search("2", "0.1", "0.05")
    assert (1.2, 1.1, 1.15) in triples
    assert 1.15 in space.parameters["gamma"]  # and not 1.1500000000000001


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(["1.5", "2", "2.25", "3"]),
    st.sampled_from(["0.05", "0.1", "0.21"]),
    st.sampled_from(["0.1", "0.2", "0.07"]),
)
def test_the_triples_are_those_of_a_plain_search(budget, tolerance, step):
    expected = by_search(budget, tolerance, step)
    if expected:
        space = CoefficientGrid(
            baseline=B0, budget=float(budget), tolerance=float(tolerance), step=float(step)
        )
        assert [tuple(point.values()) for point in space.points()] == expected


def below_1(budget, tolerance, step):
    axis = [float(1 - Decimal(step) * n) for n in range(int(1 / Decimal(step)) + 1)]
    return sorted(
        triple
        for triple in itertools.product([value for value in axis if value > 0], repeat=3)
        if abs(triple[0] * triple[1] ** 2 * triple[2] ** 2 - float(budget)) <= float(tolerance)
    )


@pytest.mark.parametrize(
    ("budget", "tolerance", "step"), [("0.5", "0.05", "0.1"), ("0.7", "0.1", "0.05")]
)
def test_a_budget_below_1_shrinks_each_dimension(budget, tolerance, step):
    expected = below_1(budget, tolerance, step)
    numbers = {"budget": float(budget), "tolerance": float(tolerance), "step": float(step)}
    space = CoefficientGrid(baseline=B0, match="nominal", **numbers)
    assert [tuple(point.values()) for point in space.points()] == expected
    assert len(expected) > 5
    assert max(map(max, expected)) == 1


def test_networks_of_a_budget_below_1_have_half_the_flops_by_fvcores_count():
    space = CoefficientGrid(baseline=B0, budget=0.5, tolerance=0.05, step=0.1)
    for point in space.points():
        flops = counts(space.decode(point)).flops
        assert abs(flops / (0.5 * B0_FLOPS) - 1) <= 0.02, point


def test_a_budget_of_memory_doubles_memory():
    space = CoefficientGrid(baseline=B0, step=0.3, tolerance=0.2, measure=training_memory())
    base = cost(B0).training_bytes
    assert space.size == 3
    for point in space.points():
        net = space.decode(point)
        assert abs(cost(net).training_bytes / (2 * base) - 1) <= 0.02, point
        assert space.coefficients(point).budget_cost == "training_bytes"


def test_the_ends_of_the_tolerance_are_included():
    # 1.5 and 2.5 are 0.5 from 2 in binary too.
    space = CoefficientGrid(baseline=B0, budget=2, tolerance=0.5, step=0.5)
    alphas = {p["alpha"] for p in space.points() if p["beta"] == p["gamma"] == 1}
    assert alphas == {1.5, 2.0, 2.5}


def test_a_triple_scales_the_baseline():
    space = CoefficientGrid(baseline=B0, phi=2, match="nominal")
    triple = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}
    assert space.decode(triple) == scale(B0, Coefficients(1.2, 1.1, 1.15), 2)
    assert space.decode(space.encode(space.decode(triple))) == space.decode(triple)


def test_every_network_of_the_default_grid_has_the_budget_of_flops_by_fvcores_count():
    space = CoefficientGrid(baseline=B0, step=0.2)
    for point in space.points():
        flops = counts(space.decode(point)).flops
        assert abs(flops / (2 * B0_FLOPS) - 1) <= 0.02, point


def test_equal_networks_encode_to_the_first_triple():
    # Width 8 with divisor 8 stays 8 below a factor of 1.5: beta makes no difference here.
    tiny = Backbone(stages=(Stage(width=8),), resolution=16)
    space = CoefficientGrid(baseline=tiny, step=0.1)
    networks = {}
    for point in space.points():
        networks.setdefault(space.decode(point), point)
    assert len(networks) < space.size
    for network, point in networks.items():
        assert space.encode(network) == point


def test_samples_are_seeded_triples():
    space = CoefficientGrid(baseline=B0)
    assert space.sample(5) == space.sample(5)
    assert len({space.sample(seed) for seed in range(20)}) > 10


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        # 1 * 1 * 1 = 1 and 1.5 are the neighbours of 1.2 on a step of 0.5.
        (
            {"budget": 1.2, "tolerance": 0.05, "step": 0.5},
            "tolerance: no triple on a step of 0.5 comes within 0.05 of 1.2\n"
            "  the closest product is 1 of (1, 1, 1)",
        ),
        (
            {"budget": 1.4, "tolerance": 0.05, "step": 0.5},
            "tolerance: no triple on a step of 0.5 comes within 0.05 of 1.4\n"
            "  the closest product is 1.5 of (1.5, 1, 1)",
        ),
        # 0.75 * 0.75^2 * 1 = 0.42 and 0.5 * 1 * 1 = 0.5 are the neighbours of 0.47 below 1.
        (
            {"budget": 0.47, "tolerance": 0.01, "step": 0.25},
            "tolerance: no triple on a step of 0.25 comes within 0.01 of 0.47\n"
            "  the closest product is 0.5 of (0.5, 1, 1)",
        ),
        ({"step": 0.0}, "step: 0.0 cannot be used"),
        ({"budget": -1}, "budget: -1 cannot be used"),
        ({"tolerance": -0.1}, "tolerance: -0.1 cannot be used"),
        ({"step": 1e-6}, "step: a step of 1e-06 is too fine"),
        (
            {"step": 0.001},
            "step: a step of 0.001 gives more than 5,000 triples\n  allowed: a larger step: 0.02 "
            f"gives {len(by_search('2', '0.1', '0.02')):,}\n  or take a smaller tolerance",
        ),
    ],
)
def test_grids_that_cannot_be_used(fields, text):
    with pytest.raises(UserError) as caught:
        CoefficientGrid(baseline=B0, **fields)
    assert str(caught.value).startswith(text)


def test_a_triple_off_the_grid_is_refused():
    space = CoefficientGrid(baseline=B0)
    with pytest.raises(UserError, match="is not a triple of this grid"):
        space.decode({"alpha": 3.0, "beta": 1.0, "gamma": 1.0})
    with pytest.raises(UserError, match="no triple of this grid gives this network"):
        space.encode(published("efficientnet_b7"))
