"""The public implementations of the published networks, which we did not write."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torch
import torchvision
from pytorchcv.models.wrn_cifar import get_wrn_cifar
from torch import nn

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.published import names, published

CLASSIFIERS = tuple(name for name in names() if isinstance(published(name), Backbone))


def _timm(name: str) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name)


def _torchvision(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None)


def _pytorchcv(depth: int, factor: int) -> Callable[[], nn.Module]:
    return lambda: get_wrn_cifar(num_classes=10, blocks=depth, width_factor=factor)


# Each name of ours with the library, and what makes the peer. timm's `tf_` models pad as
# TensorFlow does, which changes no size.
PEERS: dict[tuple[str, str], Callable[[], nn.Module]] = {
    **{(f"efficientnet_b{i}", "timm"): _timm(f"tf_efficientnet_b{i}") for i in range(8)},
    **{(f"efficientnet_lite{i}", "timm"): _timm(f"tf_efficientnet_lite{i}") for i in range(5)},
    **{(f"efficientnet_v2_{x}", "timm"): _timm(f"efficientnetv2_{x}") for x in "sml"},
    ("mobilenet_v1", "timm"): _timm("mobilenetv1_100"),
    ("mobilenet_v2", "timm"): _timm("mobilenetv2_100"),
    **{(f"resnet{n}", "timm"): _timm(f"resnet{n}") for n in (18, 34, 50, 101, 152)},
    ("wrn_16_8", "pytorchcv"): _pytorchcv(16, 8),
    ("wrn_28_10", "pytorchcv"): _pytorchcv(28, 10),
    ("wrn_40_4", "pytorchcv"): _pytorchcv(40, 4),
    **{
        (name, "torchvision"): _torchvision(name)
        for name in ("efficientnet_b0", "efficientnet_v2_s", "mobilenet_v2", "resnet18", "resnet50")
    },
}


def described(name: str, library: str) -> nn.Module:
    """A peer whose weights are only shapes, which costs little."""
    with torch.device("meta"):
        return PEERS[name, library]()


def weightless(module: nn.Module) -> nn.Module:
    """A described module with zeros for weights, for runs in which no value matters."""
    module = module.to_empty(device="cpu")
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.detach().zero_()
    return module.eval()
