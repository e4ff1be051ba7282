from dataclasses import replace

import pytest

import scalesearch as ss
from scalesearch.arch.factory import Factory
from scalesearch.cost.factory import factory_flops
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.factory import alone, plainest
from scalesearch.scaling.family import left_out, members
from scalesearch.scaling.lines import multiplied
from scalesearch.scaling.realise import Unrealised, effective, realise
from scalesearch.scaling.solve import growing, largest
from scalesearch.scaling.strategies import of_shares, shares_of
from tests.factories import FIVE

NET = Factory(factory=FIVE, resolution=28, in_channels=1, num_classes=10)
WIDE = Factory(factory="tests.factories:wide", resolution=32, num_classes=2, options={"base": 64})


@pytest.mark.parametrize("growth", [0.5, 2.0])
def test_networks_are_realised_at_their_flops(growth):
    by = Multipliers(width=growth**0.25, resolution=growth**0.25)
    grown = realise(NET, by, growth * ss.cost(NET).flops)
    assert ss.cost(grown).flops / ss.cost(NET).flops == pytest.approx(growth, rel=0.02)
    really = effective(NET, grown)
    assert really.width == pytest.approx(by.width, rel=0.13)
    assert really.resolution == pytest.approx(by.resolution, rel=0.1)


def test_one_network_has_one_name_whichever_way_it_was_come_to():
    # 64 channels: from 102.5 / 64 to 103.5 / 64 all are rounded to 103; 1.61 is the shortest.
    made = [plainest(replace(WIDE, width=width)) for width in (1.603, 1.6094, 1.6171)]
    assert {net.width for net in made} == {1.61}
    # From 0.9922 to 1.0078 nothing changes; from 0.4922 to 0.5078 a half is the shortest.
    assert plainest(replace(WIDE, width=1.004)) == WIDE
    assert plainest(replace(WIDE, width=0.4954)).width == 0.5
    # 1.1 and 1.2 give 70 and 77; between them one decimal is not enough.
    assert plainest(replace(WIDE, width=1.1432)).width == 1.14


def test_layers_that_share_their_weights_are_told_apart_by_their_flops():
    net = Factory(factory="tests.factories:shared", resolution=16, num_classes=2)
    deeper = alone(net, "depth", 2 * ss.cost(net).flops)
    assert ss.cost(deeper).flops / ss.cost(net).flops == pytest.approx(2, rel=0.1)
    assert plainest(replace(net, depth=2.02)).depth == 2


def test_what_cannot_be_realised_is_said():
    with pytest.raises(Unrealised, match="no network near depth 1, width 1 and resolution 1 times"):
        realise(WIDE, Multipliers(), 10 * ss.cost(WIDE).flops)


def test_coefficients_scale_by_either_rule():
    nominal = ss.Coefficients(1.5, 1.2, 1.1)
    grown = ss.scale(NET, nominal, phi=1)
    assert (grown.depth, grown.width, grown.resolution) == (1.5, 1.2, 31)
    measured = ss.Coefficients(1.0, 1.2, 1.18, match="measured", budget=2.0)
    flops = [ss.cost(ss.scale(NET, measured, phi)).flops for phi in (0, 1, 2)]
    assert flops[1] / flops[0] == pytest.approx(2, rel=0.02)
    assert flops[2] / flops[0] == pytest.approx(4, rel=0.02)
    phi = ss.solve_phi(NET, measured, flops=3 * flops[0])
    assert factory_flops(ss.scale(NET, measured, phi)) <= 3 * flops[0]
    assert phi == pytest.approx(1.585, abs=0.05)


def test_a_dimension_that_is_not_scaled_has_a_coefficient_of_1():
    with pytest.raises(UserError, match=r"alpha: tests.factories:wide does not scale depth"):
        ss.scale(WIDE, ss.Coefficients(1.2, 1.1, 1.1), phi=1)
    assert ss.scale(WIDE, ss.Coefficients(1, 1.5, 1.25), phi=1).width == 1.5
    with pytest.raises(UserError, match=r"head_scaling: .* decides itself how wide its head is"):
        ss.scale(WIDE, ss.Coefficients(1, 1.5, 1.25, "keep"), phi=1)


