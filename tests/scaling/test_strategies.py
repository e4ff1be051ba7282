"""Strategies: against the shares, activations and networks that papers print."""

from __future__ import annotations

import pytest
import timm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scalesearch.arch.published import published
from scalesearch.cost.counts import counts
from scalesearch.cost.measured import measure_counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.measure import latency_by, measure_for, training_memory
from scalesearch.scaling.realise import Unrealised, effective, realise
from scalesearch.scaling.scale import scale
from scalesearch.scaling.strategies import (
    SHARES,
    STRATEGIES,
    Shares,
    check_strategy,
    grown,
    of_shares,
    shares_of,
)

B0 = published("efficientnet_b0")
DIMENSIONS = ("depth", "width", "resolution")


@pytest.mark.parametrize(
    ("word", "exponents"),
    [
        # Dollár, Singh & Girshick 2021: s^.1, s^.4, s^.05, and uniform s^(1/3), s^(1/6), s^(1/6).
        ("fast_compound", (0.1, 0.4, 0.05)),
        ("d1_w8_r1", (0.1, 0.4, 0.05)),
        ("d1_w1_r1", (1 / 3, 1 / 6, 1 / 6)),
        ("depth_width", (0.5, 0.25, 0)),
        ("d0.5_w0_r1.5", (0.25, 0, 0.375)),
        ("resolution", (0, 0, 0.5)),
    ],
)
def test_exponents_of_the_growth_of_flops(word, exponents):
    by = shares_of(word).at(16.0)
    for key, exponent in zip(DIMENSIONS, exponents, strict=True):
        assert getattr(by, key) == pytest.approx(16**exponent), key
    assert by.depth * by.width**2 * by.resolution**2 == pytest.approx(16)


def test_shares_are_coefficients_too():
    c = shares_of("fast_compound").coefficients()
    assert (c.alpha, c.beta, c.gamma) == pytest.approx((1.0718, 1.3195, 1.0353), abs=1e-4)
    assert (c.match, c.budget) == ("measured", 2.0)


@pytest.mark.parametrize(
    ("strategy", "activations"),
    [
        # The same paper: activations grow as s^.6, s^.83, and those of single dimensions.
        ("fast_compound", 4**0.6),
        ("d1_w1_r1", 4 ** (5 / 6)),
        ("width", 2),
        ("resolution", 4),
        ("depth", 4),
    ],
)
def test_activations_of_four_times_the_flops_as_in_the_paper(strategy, activations):
    net = published("resnet50")
    before = counts(net)
    after = counts(grown(net, shares_of(strategy), 4 * before.flops))
    assert after.flops / before.flops == pytest.approx(4, rel=0.02)
    # Its stem is not deepened with the rest.
    rel = 0.1 if strategy == "depth" else 0.045
    assert after.activations / before.activations == pytest.approx(activations, rel=rel)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["efficientnet_b0", "mobilenet_v2", "resnet50", "resnet18"]),
    weights=st.tuples(*[st.integers(0, 9)] * 3),
    doublings=st.floats(-2, 4),
)
def test_any_shares_meet_any_flops(name, weights, doublings):
    assume(sum(weights[1:]) > 0)  # depth alone ends where each stage has one block
    net = published(name)
    base = counts(net).flops
    word = "d{}_w{}_r{}".format(*weights)
    shares = shares_of(word)
    assume(doublings > -1 or shares.depth < 0.5)
    after = grown(net, shares, base * 2**doublings)
    assert counts(after).flops / base == pytest.approx(2**doublings, rel=0.02)
    by, really = shares.at(2**doublings), effective(net, after)
    if abs(doublings) > 1:  # away from the baseline each dimension goes where its share says
        for key in DIMENSIONS:
            assert getattr(really, key) == pytest.approx(getattr(by, key), rel=0.3), (word, key)


@pytest.mark.parametrize(
    ("name", "side", "width", "depth"),
    [("a", 192, 1.0, 1.2), ("b", 188, 0.75, 1.1), ("c", 184, 0.54, 0.85)],
)
def test_tinynets_below_b0_as_published(name, side, width, depth):
    """Han et al. 2020: B0 at these multipliers with its head kept; FLOPs are those of timm's."""
    theirs = timm.create_model(f"tinynet_{name}")
    flops = measure_counts(theirs, (1, 3, side, side))["flops"]
    by = Multipliers(depth, width, side / 224, head_scaling="keep")
    net = realise(B0, by, flops)
    assert counts(net).flops == pytest.approx(flops, rel=0.02)
    assert net.head.width == 1280
    really = effective(B0, net)
    assert net.resolution == pytest.approx(side, rel=0.06)
    assert really.width == pytest.approx(width, rel=0.04)
    assert really.depth == pytest.approx(depth, rel=0.05)


def test_depth_alone_cannot_go_below_a_block_for_each_stage():
    with pytest.raises(Unrealised, match="these dimensions alone cannot bring the network to"):
        grown(B0, SHARES["depth"], counts(B0).flops / 4)


def test_a_family_of_shares_doubles_flops_with_phi():
    family = of_shares(B0, SHARES["width"])
    assert family.network(0) == B0
    for phi in (-1, 0.5, 2):
        flops = counts(family.network(phi)).flops
        assert flops / counts(B0).flops == pytest.approx(2**phi, rel=0.02)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("widht", "'widht' is not known\n  allowed: compound, depth, width, resolution, "),
        ("depth+width", "did you mean 'depth_width'?"),
        ("d1_w8", "or weights of one's own such as d1_w8_r1"),
        ("d0_w0_r0", "the weights of 'd0_w0_r0' are all 0"),
        ("d-1_w8_r1", "'d-1_w8_r1' is not known"),
    ],
)
def test_strategies_that_there_are_not(word, text):
    with pytest.raises(UserError) as raised:
        check_strategy(word)
    assert text in str(raised.value)
    assert [check_strategy(known) for known in STRATEGIES] == list(STRATEGIES)


def test_memory_and_latency_can_be_made_equal_instead():
    """Seconds that grow with activations alone: width doubles them at four times the FLOPs."""
    measure = latency_by(lambda net: counts(net).activations * 1e-9)
    for strategy in ("width", "fast_compound"):
        net = grown(B0, SHARES[strategy], 2 * measure.of(B0), measure=measure)
        assert measure.of(net) / measure.of(B0) == pytest.approx(2, rel=0.02)
    wide = grown(B0, SHARES["width"], 2 * measure.of(B0), measure=measure)
    assert 3.5 < counts(wide).flops / counts(B0).flops < 4.2
    memory = training_memory()
    deep = grown(B0, Shares(1, 0, 0), 2 * memory.of(B0), measure=memory)
    assert memory.of(deep) / memory.of(B0) == pytest.approx(2, rel=0.02)


def test_coefficients_at_equal_latency_need_a_prediction():
    from scalesearch.scaling.coefficients import Coefficients

    c = Coefficients(1.2, 1.1, 1.15, match="measured", budget=2.0, budget_cost="latency")
    with pytest.raises(UserError, match="equal in latency, which needs a latency table"):
        scale(B0, c, 1)
    measure = latency_by(lambda net: counts(net).activations * 1e-9)
    assert measure_for("latency", measure) is measure
    grown_net = scale(B0, c, 1, measure)
    assert measure.of(grown_net) / measure.of(B0) == pytest.approx(2, rel=0.02)
    with pytest.raises(UserError, match="latency is made equal by a measured budget alone"):
        Coefficients(1.2, 1.1, 1.15, budget=2.0, budget_cost="latency")
