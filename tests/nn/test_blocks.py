"""Blocks against timm's modules, against PyTorch's own operations, and by hand."""

from __future__ import annotations

import math

import pytest
import timm.layers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models._efficientnet_blocks import InvertedResidual
from torch import nn
from torch.nn import functional as F

from scalesearch.arch.backbone import ACTIVATIONS as NAMES
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.nn.blocks import (
    ACTIVATIONS,
    BLOCKS,
    Activation,
    ConvNorm,
    DropPath,
    MBConv,
    Place,
    SamePad,
    Shortcut,
    SqueezeExcite,
)

SIDES = st.integers(1, 20)


def net(**fields):
    return Backbone(stages=(Stage(width=8),), **fields)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_modules_and_descriptions_know_the_same_words():
    assert set(ACTIVATIONS) == set(NAMES)
    assert set(BLOCKS) == set(BLOCK_FIELDS)


# Ramachandran et al. 2017 (SiLU = x * sigmoid(x)) and Howard et al. 2019 (h-swish), by hand.
BY_HAND = {
    "silu": lambda x: x / (1 + math.exp(-x)),
    "relu": lambda x: max(x, 0.0),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "hardswish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
}


@pytest.mark.parametrize("name", NAMES)
def test_activations_by_hand(name):
    points = [-7.0, -3.0, -1.5, 0.0, 0.5, 3.0, 8.0]
    expected = torch.tensor([BY_HAND[name](x) for x in points])
    torch.testing.assert_close(Activation(name)(torch.tensor(points)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_works_in_place_only_without_gradients(name):
    x = torch.randn(4, requires_grad=True)
    kept = x.detach().clone()
    Activation(name)(x * 1).sum().backward()
    assert torch.equal(x.detach(), kept)
    with torch.no_grad():
        y = x.detach().clone()
        assert Activation(name)(y).data_ptr() == y.data_ptr()


@given(SIDES, SIDES, st.sampled_from([1, 3, 5, 7]), st.integers(1, 3))
@settings(max_examples=60)
def test_same_padding_is_timms_and_tensorflows(height, width, kernel, stride):
    x = torch.randn(2, 3, height, width)
    padded = SamePad(kernel, stride)(x)
    assert torch.equal(padded, timm.layers.pad_same(x, [kernel, kernel], [stride, stride]))
    convolved = F.conv2d(padded, torch.randn(4, 3, kernel, kernel), stride=stride)
    assert convolved.shape[-2:] == (math.ceil(height / stride), math.ceil(width / stride))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [8, 9])
def test_a_convolution_with_norm_is_timms(padding, stride, side):
    layer = ConvNorm(net(padding=padding), 3, 4, kernel=5, stride=stride).eval()
    layer.norm.running_mean.normal_()
    layer.norm.running_var.uniform_(0.5, 2)
    peer = timm.layers.create_conv2d(
        3, 4, 5, stride=stride, padding="same" if padding == "same" else ""
    )
    peer.weight = layer.conv.weight
    x = torch.randn(2, 3, side, side)
    expected = F.silu(layer.norm(peer(x)))
    torch.testing.assert_close(layer(x), expected)


def test_a_linear_convolution_has_no_activation():
    layer = ConvNorm(net(activation="relu"), 3, 4, active=False)
    assert (layer(torch.randn(8, 3, 4, 4)) < 0).any()


def test_norm_constants_are_the_networks():
    norm = ConvNorm(net(norm_eps=1e-3, norm_momentum=0.01), 3, 4).norm
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)


def test_squeeze_excite_by_hand():
    layer = SqueezeExcite(net(activation="relu"), 2, 1).requires_grad_(False)
    for parameter, value in [
        (layer.reduce.weight, [[2.0, -1.0]]),
        (layer.reduce.bias, [0.5]),
        (layer.expand.weight, [[1.0], [-3.0]]),
        (layer.expand.bias, [0.0, 1.0]),
    ]:
        parameter.copy_(torch.tensor(value).view_as(parameter))
    x = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])
    # Means 2 and 1; reduced 2 * 2 - 1 + 0.5 = 3.5; weights sigmoid(3.5) and sigmoid(1 - 10.5).
    one, two = 1 / (1 + math.exp(-3.5)), 1 / (1 + math.exp(9.5))
    expected = torch.tensor([[[[one, 3 * one]], [[2 * two, 0.0]]]])
    torch.testing.assert_close(layer(x), expected)


