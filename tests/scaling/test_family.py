"""Families: every strategy at the FLOPs of the compound member."""

from __future__ import annotations

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.family import DETECTOR_STRATEGIES, Member, left_out, members
from scalesearch.scaling.scale import scale
from scalesearch.scaling.strategies import DEFAULT, STRATEGIES

PAPER = Coefficients(1.2, 1.1, 1.15)
B0 = published("efficientnet_b0")


def test_each_phi_has_every_strategy_in_order():
    family = members(B0, PAPER, [0, 1, 2])
    assert [(m.phi, m.strategy) for m in family] == [(p, s) for p in (0, 1, 2) for s in DEFAULT]
    assert DEFAULT == ("compound", "depth", "width", "resolution")


def test_at_phi_zero_every_strategy_is_the_baseline():
    assert {m.architecture for m in members(B0, PAPER, [0])} == {B0}


@pytest.mark.parametrize(
    "name",
    [
        *("efficientnet_b0", "efficientnet_lite0", "efficientnet_v2_s"),
        *("mobilenet_v1", "mobilenet_v2", "resnet18", "resnet50", "wrn_16_8"),
    ],
)
def test_every_member_has_nearly_the_flops_of_the_compound_one(name):
    net = published(name)
    for phi in (1, 2, 3):
        family = {m.strategy: cost(m.architecture).flops for m in members(net, PAPER, [phi])}
        assert family["compound"] == cost(scale(net, PAPER, phi)).flops
        for strategy in ("depth", "width", "resolution"):
            assert family[strategy] / family["compound"] == pytest.approx(1, abs=0.05)


def test_flops_of_the_compound_members_about_double():
    # alpha * beta^2 * gamma^2 = 1.92 for each phi; depths are rounded up, so that a little more.
    first, last = (cost(scale(B0, PAPER, phi)).flops for phi in (0, 4))
    assert 1.92**4 * 0.9 < last / first < 1.92**4 * 1.5


def test_smaller_networks_have_no_single_dimension_to_compare():
    assert [m.strategy for m in members(B0, PAPER, [-1])] == ["compound"]


MEASURED = Coefficients(1.2, 1.1, 1.15, match="measured", budget=2.0)


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v2", "resnet50"])
def test_measured_members_meet_their_targets_and_each_other(name):
    """2^phi times the FLOPs within 2 %, in both directions, whatever the strategy."""
    net = published(name)
    base = cost(net).flops
    strategies = (*STRATEGIES, "d1_w1_r1")
    for phi in (-0.5, 0, 0.5, 2, 3.5):
        family = members(net, MEASURED, [phi], strategies)
        assert [m.strategy for m in family] == list(strategies)
        flops = {m.strategy: cost(m.architecture).flops for m in family}
        for strategy, count in flops.items():
            assert count / base == pytest.approx(2**phi, rel=0.02), (strategy, phi)
            assert count == pytest.approx(flops["compound"], rel=0.021), (strategy, phi)


def test_a_strategy_that_cannot_shrink_as_far_is_left_out():
    """Seven stages of one block each, a fifth of B0's 385.8 M FLOPs and more, is all of depth."""
    family = members(B0, MEASURED, [-3], ("compound", "depth", "width"))
    assert [m.name for m in family] == ["compound_phi-3", "width_phi-3"]
    assert left_out(family, B0, [-3], ("compound", "depth", "width")) == ("depth_phi-3",)
    assert left_out(members(B0, PAPER, [-1]), B0, [-1]) == (
        "depth_phi-1",
        "width_phi-1",
        "resolution_phi-1",
    )


def test_strategies_can_be_chosen():
    family = members(B0, PAPER, [1], ["depth"])
    assert [m.name for m in family] == ["depth_phi1"]


def test_names_are_words_for_files():
    names = [Member("width", phi, B0).name for phi in (0, 0.5, -1, 2.0)]
    assert names == ["width_phi0", "width_phi0.5", "width_phi-1", "width_phi2"]


def test_detectors_by_single_dimensions():
    """As in EfficientDet's Figure 6: each at the FLOPs of the compound one, all else as it was."""
    d0 = published("efficientdet_d0")
    networks = {m.strategy: m.architecture for m in members(d0, DetectorCoefficients(), [1])}
    assert tuple(networks) == DETECTOR_STRATEGIES
    target = cost(networks["compound"]).flops
    for strategy, net in networks.items():
        assert cost(net).flops / target == pytest.approx(1, abs=0.05), strategy
        changed = {
            "backbone": net.backbone.stages != d0.backbone.stages,
            "neck_width": net.neck.width != d0.neck.width,
            "neck_depth": net.neck.depth != d0.neck.depth,
            "head_depth": net.heads.depth != d0.heads.depth,
            "resolution": net.resolution != d0.resolution,
        }
        if strategy != "compound":
            assert [key for key, other in changed.items() if other] == [strategy]
