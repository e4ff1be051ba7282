"""Networks to export, with weights under which a wrong batch norm or padding shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from scalesearch.arch.backbone import Backbone, Stem
from scalesearch.arch.detector import Detector, Heads
from scalesearch.arch.neck import Neck
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.nn.build import build
from scalesearch.nn.postprocess import Letterbox, Selection, detect

# One of every family; the first two hold a squeeze-excite and a lone batch norm.
FAMILIES = (
    "efficientnet_b0",
    "wrn_10_1",
    "efficientnet_lite0",
    "efficientnet_v2_s",
    "mobilenet_v1",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
)
CASES = [
    pytest.param(name, ("same", "symmetric")[index % 2], marks=[pytest.mark.slow] * (index > 1))
    for index, name in enumerate(FAMILIES)
]


def shortened(name: str, padding: str) -> Backbone:
    """A published network for small images: its first stages, the second of two blocks."""
    net = published(name, padding=padding, num_classes=5, resolution=33)
    stages = [
        replace(stage, depth=min(stage.depth, 2 if index == 1 else 1))
        for index, stage in enumerate(net.stages[:4])
    ]
    return replace(net, stages=tuple(stages))


def randomised(net, seed=0):
    """A built network in evaluation mode whose every weight and statistic is drawn."""
    generator = torch.Generator().manual_seed(seed)
    model = build(net).eval()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.5 if "var" in name else -0.5, 1.5, generator=generator)
        elif tensor.is_floating_point():
            tensor.mul_(0.7).add_(0.01)
    return model


def images_for(net, batch=2):
    """Random images."""
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, net.in_channels, net.resolution, net.resolution, generator=generator)


def difference(one, other):
    """The largest difference of outputs as a share of the largest output."""
    assert one.shape == other.shape
    assert other.std() > 0
    return float((one - other).abs().max() / other.abs().max())


# Every kind of neck and every fusion at least once.
NECKS = (
    ("bifpn", "fast"),
    ("fpn", "softmax"),
    ("panet", "sum"),
    ("nas_fpn", "unbounded"),
    ("fully_connected", "fast"),
)


def tiny_detector(kind="bifpn", fusion="fast", **fields):
    """A detector for images of 64 pixels: levels 3 to 7, the last two made by the neck."""
    backbone = Backbone(
        resolution=64,
        stem=Stem(width=8),
        stages=(
            Stage(width=8, stride=2),
            Stage(width=16, stride=2, expand=2, se=0.25),
            Stage(block="separable", width=16, stride=2),
            Stage(width=24, stride=2, expand=2),
        ),
        padding=fields.pop("padding", "same"),
    )
    fields = {"neck": Neck(kind=kind, fusion=fusion, width=16, depth=2), **fields}
    return Detector(backbone=backbone, heads=Heads(depth=1), num_classes=3, **fields)


def spread(net, seed=0):
    """A built detector, every weight drawn, whose scores and boxes differ from place to place."""
    torch.manual_seed(seed)
    model = build(net)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in model.parameters():
        if part.ndim == 1:
            nn.init.uniform_(part, 0.5, 1.5)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # statistics of all that it sees
    images = of_size(net, 4, (net.resolution, net.resolution), seed + 1)
    with torch.no_grad():
        model.train()(images)
        model.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for head, index, std in ((model.class_head, 0, 1.0), (model.box_head, 1, 0.3)):
            last = head.predict.pointwise
            last.bias.zero_()
            last.weight *= std / model(images)[index].std()
        model.class_head.predict.pointwise.bias.fill_(-6.0)
    return model


def of_size(net, batch, size, seed=0):
    """Random images of a size, no two alike in their brightness."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, net.in_channels, *size, generator=generator)
    return images * torch.linspace(0.5, 1.5, batch).view(-1, 1, 1, 1)


def detections(net, model, images, selection=None):
    """The detections of our own code."""
    size = tuple(images.shape[-2:])
    anchors = anchor_boxes(net.anchors, net.neck.levels, size)
    with torch.no_grad():
        raw = model(images)
    return detect(*raw, anchors, [Letterbox(size, size)] * len(images), selection or Selection())


def lone_threshold(net, model, images):
    """A score that the best of one image is below, and that of every other above."""
    best = sorted(float(found.scores[0]) for found in detections(net, model, images))
    assert best[1] - best[0] > 1e-3
    return (best[0] + best[1]) / 2
