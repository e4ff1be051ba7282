"""ResNets for ImageNet and wide residual networks for CIFAR, by name."""

from __future__ import annotations

import re
from collections.abc import Callable

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError, nearest

# He et al. 2016, Table 1: the block, and the depths of its four stages.
RESNETS = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
# Those of Zagoruyko & Komodakis 2016 that are listed; any other `wrn_D_K` can be named.
WIDE_RESNETS = ("wrn_16_8", "wrn_28_10", "wrn_40_4")


def resnet(name: str) -> Backbone:
    """ResNet-18 to ResNet-152; a bottleneck outputs four times what a basic block does."""
    block, depths = RESNETS[name]
    factor = 4 if block == "bottleneck" else 1
    return Backbone(
        stem=Stem(width=64, kernel=7, stride=2, pool=2),
        stages=tuple(
            Stage(block=block, width=width * factor, depth=depth, stride=1 if width == 64 else 2)
            for width, depth in zip((64, 128, 256, 512), depths, strict=True)
        ),
        head=Head(width=0),
        activation="relu",
    )


def wide_resnet(name: str) -> Backbone:
    """WRN-D-K: D convolutions of which 6 n stand in three stages, K times as wide as ResNet's.

    Raises:
        UserError: a D that is not 6 n + 4, or a K of 0.
    """
    match = re.fullmatch(r"wrn_([1-9][0-9]{0,3})_([0-9]|[1-9][0-9]{1,3})", name)
    depth, factor = (int(group) for group in match.groups()) if match else (0, 0)
    if depth < 10 or (depth - 4) % 6 or factor < 1:
        n = max(1, round((depth - 4) / 6))
        near = f"did you mean 'wrn_{6 * n + 4}_{max(1, factor)}'?"
        raise UserError(
            f"there is no wide residual network {name!r}",
            allowed="wrn_D_K with D = 6 n + 4 and K >= 1",
            hint=near if match else nearest(name, WIDE_RESNETS),
        )
    return Backbone(
        stem=Stem(width=16, kernel=3, stride=1, norm=False),
        stages=tuple(
            Stage(block="wide", width=width * factor, depth=(depth - 4) // 6, stride=stride)
            for width, stride in ((16, 1), (32, 2), (64, 2))
        ),
        head=Head(width=0, norm=True),
        activation="relu",
        resolution=32,
        num_classes=10,
    )


FAMILIES: dict[str, Callable[[str], Backbone]] = {
    **dict.fromkeys(RESNETS, resnet),
    **dict.fromkeys(WIDE_RESNETS, wide_resnet),
}
