"""The whole classifier: shapes, timm's outputs, initialisation, and training."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import timm
import torch
from hypothesis import given, settings
from torch import nn

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk
from scalesearch.nn.blocks import DropPath, MBConv, Shortcut
from scalesearch.nn.build import build
from tests.strategies import SIZES, backbones

NET = Backbone(
    stages=(
        Stage(width=8, depth=2, stride=2, expand=2, se=0.25),
        Stage(block="identity", width=12),
        Stage(width=12, depth=3, kernel=5),
    ),
    stem=Stem(width=8),
    head=Head(width=24, dropout=0.5),
    resolution=32,
    num_classes=5,
    drop_path=0.3,
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@given(backbones(), SIZES)
@settings(max_examples=40)
def test_images_become_one_logit_for_each_class(net, size):
    model = build(net).eval()
    with torch.no_grad():
        logits = model(torch.randn(2, net.in_channels, *size))
    assert logits.shape == (2, net.num_classes)
    assert torch.isfinite(logits).all()


@given(backbones(), SIZES)
@settings(max_examples=25)
def test_every_block_makes_what_the_walk_says(net, size):
    shapes = []
    model = build(net).eval()
    blocks = [block for stage in model.stages for block in stage]
    for block in blocks:
        block.register_forward_hook(lambda m, i, out: shapes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        model(torch.randn(1, net.in_channels, *size))
    expected, last = [], None
    for part in walk(net, size):
        if part.ops:
            last = (part.ops[-1].outputs, *part.ops[-1].size_out)
        if part.name.startswith("stage"):
            expected += [last] * part.repeats
    assert shapes == expected


def test_blocks_and_kinds_are_the_described_ones():
    stages = build(NET).stages
    assert [len(stage) for stage in stages] == [2, 1, 3]
    kinds = [type(block) for stage in stages for block in stage]
    assert kinds == [MBConv, MBConv, Shortcut, MBConv, MBConv, MBConv]
    assert sum(len(stage) for stage in stages) == NET.depth


def test_stochastic_depth_grows_linearly_over_the_blocks():
    # Huang et al. 2016, linear decay, as the official EfficientNet code applies it: block i of n
    # is dropped with probability rate * i / n.
    rates = {
        name: module.rate for name, module in build(NET).named_modules() if type(module) is DropPath
    }
    expected = {(0, 0): 0, (0, 1): 1, (2, 0): 3, (2, 1): 4, (2, 2): 5}
    assert rates == {
        f"stages.{stage}.{block}.drop_path": pytest.approx(0.3 * done / 6)
        for (stage, block), done in expected.items()
    }


@pytest.mark.parametrize(
    ("padding", "peer"), [("symmetric", "efficientnet_b0"), ("same", "tf_efficientnet_b0")]
)
def test_every_stage_has_the_shape_of_timms(padding, peer):
    own, other = {}, {}
    model = build(published("efficientnet_b0", padding=padding)).eval()
    timms = timm.create_model(peer).eval()
    for index, (stage, blocks) in enumerate(zip(model.stages, timms.blocks, strict=True)):
        stage[-1].register_forward_hook(lambda m, i, o, k=index: own.update({k: o.shape}))
        blocks[-1].register_forward_hook(lambda m, i, o, k=index: other.update({k: o.shape}))
    images = torch.randn(1, 3, 97, 65)
    with torch.no_grad():
        assert model(images).shape == timms(images).shape
    assert own == other
    assert len(own) == 7


def test_the_two_paddings_differ_where_the_image_is_even():
    weights = build(NET).eval().state_dict()
    outputs = []
    for padding in ("symmetric", "same"):
        model = build(replace(NET, padding=padding)).eval()
        model.load_state_dict(weights)
        with torch.no_grad():
            outputs.append(model.stem(torch.ones(1, 3, 32, 32)))
    assert outputs[0].shape == outputs[1].shape
    # Symmetric pads the first row with zeros, TensorFlow's the last.
    assert not torch.allclose(outputs[0][..., 0, 1:-1], outputs[1][..., 0, 1:-1])
    torch.testing.assert_close(outputs[0][..., 1:-1, 1:-1], outputs[1][..., 1:-1, 1:-1])


def test_evaluation_is_deterministic_and_training_is_not():
    model, images = build(NET), torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        model.eval()
        assert torch.equal(model(images), model(images))
        model.train()
        assert not torch.equal(model(images), model(images))


def test_the_same_seed_builds_the_same_weights():
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(build(NET).state_dict())
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
    assert not torch.equal(models[0]["stem.conv.weight"], models[2]["stem.conv.weight"])


def test_weights_start_as_the_official_code_draws_them():
    # conv_kernel_initializer: normal of variance 2 / fan-out, fan-out = kernel^2 * channels out
    # (a depthwise kernel has one output channel for each group); dense_kernel_initializer: uniform
    # within 1 / sqrt(classes). An estimate from n draws is off by about 1 / sqrt(2 n).
    model = build(published("efficientnet_b0"))
    block = model.stages[5][1]
    for conv, fan_out in [
        (model.stem.conv, 9 * 32),
        (block.expand.conv, 1152),
        (block.depthwise.conv, 25),
        (block.project.conv, 192),
        (block.squeeze.reduce, 48),
        (model.head.conv, 1280),
    ]:
        weight = conv.weight
        tolerance = 5 / math.sqrt(2 * weight.numel())
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=tolerance)
        assert weight.mean().item() == pytest.approx(
            0, abs=5 * math.sqrt(2 / fan_out / weight.numel())
        )
    bound = 1 / math.sqrt(1000)
    weight = model.classifier.weight
    assert weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert not model.classifier.bias.any()
    assert not block.squeeze.reduce.bias.any()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((n.weight == 1).all() and (n.bias == 0).all() for n in norms)


def test_gradients_reach_every_parameter():
    model = build(replace(NET, drop_path=0.0)).train()
    nn.functional.cross_entropy(model(torch.randn(8, 3, 32, 32)), torch.arange(8) % 5).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("activation", ["silu", "relu", "relu6", "hardswish"])
def test_gradients_are_those_of_finite_differences(activation):
    net = Backbone(
        stages=(Stage(width=3, expand=2, se=0.5), Stage(block="identity", width=4, stride=2)),
        stem=Stem(width=3, kernel=1, stride=1),
        head=Head(width=4),
        num_classes=2,
        activation=activation,
    )
    model = build(net).double().eval()
    images = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (images,))


@given(backbones())
@settings(max_examples=15)
def test_channels_last_computes_the_same(net):
    model, images = build(net).eval(), torch.randn(2, net.in_channels, 17, 12)
    with torch.no_grad():
        plain = model(images)
        model.to(memory_format=torch.channels_last)
        other = model(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, other, rtol=1e-4, atol=1e-4)


def test_dropout_works_on_the_pooled_features_only_while_training():
    model = build(replace(NET, drop_path=0.0, head=Head(width=24, dropout=1.0)))
    model.train()
    logits = model(torch.randn(4, 3, 32, 32))
    assert torch.equal(logits, model.classifier.bias.expand(4, -1))
