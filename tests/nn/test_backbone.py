"""The whole classifier: what it runs against the walk, its modes, initialisation, training."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import timm
import torch
from hypothesis import given, settings
from torch import nn

from scalesearch.arch import blocks as arch_blocks
from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.nn.backbone import Features
from scalesearch.nn.blocks import BLOCKS, MBConv, Shortcut
from scalesearch.nn.build import build
from scalesearch.nn.layers import DropPath
from tests.nn.correspondence import ran, walked
from tests.peers import PEERS
from tests.rule_mistakes import PROBE_SIZE, every_mistake, probe
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


def every_kind(kinds):
    """A network with two stages of each kind: with a stride, and with a residual."""
    stages = [
        stage
        for kind in kinds
        for stage in (
            Stage(block=kind, width=12, stride=2),
            Stage(block=kind, width=12),
        )
    ]
    head = Head(width=0, norm=True)
    return Backbone(stages=tuple(stages), stem=Stem(width=8, pool=2), head=head, num_classes=5)


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


def check_the_walk(net, size):
    """A built network runs the operations of its graphs: names, order, inputs, sizes, options."""
    images = torch.randn(1, net.in_channels, *size)
    assert ran(build(net), images) == walked(net, size)


@given(backbones(), SIZES)
@settings(max_examples=60)
def test_what_runs_is_what_is_walked(net, size):
    check_the_walk(net, size)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_s", "mobilenet_v1"])
def test_what_runs_in_a_published_network_is_what_is_walked(name):
    check_the_walk(published(name), (33, 47))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "resnet50", "wrn_16_8"])
def test_what_runs_with_other_channels_is_what_is_walked(name):
    check_the_walk(published(name, in_channels=1, num_classes=7), (47, 33))


def test_every_mistake_in_what_is_walked_is_seen(monkeypatch):
    unseen = []
    for kind in BLOCKS:
        right = ran(build(probe(kind)), torch.randn(1, 3, *PROBE_SIZE))
        assert walked(probe(kind), PROBE_SIZE) == right
        mistakes = list(every_mistake(kind))
        assert mistakes, kind
        for mistake in mistakes:
            with monkeypatch.context() as patched:
                patched.setitem(arch_blocks.BLOCKS, kind, mistake.rule)
                if walked(probe(kind), PROBE_SIZE) == right:
                    unseen.append((kind, mistake.words))
    assert unseen == []


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


def in_order(model):
    """Every layer with weights, by its type, in the order in which it was made."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    return [[m for m in model.modules() if isinstance(m, kind)] for kind in kinds]


@pytest.mark.parametrize(
    ("name", "library", "size"),
    [
        ("efficientnet_v2_s", "torchvision", (65, 48)),
        ("mobilenet_v1", "timm", (65, 48)),
        ("mobilenet_v2", "torchvision", (65, 48)),
        ("resnet18", "torchvision", (65, 48)),
        ("resnet50", "torchvision", (65, 48)),
        ("wrn_16_8", "pytorchcv", (32, 32)),
    ],
)
def test_a_published_network_evaluates_as_its_peer(name, library, size):
    own, peer = build(published(name)).eval(), PEERS[name, library]().eval()
    for ours, theirs in zip(in_order(own), in_order(peer), strict=True):
        for one, other in zip(ours, theirs, strict=True):
            if isinstance(one, nn.BatchNorm2d):
                one.weight.data.uniform_(0.8, 1.2)
                one.bias.data.normal_(0, 0.1)
                one.running_mean.normal_(0, 0.1)
                one.running_var.uniform_(0.8, 1.2)
            other.load_state_dict(one.state_dict())
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        got, wanted = own(images), peer(images)
    assert wanted.std() > 1e-3
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("norm", [True, False])
def test_a_stem_is_resnets(norm, padding):
    stem = Stem(width=8, kernel=7, pool=2, norm=norm)
    net = replace(NET, stem=stem, activation="relu", padding=padding)
    model, images = build(net), torch.randn(3, 3, 37, 50)
    same = "same" if padding == "same" else ""
    conv = timm.layers.create_conv2d(3, 8, 7, stride=2, padding=same)
    pool = timm.layers.create_pool2d("max", 3, 2, padding=same or 1)
    behind = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()) if norm else nn.Identity()
    conv.load_state_dict(model.stem.conv.state_dict())
    torch.testing.assert_close(model.stem_pool(model.stem(images)), pool(behind(conv(images))))


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


