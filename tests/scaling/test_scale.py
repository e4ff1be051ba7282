"""Scaling against the paper's own scaled networks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.published import EFFICIENTNETS, published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients, Multipliers
from scalesearch.scaling.scale import multiply, scale, with_depths
from tests.strategies import backbones

PAPER = Coefficients(1.2, 1.1, 1.15)
B0 = published("efficientnet_b0")


@pytest.mark.parametrize(
    ("by", "gigaflops"),
    # Tan & Le 2019, Table 7: EfficientNet-B0 scaled, prints .4, 1.8, 1.8, 1.9 and 1.8 G; counted
    # with fvcore on timm's models (convolutions and linear layers): these.
    [
        (Multipliers(), 0.386),
        (Multipliers(depth=4), 1.575),
        (Multipliers(width=2), 1.450),
        (Multipliers(resolution=2), 1.538),
        (Multipliers(depth=1.4, width=1.2, resolution=1.3), 1.800),
    ],
)
def test_b0_scaled_as_in_table_7(by, gigaflops):
    assert cost(multiply(B0, by)).flops / 1e9 == pytest.approx(gigaflops, abs=6e-4)


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_the_official_multipliers_give_the_published_networks(name):
    width, depth, resolution, _ = EFFICIENTNETS[name]
    official = published(name)
    scaled = multiply(B0, Multipliers(depth, width, resolution / 224))
    assert scaled.stages == official.stages
    assert (scaled.stem, scaled.resolution) == (official.stem, official.resolution)
    assert scaled.head.width == official.head.width


def test_phi_zero_is_the_baseline():
    assert scale(B0, PAPER, 0) == B0


@given(backbones(), st.floats(0.2, 3), st.floats(0.2, 3), st.floats(0.2, 3))
@settings(max_examples=80)
def test_each_dimension_is_scaled_and_nothing_else(net, depth, width, resolution):
    if net.resolution * resolution < 0.5:
        return
    scaled = multiply(net, Multipliers(depth, width, resolution))
    assert len(scaled.stages) == len(net.stages)
    for before, after in zip(net.stages, scaled.stages, strict=True):
        assert after.width % net.width_divisor == 0 or width == 1
        assert after.width >= 0.9 * before.width * width - 1e-6
        kept = ("block", "stride", "kernel", "expand", "se")
        assert all(getattr(before, key) == getattr(after, key) for key in kept)
        if before.block == "identity":
            assert after.depth == 1
        else:
            assert before.depth * depth - 1e-6 <= after.depth < before.depth * depth + 1
    assert abs(scaled.resolution - net.resolution * resolution) <= 0.5
    for key in ("in_channels", "num_classes", "activation", "padding", "drop_path"):
        assert getattr(scaled, key) == getattr(net, key)


@given(backbones())
def test_a_multiplier_of_one_changes_nothing_whatever_the_divisor(net):
    assert multiply(net, Multipliers()) == net
    assert multiply(net, Multipliers(depth=2)).stem == net.stem


def test_a_network_too_small_for_an_image_is_told():
    with pytest.raises(UserError, match="leaves a resolution of 0 pixels"):
        scale(B0, PAPER, -45)


def test_depths_are_replaced_in_order():
    assert [s.depth for s in with_depths(B0, (1, 2, 3, 4, 5, 6, 7)).stages] == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(ValueError, match="shorter"):
        with_depths(B0, (1, 2))


def test_an_identity_stage_is_not_deepened():
    net = published("efficientnet_b0", stages=(Stage(width=16), Stage(block="identity", width=24)))
    assert [stage.depth for stage in multiply(net, Multipliers(depth=3)).stages] == [3, 1]