def test_one_dimension_alone_comes_closest_to_its_target():
    # 64 channels of 27 s^2 + 2 FLOPs each: twice the FLOPs are 128 channels, or 45.25 pixels.
    flops = ss.cost(WIDE).flops
    assert round(64 * alone(WIDE, "width", 2 * flops).width) == 128
    assert alone(WIDE, "resolution", 2 * flops).resolution == 45
    assert alone(WIDE, "width", flops) == WIDE


def test_what_is_not_scaled_has_no_strategy_and_is_named():
    by = ss.Coefficients(1, 1.2, 1.2, match="measured", budget=2.0)
    asked = ("compound", "depth", "depth_width", "fast_compound", "d0_w1_r1")
    family = members(WIDE, by, [1], asked)
    assert [member.strategy for member in family] == ["compound", "d0_w1_r1"]
    # By half the logarithm of the growth each: 2^(1/4) of width and of resolution.
    shared = family[1].architecture
    assert factory_flops(shared) / factory_flops(WIDE) == pytest.approx(2, rel=0.03)
    assert shared.width == pytest.approx(2**0.25, rel=0.13)
    assert shared.resolution / 32 == pytest.approx(2**0.25, rel=0.1)
    left = ("depth_phi1", "depth_width_phi1", "fast_compound_phi1")
    assert left_out(family, WIDE, [1], asked) == left


@pytest.mark.parametrize("match", ["measured", "nominal"])
@pytest.mark.parametrize(("name", "times"), [("flops", 3.0), ("flops", 0.6), ("params", 1.5)])
def test_the_largest_member_is_below_its_limit(match, name, times):
    by = ss.Coefficients(1, 1.2, 1.2, match=match)
    limit = times * getattr(ss.cost(WIDE), name)
    _, net = largest(growing(WIDE, by), {name: limit})
    # A channel is a 64th of the cost, and more of one pixel of 32.
    assert 0.93 * limit <= getattr(ss.cost(net), name) <= limit


def test_what_is_made_equal_is_flops():
    memory = {"match": "measured", "budget": 2.0, "budget_cost": "training_bytes"}
    with pytest.raises(UserError, match=r"budget_cost: .*can be made equal in FLOPs alone"):
        ss.scale(WIDE, ss.Coefficients(1, 1.2, 1.2, **memory), phi=1)


def test_a_strategy_or_limit_of_what_is_not_scaled_is_an_error():
    with pytest.raises(UserError, match="does not scale depth"):
        of_shares(WIDE, shares_of("fast_compound"))
    with pytest.raises(UserError, match="does not scale depth"):
        growing(WIDE, ss.Coefficients(1.2, 1.1, 1.1, match="measured"))
    doubled = of_shares(WIDE, shares_of("width")).network(1)
    assert round(64 * doubled.width) == pytest.approx(128, rel=0.02)


def test_a_family_has_the_strategies_that_the_factory_scales():
    by = ss.Coefficients(1, 1.2, 1.2, match="measured", budget=2.0)
    family = members(WIDE, by, [0, 1])
    assert [member.strategy for member in family] == ["compound", "width", "resolution"] * 2
    for member in family[3:]:
        ratio = factory_flops(member.architecture) / factory_flops(WIDE)
        assert ratio == pytest.approx(2, rel=0.03), member.name


def test_sides_that_a_factory_rejects_are_passed_over():
    net = Factory(factory="tests.factories:patches", resolution=32, num_classes=2)
    grown = realise(net, Multipliers(resolution=1.18), 1.4 * ss.cost(net).flops, tolerance=0.15)
    assert grown.resolution % 4 == 0
    assert ss.cost(grown).flops / ss.cost(net).flops == pytest.approx(1.4, rel=0.15)


def test_lines_multiply_what_a_factory_builds():
    first, second = multiplied(NET, {"width": (1.0, 2.0)})
    assert first == NET
    assert second.width == 2.0
