"""Published networks against timm's own, layer by layer, and against the printed numbers."""

from __future__ import annotations

import pytest
import timm
import torch

from scalesearch.arch.backbone import Stem
from scalesearch.arch.published import names, published
from scalesearch.arch.walk import squeeze_width
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError

# Tan & Le 2019 (arXiv 1905.11946), Table 2, and the official code's resolution and dropout. Counted
# with fvcore 0.1.5 on timm's models: conv + linear G, all G, params M, activations M.
PUBLISHED = {
    "efficientnet_b0": (0.386, 0.399, 5.289, 6.7, 224, 0.2),
    "efficientnet_b1": (0.687, 0.709, 7.794, 10.9, 240, 0.2),
    "efficientnet_b2": (0.994, 1.021, 9.110, 13.8, 260, 0.3),
    "efficientnet_b3": (1.827, 1.875, 12.233, 23.8, 300, 0.3),
    "efficientnet_b4": (4.394, 4.493, 19.342, 49.5, 380, 0.4),
    "efficientnet_b5": (10.27, 10.46, 30.390, 98.9, 456, 0.4),
    "efficientnet_b6": (19.07, 19.40, 43.041, 167, 528, 0.5),
    "efficientnet_b7": (37.75, 38.33, 66.348, 290, 600, 0.5),
}


def timm_on_meta(name):
    with torch.device("meta"):
        return timm.create_model(f"tf_{name}")


def timm_stage(blocks):
    """width, depth, stride, kernel, expand, squeeze-excite channels of a stage of timm's."""
    first = blocks[0]
    last = first.conv_pwl if hasattr(first, "conv_pwl") else first.conv_pw
    expand = first.conv_pw.out_channels // first.conv_pw.in_channels
    return (
        last.out_channels,
        len(blocks),
        first.conv_dw.stride[0],
        first.conv_dw.kernel_size[0],
        expand if hasattr(first, "conv_pwl") else 1,
        [block.se.conv_reduce.out_channels for block in blocks],
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_stage_is_timms(name):
    net, peer = published(name), timm_on_meta(name)
    assert (net.stem.width, net.stem.kernel, net.stem.stride) == (peer.conv_stem.out_channels, 3, 2)
    assert len(net.stages) == len(peer.blocks)
    width = net.stem.width
    for stage, blocks in zip(net.stages, peer.blocks, strict=True):
        squeezed = [squeeze_width(w, stage.se) for w in [width] + [stage.width] * (stage.depth - 1)]
        own = (stage.width, stage.depth, stage.stride, stage.kernel, stage.expand, squeezed)
        assert own == timm_stage(blocks)
        width = stage.width
    assert net.head.width == peer.conv_head.out_channels
    assert net.num_classes == peer.classifier.out_features
    assert net.resolution == peer.pretrained_cfg["input_size"][1]
    assert cost(net).params == sum(p.numel() for p in peer.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_costs_are_the_printed_ones(name):
    flops, total, params, activations, resolution, dropout = PUBLISHED[name]
    net, spent = published(name), cost(published(name))
    assert spent.flops / 1e9 == pytest.approx(flops, rel=1e-3, abs=5e-4)
    assert spent.flops_total / 1e9 == pytest.approx(total, rel=1e-3, abs=5e-4)
    assert spent.params / 1e6 == pytest.approx(params, abs=5e-4)
    assert spent.activations / 1e6 == pytest.approx(
        activations, abs=0.05 if activations < 100 else 0.5
    )
    assert (net.resolution, net.head.dropout) == (resolution, dropout)


def test_all_of_the_family_is_there():
    assert set(names()) >= set(PUBLISHED)


def test_keywords_replace_fields():
    net = published("efficientnet_b0", num_classes=10, in_channels=1, resolution=64)
    assert (net.num_classes, net.in_channels, net.resolution) == (10, 1, 64)
    assert net.stages == published("efficientnet_b0").stages
    assert published("efficientnet_b0", stem=Stem(width=16)).stem.width == 16


def test_same_padding_brings_tensorflows_batch_norm():
    # tensorflow/tpu, EfficientNet: batch_norm_momentum=0.99, batch_norm_epsilon=1e-3.
    net = published("efficientnet_b0", padding="same")
    assert (net.norm_eps, net.norm_momentum) == (1e-3, pytest.approx(0.01))
    own = published("efficientnet_b0", padding="same", norm_eps=1e-5)
    assert (own.norm_eps, own.norm_momentum) == (1e-5, pytest.approx(0.01))
    plain = published("efficientnet_b0")
    assert (plain.padding, plain.norm_eps, plain.norm_momentum) == ("symmetric", 1e-5, 0.1)


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(UserError) as told:
        published("efficientnet_b9")
    first, allowed, hint = str(told.value).split("\n  ")
    assert first == "no published architecture is called 'efficientnet_b9'"
    files = "a file.yaml, or package.module:function"
    assert allowed == f"allowed: {', '.join(names())}, {files}"
    assert hint.startswith("did you mean 'efficientnet_b")


def test_an_unknown_field_is_told_with_the_nearest():
    with pytest.raises(UserError, match="unknown key 'num_class'") as told:
        published("efficientnet_b0", num_class=10)
    assert "did you mean 'num_classes'?" in str(told.value)
