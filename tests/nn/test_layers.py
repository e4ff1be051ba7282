"""Layers against timm's, against PyTorch's own operations, and by hand."""

from __future__ import annotations

import math

import pytest
import timm.layers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from scalesearch.arch.backbone import ACTIVATIONS as NAMES
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.stage import Stage
from scalesearch.nn.layers import (
    ACTIVATIONS,
    Activation,
    ConvNormAct,
    DropPath,
    MaxPool,
    NormAct,
    SamePad,
    SqueezeExcite,
)

SIDES = st.integers(1, 20)


def net(**fields):
    return Backbone(stages=(Stage(width=8),), **fields)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_layers_and_descriptions_know_the_same_activations():
    assert set(ACTIVATIONS) == set(NAMES)


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
def test_an_activation_works_in_place_where_no_gradient_needs_its_input(name):
    x = torch.randn(4, requires_grad=True)
    before = x * 1
    after = Activation(name)(before)
    assert (after is before) == (name == "relu")
    after.sum().backward()  # autograd would tell if it needed what was overwritten
    with torch.no_grad():
        y = x.detach().clone()
        assert Activation(name)(y) is y


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_an_activation_are_those_of_finite_differences(name):
    x = torch.tensor([-7.0, -2.9, -0.5, 0.3, 2.9, 5.5, 8.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: Activation(name)(x * 1), x.requires_grad_())


@given(SIDES, SIDES, st.sampled_from([1, 3, 5, 7]), st.integers(1, 3))
@settings(max_examples=60)
def test_same_padding_is_timms_and_tensorflows(height, width, kernel, stride):
    x = torch.randn(2, 3, height, width)
    padded = SamePad(kernel, stride)(x)
    assert torch.equal(padded, timm.layers.pad_same(x, [kernel, kernel], [stride, stride]))
    convolved = F.conv2d(padded, torch.randn(4, 3, kernel, kernel), stride=stride)
    assert convolved.shape[-2:] == (math.ceil(height / stride), math.ceil(width / stride))


@given(SIDES, SIDES, st.integers(2, 3), st.sampled_from(["symmetric", "same"]))
@settings(max_examples=40)
def test_max_pooling_is_torchs_and_timms(height, width, stride, padding):
    x = torch.randn(2, 3, height, width) - 5  # all below 0: zeros around the image would win
    own = MaxPool(net(padding=padding), stride)(x)
    if padding == "same":
        peer = timm.layers.create_pool2d("max", 3, stride, padding="same")
    else:
        peer = nn.MaxPool2d(3, stride, 1)
    assert torch.equal(own, peer(x))
    assert own.shape[-2:] == (math.ceil(height / stride), math.ceil(width / stride))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [8, 9])
def test_a_convolution_with_norm_is_timms(padding, stride, side):
    layer = ConvNormAct(net(padding=padding), 3, 4, kernel=5, stride=stride).eval()
    layer.norm.running_mean.normal_()
    layer.norm.running_var.uniform_(0.5, 2)
    peer = timm.layers.create_conv2d(
        3, 4, 5, stride=stride, padding="same" if padding == "same" else ""
    )
    peer.weight = layer.conv.weight
    x = torch.randn(2, 3, side, side)
    expected = F.silu(layer.norm(peer(x)))
    torch.testing.assert_close(layer(x), expected)


def test_norm_and_activation_may_be_left_out_of_a_convolution():
    x = torch.randn(8, 3, 4, 4)
    linear = ConvNormAct(net(activation="relu"), 3, 4, act=False)
    torch.testing.assert_close(linear(x), linear.norm(linear.conv(x)))
    assert (linear(x) < 0).any()
    bare = ConvNormAct(net(activation="relu"), 3, 4, norm=False, act=False)
    assert torch.equal(bare(x), F.conv2d(x, bare.conv.weight))
    assert [name for name, _ in bare.named_parameters()] == ["conv.weight"]


def test_norm_then_activation_on_their_own():
    layer, x = NormAct(net(activation="relu"), 3).train(), torch.randn(8, 3, 4, 4)
    # Before anything is learnt a batch norm in training gives mean 0 and deviation 1.
    mean, deviation = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False).add(1e-5).sqrt()
    expected = (x - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    torch.testing.assert_close(layer(x.clone()), expected.clamp(min=0))


@pytest.mark.parametrize("make", [lambda net: ConvNormAct(net, 3, 4), lambda net: NormAct(net, 4)])
def test_norm_constants_are_the_networks(make):
    norm = make(net(norm_eps=1e-3, norm_momentum=0.01)).norm
    assert (norm.eps, norm.momentum, norm.num_features) == (1e-3, 0.01, 4)


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squeeze_excite_averages_large_images_in_few_bits(dtype):
    # float16 ends at 65504: a sum over 300 x 300 pixels around 1 is 90,000.
    layer = SqueezeExcite(net(), 4, 2)
    x = torch.rand(1, 4, 300, 300) + 0.5
    with torch.no_grad():
        expected = layer(x)
        small = layer.to(dtype)(x.to(dtype))
    assert small.dtype == dtype
    torch.testing.assert_close(small.float(), expected, rtol=0.02, atol=0.02)


def test_drop_path_never_drops_when_evaluating():
    x, branch = torch.randn(2, 4, 2, 3, 3)
    assert torch.equal(DropPath(0.9).eval()(x, branch), x + branch)
    assert torch.equal(DropPath(0.0).train()(x, branch), x + branch)


def test_drop_path_overwrites_the_branch_without_gradients_and_never_the_shortcut():
    x, branch = torch.randn(2, 4, 2, 3, 3)
    kept, expected = x.clone(), x + branch
    for rate, training in [(0.0, True), (0.5, False), (0.5, True)]:
        with torch.no_grad():
            given = branch.clone()
            y = DropPath(rate).train(training)(x, given)
        assert torch.equal(x, kept)
        if rate == 0 or not training:
            assert y is given
            assert torch.equal(y, expected)


def test_drop_path_drops_whole_images_and_keeps_the_expectation():
    ones = torch.ones(20_000, 1, 2, 2)
    y = DropPath(0.25).train()(2 * ones, ones) - 2
    assert y.unique().tolist() == pytest.approx([0.0, 4 / 3], abs=1e-6)
    assert torch.equal(y, y[:, :, :1, :1].expand_as(y))  # an image as a whole
    # A mean of 20,000 draws of standard deviation 0.577: 5 deviations are 0.0204.
    assert y.mean().item() == pytest.approx(1.0, abs=0.0204)