def run_and_compare(net, size):
    """Runs a network in every mode: whatever a part takes is as it was when the part is done."""
    model = build(net)

    def remember(module, given):
        module.taken = given[0], given[0].detach().clone()

    def compare(module, given, out):
        taken, before = module.__dict__.pop("taken")
        assert torch.equal(taken, before), type(module).__name__

    blocks = [block for stage in model.stages for block in stage]
    for part in (model.stem, model.stem_pool, *blocks, model.head, model.pool, model.classifier):
        part.register_forward_pre_hook(remember)
        part.register_forward_hook(compare)
    images = torch.randn(2, net.in_channels, *size)
    before = images.clone()
    model.eval()
    with torch.no_grad():
        first = model(images)
        kept = first.clone()
        assert torch.equal(model(images), kept)  # and `first` is nobody's room to work in
    torch.testing.assert_close(model(images), first)
    with torch.inference_mode():
        assert torch.equal(model(images), kept)
    model.train()
    with torch.no_grad():
        model(images)
    model(images).sum().backward()
    assert torch.equal(first, kept)
    assert torch.equal(images, before)


@given(backbones(), SIZES)
@settings(max_examples=60)
def test_nothing_is_overwritten_that_the_caller_or_another_part_holds(net, size):
    run_and_compare(net, size)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_nothing_is_overwritten_behind_parts_that_pass_their_input_on(kind, activation):
    # A stem without norm, pooling or activation, an identity block that does nothing, and then a
    # block that adds what it takes: all of them hold one tensor.
    nothing = Stage(block="identity", width=6)
    stages = (nothing, Stage(block=kind, width=6), nothing, Stage(block=kind, width=6))
    for head in (Head(width=0), Head(width=0, norm=True)):
        stem = Stem(width=6, norm=False)
        net = Backbone(stages=stages, stem=stem, head=head, activation=activation, num_classes=3)
        run_and_compare(net, (9, 12))


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


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_mixed_precision_computes_nearly_the_same(kind, padding):
    net = replace(every_kind((kind,)), padding=padding)
    model, images = build(net), torch.randn(4, 3, 21, 30)
    model.eval()
    exact = model(images)
    with torch.autocast("cpu", torch.bfloat16):
        graded = model(images)
        with torch.no_grad():
            plain = model(images)
    assert graded.dtype == plain.dtype == torch.bfloat16
    # Sums in place of a branch have the branch's precision, others that of the wider part.
    torch.testing.assert_close(graded, plain, rtol=0.02, atol=0.02)
    # bfloat16 has 8 bits: each layer is off by up to 1 / 256.
    torch.testing.assert_close(plain.float(), exact, rtol=0.1, atol=0.1)
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        nn.functional.cross_entropy(model(images), torch.arange(4) % 5).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_a_network_of_every_kind_is_exported_by_torch(padding):
    net = replace(every_kind(BLOCKS), padding=padding)
    model, images = build(net).eval(), torch.randn(2, 3, 21, 30)
    any_size = torch.export.Dim.DYNAMIC
    with torch.no_grad():
        program = torch.export.export(
            model, (images,), dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},)
        )
        for other in (images, torch.randn(5, 3, 32, 17)):
            before = other.clone()
            torch.testing.assert_close(program.module()(other), model(other))
            assert torch.equal(other, before)


def test_dropout_works_on_the_pooled_features_only_while_training():
    model = build(replace(NET, drop_path=0.0, head=Head(width=24, dropout=1.0)))
    model.train()
    logits = model(torch.randn(4, 3, 32, 32))
    assert torch.equal(logits, model.classifier.bias.expand(4, -1))


def test_features_are_what_stages_put_out():
    """Those of a classifier with the same weights, found by hooks; nothing is run behind them."""
    net = published("efficientnet_b0", resolution=64)
    whole = build(net).eval()
    features = Features(net, (2, 4)).eval()
    features.load_state_dict(whole.state_dict(), strict=False)
    assert len(features.stages) == 5
    seen = {}
    for index in (2, 4):
        last = list(whole.stages[index].children())[-1]
        last.register_forward_hook(lambda m, i, out, index=index: seen.update({index: out.clone()}))
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        whole(images)
        maps = features(images)
    assert [tuple(x.shape) for x in maps] == [(2, 40, 8, 12), (2, 112, 4, 6)]
    for index, x in zip((2, 4), maps, strict=True):
        torch.testing.assert_close(x, seen[index])
