"""Networks of timm, torchvision and pytorchcv beside ours, with weights that reveal mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import timm
import torch
from pytorchcv.models.wrn_cifar import get_wrn_cifar
from torch import nn
from torch.nn import functional as F
from torchvision import models

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.published import published

SAME = {"padding": "same"}
SYMMETRIC = {"padding": "symmetric"}


@dataclass(frozen=True, eq=False)
class Reference:
    """A network of another library, `LIBRARY:NAME`, and the one of ours that must equal it."""

    source: str
    ours: str
    fields: dict[str, object] = field(default_factory=dict)

    @property
    def net(self) -> Backbone:
        return published(self.ours, **self.fields)

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of images: odd and even sides come up at every stride.

        The two paddings differ at even sides alone. pytorchcv ends in an 8x8 pooling.
        """
        return (31, 32) if self.source.startswith("pytorchcv") else (67, 76)


def wide(depth: int, factor: int) -> Reference:
    return Reference(f"pytorchcv:wrn{depth}_{factor}", f"wrn_{depth}_{factor}")


# One or two of each family and of each way to name its layers.
SMALL = (
    Reference("timm:efficientnet_b0", "efficientnet_b0"),
    Reference("timm:tf_efficientnet_b0", "efficientnet_b0", SAME),
    Reference("torchvision:efficientnet_b0", "efficientnet_b0"),
    Reference("timm:tf_efficientnet_lite0", "efficientnet_lite0"),
    Reference("timm:efficientnet_lite0", "efficientnet_lite0", SYMMETRIC),
    Reference("timm:tf_efficientnetv2_s", "efficientnet_v2_s", SAME),
    Reference("torchvision:efficientnet_v2_s", "efficientnet_v2_s"),
    Reference("timm:mobilenetv1_100", "mobilenet_v1"),
    Reference("timm:mobilenetv2_100", "mobilenet_v2"),
    Reference("torchvision:mobilenet_v2", "mobilenet_v2"),
    Reference("timm:resnet18", "resnet18"),
    Reference("timm:resnet50", "resnet50"),
    wide(16, 4),
)
# torchvision has TensorFlow's constant in its larger EfficientNets, timm's own V2 has PyTorch's.
_TORCHVISION = {5: {"norm_eps": 1e-3}, 6: {"norm_eps": 1e-3}, 7: {"norm_eps": 1e-3}}
# Each network once: libraries take turns, as each has its names and its padding at every size.
LARGE = (
    *(Reference(f"timm:efficientnet_b{i}", f"efficientnet_b{i}") for i in (1, 4)),
    *(Reference(f"timm:tf_efficientnet_b{i}", f"efficientnet_b{i}", SAME) for i in (2, 6)),
    *(
        Reference(f"torchvision:efficientnet_b{i}", f"efficientnet_b{i}", _TORCHVISION.get(i, {}))
        for i in (3, 5, 7)
    ),
    *(Reference(f"timm:tf_efficientnet_lite{i}", f"efficientnet_lite{i}") for i in range(1, 5)),
    Reference("timm:efficientnetv2_s", "efficientnet_v2_s", {"norm_eps": 1e-5}),
    Reference("timm:tf_efficientnetv2_m", "efficientnet_v2_m", SAME),
    Reference("torchvision:efficientnet_v2_l", "efficientnet_v2_l"),
    *(Reference(f"timm:resnet{depth}", f"resnet{depth}") for depth in (34, 152)),
    *(Reference(f"torchvision:resnet{depth}", f"resnet{depth}") for depth in (18, 50, 101)),
    *(wide(*sizes) for sizes in ((16, 8), (28, 10), (40, 4))),
)


def peer(reference: Reference) -> nn.Module:
    """The other library's network in evaluation mode, its weights and norms drawn at random."""
    library, _, name = reference.source.partition(":")
    torch.manual_seed(0)
    if library == "timm":
        model = timm.create_model(name)
    elif library == "torchvision":
        model = models.get_model(name)
    else:
        depth, factor = map(int, name.removeprefix("wrn").split("_"))
        model = get_wrn_cifar(10, depth, factor, model_name=name)
    return with_drawn_norms(model, images(reference))


small_peer = lru_cache(peer)


def images(reference: Reference, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Four different images [4, 3, H, W]: blots of colour with a little noise."""
    draw = torch.Generator().manual_seed(1)
    blots = F.interpolate(torch.randn(4, 3, 4, 4, generator=draw), reference.sides, mode="bilinear")
    return (blots + 0.3 * torch.randn(blots.shape, generator=draw)).to(dtype)


def with_drawn_norms(model: nn.Module, x: torch.Tensor, seed: int = 0) -> nn.Module:
    """The model in evaluation mode with norms of which none is the identity.

    Their statistics are those of `x`, so that signals neither grow nor vanish and outputs differ
    between images; their weights are so large that a ReLU6 often saturates.
    """
    draw = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 2.5, generator=draw)
        nn.init.normal_(norm.bias, 0, 0.3, generator=draw)
    with torch.no_grad():
        model.train()(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def difference(got: torch.Tensor, wanted: torch.Tensor, least: float = 0.0) -> float:
    """The largest difference as a share of the largest wanted value, or of `least`."""
    return float((got - wanted).abs().max()) / max(float(wanted.abs().max()), least)
