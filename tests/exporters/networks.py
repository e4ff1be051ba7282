"""Networks to export, with weights under which a wrong batch norm or padding shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scalesearch.arch.backbone import PADDINGS, Backbone
from scalesearch.arch.published import published
from scalesearch.nn.build import build

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
QUICK = {("efficientnet_b0", "same"), ("wrn_10_1", "symmetric")}
CASES = [
    pytest.param(name, padding, marks=[] if (name, padding) in QUICK else [pytest.mark.slow])
    for name in FAMILIES
    for padding in PADDINGS
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