def test_drop_path_never_drops_when_evaluating():
    x, branch = torch.randn(2, 4, 2, 3, 3)
    assert torch.equal(DropPath(0.9).eval()(x, branch), x + branch)
    assert torch.equal(DropPath(0.0).train()(x, branch), x + branch)


def test_drop_path_drops_whole_images_and_keeps_the_expectation():
    ones = torch.ones(20_000, 1, 2, 2)
    y = DropPath(0.25).train()(2 * ones, ones) - 2
    assert y.unique().tolist() == pytest.approx([0.0, 4 / 3], abs=1e-6)
    assert torch.equal(y, y[:, :, :1, :1].expand_as(y))  # an image as a whole
    # A mean of 20,000 draws of standard deviation 0.577: 5 deviations are 0.0204.
    assert y.mean().item() == pytest.approx(1.0, abs=0.0204)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(("width", "stride"), [(16, 2), (8, 1), (24, 1)])
@pytest.mark.parametrize("se", [0.0, 0.25])
def test_a_block_is_timms_inverted_residual(padding, width, stride, se):
    stage = Stage(width=width, kernel=5, expand=3, se=se)
    own = MBConv(net(padding=padding), stage, Place(8, stride, 0.0)).eval()
    peer = InvertedResidual(
        8,
        width,
        dw_kernel_size=5,
        stride=stride,
        pad_type="same" if padding == "same" else "",
        exp_ratio=3.0,
        act_layer=nn.SiLU,
        se_layer=lambda channels, **_: (
            timm.layers.SqueezeExcite(channels, rd_channels=2, act_layer=nn.SiLU)
            if se
            else nn.Identity()
        ),
    ).eval()
    names = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2")}
    names["project"] = ("conv_pwl", "bn3")
    for name, (conv, norm) in names.items():
        getattr(peer, conv).load_state_dict(getattr(own, name).conv.state_dict())
        getattr(own, name).norm.weight.data.normal_()
        getattr(peer, norm).load_state_dict(getattr(own, name).norm.state_dict())
    if se:
        peer.se.fc1.load_state_dict(own.squeeze.reduce.state_dict())
        peer.se.fc2.load_state_dict(own.squeeze.expand.state_dict())
    x = torch.randn(2, 8, 9, 9)
    torch.testing.assert_close(own(x), peer(x))
    assert own.residual == (width == 8 and stride == 1)


def test_a_block_without_expansion_has_no_expanding_convolution():
    block = MBConv(net(), Stage(width=8, expand=1), Place(8, 1, 0.0))
    assert isinstance(block.expand, nn.Identity)
    # Depthwise 8 * 9 and its norm, projection 8 * 8 and its norm.
    assert sum(p.numel() for p in block.parameters()) == 72 + 16 + 64 + 16


def test_a_block_that_is_always_dropped_is_its_shortcut():
    block = MBConv(net(), Stage(width=8), Place(8, 1, 1.0 - 1e-12)).train()
    x = torch.randn(4, 8, 3, 3)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("width", "stride"), [(2, 1), (2, 2), (3, 2), (1, 2), (3, 1)])
def test_an_identity_block_by_hand(width, stride):
    x = torch.arange(2 * 3 * 5, dtype=torch.float32).view(1, 2, 3, 5)
    y = Shortcut(net(), Stage(block="identity", width=width), Place(2, stride, 0.0))(x)
    assert y.shape == (1, width, math.ceil(3 / stride), math.ceil(5 / stride))
    for channel in range(width):
        for row in range(y.shape[2]):
            for column in range(y.shape[3]):
                before = channel * 15 + row * stride * 5 + column * stride if channel < 2 else 0
                assert y[0, channel, row, column] == before


def test_an_identity_block_keeps_no_pixel_that_it_leaves_out():
    block = Shortcut(net(), Stage(block="identity", width=2), Place(2, 2, 0.0))
    y = block(torch.randn(1, 2, 8, 8))
    assert y.untyped_storage().nbytes() == 4 * 2 * 4 * 4


def test_an_identity_block_has_no_parameters_and_may_be_nothing():
    block = Shortcut(net(), Stage(block="identity", width=2), Place(2, 1, 0.0))
    x = torch.randn(1, 2, 4, 4)
    assert list(block.parameters()) == []
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize(
    "stage", [Stage(width=3, expand=2, se=0.5), Stage(block="identity", width=5)]
)
def test_gradients_are_those_of_finite_differences(activation, stage):
    place = Place(3, 1 if stage.block == "mbconv" else 2, 0.0)
    block = BLOCKS[stage.block](net(activation=activation), stage, place).double().eval()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,))
