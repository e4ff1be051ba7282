"""Scaling to a target: the last phi that fits, and the same FLOPs by other dimensions."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.limits import Costs
from scalesearch.scaling.match import match_flops
from scalesearch.scaling.scale import scale
from scalesearch.scaling.solve import growing, largest, solve_phi

PAPER = Coefficients(1.2, 1.1, 1.15)
B0 = published("efficientnet_b0")


@given(st.floats(-4, 6))
@settings(max_examples=40)
def test_the_flops_of_a_phi_reach_at_least_that_phi(phi):
    # Costs grow in steps, so that a little more phi may cost the same.
    flops = cost(scale(B0, PAPER, phi)).flops
    solved = solve_phi(B0, PAPER, flops=flops)
    assert solved >= phi - 1e-9
    assert cost(scale(B0, PAPER, solved)).flops <= flops


@given(st.integers(50_000_000, 20_000_000_000))
@settings(max_examples=40)
def test_a_hair_more_is_over_the_limit(flops):
    phi = solve_phi(B0, PAPER, flops=flops)
    assert cost(scale(B0, PAPER, phi)).flops <= flops
    assert cost(scale(B0, PAPER, phi + 1e-9)).flops > flops


def test_b3s_flops_are_about_two_and_a_half_phis_away():
    # 1.827 G of B3 over 0.386 G are 4.73; log(4.73) / log(1.92) = 2.38, less what rounding adds.
    assert solve_phi(B0, PAPER, flops=1.827e9) == pytest.approx(2.38, abs=0.4)


def test_a_limit_below_the_baseline_gives_a_negative_phi():
    phi = solve_phi(B0, PAPER, flops=100e6)
    assert -4 < phi < -1
    assert cost(scale(B0, PAPER, phi)).flops <= 100e6


def test_the_tightest_of_several_limits_counts():
    both = solve_phi(B0, PAPER, flops=1.8e9, params=8e6)
    assert both == min(solve_phi(B0, PAPER, flops=1.8e9), solve_phi(B0, PAPER, params=8e6))
    assert cost(scale(B0, PAPER, both)).params <= 8e6


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({}, "solve_phi needs a limit\n  allowed: flops=1.8e9 or another cost"),
        (
            {"flop": 1e9},
            "'flop' is not a cost\n  allowed: flops, flops_total, params, activations, "
            "inference_bytes, training_bytes\n  did you mean 'flops'?",
        ),
        (
            {"latency": 0.01},
            "'latency' is measured, not computed\n  allowed: flops, flops_total, params, "
            "activations, inference_bytes, training_bytes",
        ),
        ({"flops": 0}, "flops: 0 cannot be a limit\n  allowed: a number above 0"),
    ],
)
def test_a_limit_that_cannot_be_is_told(limits, text):
    with pytest.raises(UserError) as raised:
        solve_phi(B0, PAPER, **limits)
    assert str(raised.value) == text


def test_coefficients_that_do_not_grow_are_told():
    with pytest.raises(UserError, match="none is above 1"):
        solve_phi(B0, Coefficients(1, 1, 1), flops=1e9)


def test_a_limit_that_bounds_nothing_is_told():
    # Resolution alone adds no parameter.
    with pytest.raises(UserError) as raised:
        solve_phi(B0, Coefficients(1, 1, 1.15), params=1e9)
    assert str(raised.value) == (
        "every member of this family is within params 1.0 G: the largest, at phi 16, has 5.3 M\n"
        "  limit a cost that these coefficients make grow, such as flops"
    )


# Half of the largest step: one block more, 8 channels more in every stage, one pixel more on an
# image of a multiple of 32 pixels, which adds a row and a column at every scale (9 % at 352).
@pytest.mark.parametrize(
    ("strategy", "within"), [("depth", 0.03), ("width", 0.05), ("resolution", 0.05)]
)
@pytest.mark.parametrize("phi", [1, 2, 3.5])
def test_one_dimension_meets_the_same_flops(strategy, within, phi):
    target = cost(scale(B0, PAPER, phi)).flops
    net = match_flops(B0, strategy, target)
    assert cost(net).flops == pytest.approx(target, rel=within)


def test_one_dimension_is_all_that_changes():
    target = 4 * cost(B0).flops
    deep, wide, large = (match_flops(B0, s, target) for s in ("depth", "width", "resolution"))
    assert [s.width for s in deep.stages] == [s.width for s in B0.stages]
    assert deep.resolution == wide.resolution == 224
    assert [s.depth for s in wide.stages] == [s.depth for s in B0.stages]
    assert large.stages == B0.stages
    # FLOPs grow with the square of the resolution.
    assert large.resolution == pytest.approx(448, abs=8)


def test_depth_grows_evenly_over_the_stages():
    net = match_flops(B0, "depth", 3 * cost(B0).flops)
    ratios = [
        after.depth / before.depth for after, before in zip(net.stages, B0.stages, strict=True)
    ]
    assert max(ratios) - min(ratios) <= 1


def test_nothing_but_identity_cannot_be_deepened():
    net = Backbone(stages=(Stage(block="identity", width=8),), resolution=16)
    assert match_flops(net, "depth", 10**9) == net


def test_a_detector_is_matched_by_coefficients_of_its_kind():
    d0 = published("efficientdet_d0")
    for coefficients in (None, Coefficients(1.2, 1.1, 1.15)):
        with pytest.raises(UserError, match="a detector's backbone grows by its Detector"):
            match_flops(d0, "backbone", 2 * cost(d0).flops, coefficients)


MEASURED = Coefficients(1.2, 1.1, 1.15, match="measured", budget=2.0)
NETS = {name: published(name) for name in ("efficientnet_b0", "mobilenet_v2", "resnet50")}


@given(name=st.sampled_from(sorted(NETS)), times=st.floats(0.1, 40))
@settings(max_examples=25, deadline=None)
def test_a_measured_member_uses_its_flops_and_no_more(name, times):
    net = NETS[name]
    limit = times * cost(net).flops
    phi, member = largest(growing(net, MEASURED), {"flops": limit})
    assert 0.98 * limit <= cost(member).flops <= limit
    assert phi == pytest.approx(math.log2(times), abs=0.07)


@given(name=st.sampled_from(sorted(NETS)), times=st.floats(0.1, 40))
@settings(max_examples=10, deadline=None)
def test_the_phi_of_a_measured_family_is_one_to_scale_by(name, times):
    net = NETS[name]
    limit = times * cost(net).flops
    phi = solve_phi(net, MEASURED, flops=limit)
    assert 0.95 * limit <= cost(scale(net, MEASURED, phi)).flops <= limit


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize(
    "times", [{"params": 1.5}, {"params": 0.5}, {"training_bytes": 2}, {"activations": 0.6}]
)
def test_other_limits_are_never_exceeded_nor_far_from(name, times):
    net = NETS[name]
    limits = {key: factor * getattr(cost(net), key) for key, factor in times.items()}
    _, member = largest(growing(net, MEASURED), limits)
    for key, limit in limits.items():
        assert 0.9 * limit <= getattr(cost(member), key) <= limit


def test_the_tightest_limit_of_a_measured_family_counts():
    base = cost(B0)
    limits = {"flops": 3.0 * base.flops, "params": 1.5 * base.params}
    _, member = largest(growing(B0, MEASURED), limits)
    assert cost(member).flops <= limits["flops"]
    assert 0.9 * limits["params"] <= cost(member).params <= limits["params"]


def test_the_baseline_meets_its_own_flops():
    assert largest(growing(B0, MEASURED), {"flops": cost(B0).flops}) == (0, B0)


def test_coefficients_that_shrink_are_solved_as_well():
    """Half the FLOPs is one phi of halving."""
    halving = Coefficients(0.85, 0.9, 0.85, match="measured", budget=0.5)
    phi, member = largest(growing(B0, halving), {"flops": 0.5 * cost(B0).flops})
    assert phi == pytest.approx(1, abs=0.1)
    assert 0.49 <= cost(member).flops / cost(B0).flops <= 0.5


def test_the_smallest_member_is_named_with_what_it_has():
    """By hand, 8 channels everywhere: 9 * 8 weights, 8 * 8 of the head and 8 * 2 + 2 of the linear
    layer, and two of a batch norm for each channel. All are as narrow as the divisor allows.
    """
    net = Backbone(
        stages=(Stage(block="identity", width=8),),
        stem=Stem(width=8),
        head=Head(width=8),
        **{"resolution": 1, "num_classes": 2, "in_channels": 1},
    )
    with pytest.raises(UserError) as raised:
        solve_phi(net, PAPER, params=10, activations=1e9)
    assert re.fullmatch(
        r"no member of this family is within params 10: the smallest, at phi -[\d.]+, has "
        rf"{72 + 64 + 18 + 2 * 16}\n  allow as much, or start from a smaller network",
        str(raised.value),
    )


@pytest.mark.parametrize("family", [growing(B0, PAPER), growing(B0, MEASURED)])
@pytest.mark.parametrize(
    ("limits", "words", "unmet"),
    [
        ({"flops": 1e4}, "flops 10.0 k", True),
        ({"flops": 1e9, "params": 1e4}, "params 10.0 k", True),
        ({"flops": 1e4, "params": 1e4}, "flops 10.0 k and params 10.0 k", True),
        ({"flops": 1e9, "training_bytes": 1024}, "training_bytes 1.0 KiB", True),
        ({"latency": 1e-4, "flops": 1e9}, "latency 0.10 ms", True),
        ({"flops": 1e14}, "flops 100.0 T", False),
        ({"params": 1e11, "flops": 1e14}, "params 100.0 G and flops 100.0 T", False),
    ],
)
def test_limits_beyond_all_members_are_told_with_what_can_be_reached(family, limits, words, unmet):
    with pytest.raises(UserError) as raised:
        largest(family, limits, Costs(latency=lambda net: 0.02))
    first = str(raised.value).splitlines()[0]
    which, size = ("no", "smallest") if unmet else ("every", "largest")
    start = f"{which} member of this family is within {words}: the {size}, at phi "
    assert first.startswith(start)
    if "latency" in limits:
        assert first.endswith(", has 20.0 ms")


def test_a_limit_within_reach_of_the_largest_member_is_met():
    """10 T of at most 12.9 T."""
    assert 9.8e12 <= cost(largest(growing(B0, MEASURED), {"flops": 1e13})[1]).flops <= 1e13


def test_members_that_end_before_a_limit_are_told():
    """They cannot be realised beyond four times the FLOPs."""
    full = growing(B0, MEASURED)

    def network(phi):
        if phi > 2:
            raise UserError("too deep")
        return full.network(phi)

    with pytest.raises(UserError, match=r"100\.0 G: the largest, at phi 2, has 1\.5 G"):
        largest(replace(full, network=network, at=None), {"flops": 1e11})


def test_a_measured_family_that_is_never_too_large_is_told():
    wide = Coefficients(1, 1, 1.4, match="measured", budget=2.0)  # adds no parameter
    with pytest.raises(UserError, match=r"every member of this .* is within params"):
        largest(growing(B0, wide), {"params": 1e12})


def test_growth_that_does_not_fit_its_coefficients_is_told():
    odd = Coefficients(1.2, 1.1, 1.15, match="measured", budget=0.5)
    with pytest.raises(UserError, match=r"coefficients that multiply costs by 0\.5"):
        growing(B0, odd)


def test_seconds_are_a_limit_where_they_are_predicted():
    def latency(net):
        return cost(net).activations * 1e-9

    bound = 2 * latency(B0)
    _, member = largest(growing(B0, MEASURED), {"latency": bound}, Costs(latency=latency))
    assert 0.9 * bound <= latency(member) <= bound


@pytest.mark.parametrize("flops", [1.0e6, 1.2e6, 1.5e6, 2.2e6])
def test_members_far_below_the_baseline_are_found(flops):
    member = scale(B0, MEASURED, solve_phi(B0, MEASURED, flops=flops))
    assert 0.7 * flops < cost(member).flops <= flops
