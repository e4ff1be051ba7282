"""Rates that grow with phi, against the official table of EfficientNet."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.arch.efficientnet import EFFICIENTNETS
from scalesearch.arch.factory import Factory
from scalesearch.arch.plain import digest, from_plain, to_plain
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.measured import measure_counts
from scalesearch.errors import UserError
from scalesearch.nn.build import build
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.regularisation import GrowingRate, Regularisation
from scalesearch.scaling.scale import scale

PAPER = Coefficients(1.2, 1.1, 1.15)
TWENTIETH = GrowingRate(per_phi=0.05)
# B0 to B7, as the official code's comments and the paper's family have them.
PHI = (0, 0.5, 1, 2, 3, 4, 5, 6)


def test_a_twentieth_for_each_phi_is_the_official_table():
    published_rates = [dropout for _, _, _, dropout in EFFICIENTNETS.values()]
    assert published_rates == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]
    assert [TWENTIETH.at(0.2, phi) for phi in PHI] == published_rates


@pytest.mark.parametrize(
    ("rate", "base", "phi", "expected"),
    [
        (TWENTIETH, 0.2, 7, 0.5),  # 0.55 is above the most
        (TWENTIETH, 0.2, -1, 0.2),  # 0.15, halves upwards
        (TWENTIETH, 0.2, -2, 0.1),
        (TWENTIETH, 0.0, -3, 0.0),  # no rate is below 0
        (TWENTIETH, 0.25, 0, 0.25),  # the baseline's own
        (TWENTIETH, 0.24, 0.1, 0.24),  # 0.245 is nearer to 0.2, which is less than at phi = 0
        (TWENTIETH, 0.24, 1, 0.3),
        (TWENTIETH, 0.26, -0.1, 0.26),  # 0.255 is nearer to 0.3, which is more than at phi = 0
        (GrowingRate(per_phi=0.02, most=0.35, step=0.01), 0.2, 3, 0.26),
        (GrowingRate(per_phi=0.02, most=0.35, step=0.01), 0.2, 9, 0.35),
        (GrowingRate(per_phi=0.1, step=0.25), 0.2, 2, 0.5),  # 0.4 is nearer to 0.5 than to 0.25
    ],
)
def test_rates_by_hand(rate, base, phi, expected):
    assert rate.at(base, phi) == expected


@given(st.floats(0.01, 0.2), st.floats(0, 0.5), st.floats(-20, 20), st.floats(-20, 20))
def test_a_larger_phi_has_no_smaller_rate(per_phi, base, one, other):
    rate = GrowingRate(per_phi=per_phi)
    low, high = sorted((one, other))
    assert 0 <= rate.at(base, low) <= rate.at(base, 0.5 * (low + high)) <= rate.at(base, high)
    assert rate.at(base, high) <= 0.5
    for phi in (low, high):
        assert (rate.at(base, phi) - base) * phi >= 0


def test_a_member_has_the_rates_of_its_phi_and_costs_the_same():
    net = published("efficientnet_b0", resolution=64, num_classes=10)
    rates = Regularisation(dropout=TWENTIETH, drop_path=GrowingRate(per_phi=0.1, most=0.3))
    plain = scale(net, PAPER, 1)
    member = rates.applied(plain, 1)
    assert (member.head.dropout, member.drop_path) == (0.3, 0.3)
    assert replace(member, head=plain.head, drop_path=plain.drop_path) == plain
    assert cost(member) == cost(plain)
    assert digest(member) != digest(plain)
    assert from_plain(to_plain(member)) == member
    model = build(member)
    measured = measure_counts(model, (1, 3, member.resolution, member.resolution))
    assert measured["flops"] == cost(plain).flops
    assert measured["params"] == cost(plain).params
    assert [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)] == [0.3]
    last = member.drop_path * (member.depth - 1) / member.depth
    assert max(m.rate for m in model.modules() if hasattr(m, "rate")) == pytest.approx(last)


def test_at_phi_zero_a_member_is_the_baseline():
    net = replace(published("efficientnet_b0"), drop_path=0.13)
    rates = Regularisation(dropout=TWENTIETH, drop_path=TWENTIETH)
    assert rates.applied(net, 0) == net
    assert not Regularisation()
    assert Regularisation().applied(net, 3) == net


def test_the_backbone_of_a_detector_has_stochastic_depth_alone():
    net = published("efficientdet_d0")
    grown = Regularisation(drop_path=TWENTIETH).applied(net, 2)
    assert grown.backbone.drop_path == 0.3
    assert replace(grown, backbone=net.backbone) == net
    with pytest.raises(UserError, match=r"^dropout: a detector has no dropout before its outputs"):
        Regularisation(dropout=TWENTIETH).applied(net, 2)


@pytest.mark.parametrize("key", ["dropout", "drop_path"])
def test_a_factory_has_rates_of_its_own(key):
    net = Factory(factory="tests.factories:wide", num_classes=2, resolution=32)
    message = f"^{key}: what tests.factories:wide builds has rates of its own"
    with pytest.raises(UserError, match=message):
        Regularisation(**{key: TWENTIETH}).applied(net, 0)


def test_a_baseline_above_the_most_is_a_mistake():
    net = replace(published("efficientnet_b0"), drop_path=0.6)
    with pytest.raises(UserError) as error:
        Regularisation(drop_path=TWENTIETH).applied(net, 0)
    assert str(error.value) == (
        "drop_path.most: the baseline's rate is 0.6, and the family's are to be 0.5 at most\n"
        "  allowed: at least 0.6"
    )


@pytest.mark.parametrize(
    "fields",
    [{"per_phi": 0}, {"per_phi": -0.1}, {"per_phi": 0.1, "most": 1}, {"per_phi": 0.1, "step": 0}],
)
def test_impossible_rates(fields):
    with pytest.raises(UserError, match="cannot be used\n  allowed: a rate above 0 and below 1"):
        GrowingRate(**fields)
