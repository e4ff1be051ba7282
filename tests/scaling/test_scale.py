"""Scaling against the paper's own scaled networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorchcv.models.resnet import ResNet
from timm.models.efficientnet import _gen_mobilenet_v1
from torch import nn

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.efficientnet import EFFICIENTNETS
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.counts import counts
from scalesearch.cost.measured import measure_counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients, Multipliers
from scalesearch.scaling.multiply import multiply, with_depths
from scalesearch.scaling.scale import scale
from tests.peers import weightless
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


D4, W2, R2 = Multipliers(depth=4), Multipliers(width=2), Multipliers(resolution=2)
ALL = Multipliers(depth=1.4, width=1.2, resolution=1.3)


@pytest.mark.parametrize(
    ("name", "by", "counted", "printed"),
    # Tan & Le 2019, Table 3: what it prints (G), after what fvcore counts (convolutions and linear
    # layers) on models of timm and torchvision, and on pytorchcv's where those cannot be widened.
    [
        ("mobilenet_v1", Multipliers(), 0.569, 0.6),
        ("mobilenet_v1", W2, 2.22, 2.2),
        ("mobilenet_v1", R2, 2.27, 2.2),
        # Whole depths: 1.4 times 6 blocks are 9, and 1.4 times one are 2.
        ("mobilenet_v1", ALL, 2.47, 2.3),
        ("mobilenet_v2", Multipliers(), 0.301, 0.3),
        ("mobilenet_v2", D4, 1.22, 1.2),
        # With the head widened, as torchvision's `width_mult` does it; 1.10 without.
        ("mobilenet_v2", W2, 1.14, 1.1),
        ("mobilenet_v2", R2, 1.20, 1.2),
        ("resnet50", Multipliers(), 4.09, 4.1),
        # The paper prints the numbers of depth and width as if they had been exchanged.
        ("resnet50", D4, 14.57, 16.2),
        # With the stem widened too; 15.87 with a stem of 64.
        ("resnet50", W2, 16.12, 14.7),
        ("resnet50", R2, 16.35, 16.4),
    ],
)
def test_other_baselines_scaled_as_in_table_3(name, by, counted, printed):
    flops = cost(multiply(published(name), by)).flops / 1e9
    assert flops == pytest.approx(counted, abs=0.5 * 10 ** -len(str(counted).split(".")[1]))
    assert flops == pytest.approx(printed, rel=0.11)


def deep_resnet50():
    block = torchvision.models.resnet.Bottleneck
    return torchvision.models.ResNet(block, [12, 16, 24, 12])


def wide_resnet50():
    channels = [[512] * 3, [1024] * 4, [2048] * 6, [4096] * 3]
    peer = ResNet(channels, init_block_channels=128, bottleneck=True, conv1_stride=False)
    peer.features.final_pool = nn.AdaptiveAvgPool2d(1)  # in place of one of 7 x 7, for any image
    return peer


@pytest.mark.parametrize(
    ("name", "by", "make"),
    [
        ("mobilenet_v1", W2, lambda: _gen_mobilenet_v1("mobilenetv1_125", channel_multiplier=2.0)),
        ("mobilenet_v2", W2, lambda: torchvision.models.mobilenet_v2(width_mult=2.0)),
        ("mobilenet_v2", Multipliers(width=1.4), lambda: timm.create_model("mobilenetv2_140")),
        ("resnet50", D4, deep_resnet50),
        ("resnet50", W2, wide_resnet50),
    ],
    ids=["v1 wide", "v2 wide", "v2 1.4 wide", "resnet50 deep", "resnet50 wide"],
)
def test_public_implementations_that_are_scaled_count_the_same(name, by, make):
    with torch.device("meta"):
        peer = weightless(make())
    size = (65, 48)
    assert (
        measure_counts(peer, (1, 3, *size))
        == cost(multiply(published(name), by), size=size).counts()
    )


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_the_official_multipliers_give_the_published_networks(name):
    width, depth, resolution, _ = EFFICIENTNETS[name]
    official = published(name)
    scaled = multiply(B0, Multipliers(depth, width, resolution / 224))
    assert scaled.stages == official.stages
    assert (scaled.stem, scaled.resolution) == (official.stem, official.resolution)
    assert scaled.head.width == official.head.width


def test_a_head_without_a_convolution_stays_without():
    for name in ("mobilenet_v1", "resnet50", "wrn_16_8"):
        net = published(name)
        scaled = scale(net, PAPER, 2)
        assert scaled.head == net.head
        assert scaled.features == scaled.stages[-1].width > net.features


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
        unchanged = ("block", "stride", "kernel", "expand", "se", "reduce")
        assert all(getattr(before, key) == getattr(after, key) for key in unchanged)
        if before.block == "identity":
            assert after.depth == 1
        else:
            assert before.depth * depth - 1e-6 <= after.depth < before.depth * depth + 1
    assert abs(scaled.resolution - net.resolution * resolution) <= 0.5
    assert (scaled.head.width == 0) == (net.head.width == 0)
    unchanged = {"stages", "stem", "head", "resolution"}
    for key in Backbone.__dataclass_fields__.keys() - unchanged:
        assert getattr(scaled, key) == getattr(net, key)
    assert replace(scaled.stem, width=net.stem.width) == net.stem
    assert replace(net.head, width=scaled.head.width) == scaled.head


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


# Width multiplier, side and millions of multiply-adds of MobileNetV2 as its authors print them
# (tensorflow/models, research/slim/nets/mobilenet), cut off behind the point.
MOBILENET_V2 = """
1.4 224 582, 1.3 224 509, 1.0 224 300, 1.0 192 221, 1.0 160 154, 1.0 128 99, 1.0 96 56,
0.75 224 209, 0.75 192 153, 0.75 160 107, 0.75 128 69, 0.75 96 39,
0.5 224 97, 0.5 192 71, 0.5 160 50, 0.5 128 32, 0.5 96 18,
0.35 224 59, 0.35 192 43, 0.35 160 30, 0.35 128 20, 0.35 96 11
"""


def test_the_published_multipliers_of_mobilenet_v2():
    """Its last layer has 1280 channels at least."""
    net = published("mobilenet_v2")
    for row in MOBILENET_V2.split(","):
        width, side, millions = (float(word) for word in row.split())
        by = Multipliers(width=width, resolution=side / 224, head_scaling="grow")
        scaled = multiply(net, by)
        assert cost(scaled).flops // 1_000_000 == millions, row
        assert scaled.head.width == (1280 if width <= 1 else round(1280 * width))


@pytest.mark.parametrize("width", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v1", "mobilenet_v2", "resnet50"])
def test_rules_for_the_head_change_the_head_alone(name, width):
    net = published(name)
    scaled, kept, grown = (
        multiply(net, Multipliers(width=width, head_scaling=rule))
        for rule in ("scale", "keep", "grow")
    )
    assert kept.head == net.head
    assert grown.head == (scaled.head if width >= 1 else net.head)
    assert replace(kept, head=scaled.head) == replace(grown, head=scaled.head) == scaled


def test_coefficients_carry_the_rule():
    triple = Coefficients(1.2, 1.1, 1.15, head_scaling="keep")
    assert scale(B0, triple, 2).head == B0.head
    assert replace(scale(B0, triple, 2), head=scale(B0, PAPER, 2).head) == scale(B0, PAPER, 2)


@pytest.mark.parametrize("triple", [(1.1, 1.1, 1.15), (1.3, 1.2, 1.2), (1.0, 1.0, 1.05)])
def test_a_product_off_its_budget_still_gives_the_budgets_flops_far_away(triple):
    """1.1 * 1.1^2 * 1.15^2 is 1.76: at phi 4 it alone would give 9.6 times the FLOPs, not 16."""
    c = Coefficients(*triple, match="measured", budget=2.0)
    net = published("efficientnet_b0")
    for phi in (-1, 1, 4):
        grown = scale(net, c, phi)
        assert counts(grown).flops / counts(net).flops == pytest.approx(2**phi, rel=0.02)


def test_coefficients_against_their_budget_are_told():
    net = published("efficientnet_b0")
    with pytest.raises(UserError, match="no network near depth"):
        scale(net, Coefficients(0.8, 0.8, 0.9, match="measured", budget=2.0), 1)
    even = Coefficients(4, 1, 0.5, match="measured", budget=2.0, budget_cost="training_bytes")
    with pytest.raises(UserError, match="is 1: these coefficients grow no network"):
        scale(net, even, 1)
