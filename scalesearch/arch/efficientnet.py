"""EfficientNet, its Lite variant for devices, and EfficientNetV2, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.rounding import round_depth, round_width
from scalesearch.arch.stage import Stage

# Multipliers of width and depth, resolution and dropout of the official EfficientNet code
# (the paper's Table 2 holds the results; `docs/scaling.md` says why no single phi gives these).
EFFICIENTNETS = {
    "efficientnet_b0": (1.0, 1.0, 224, 0.2),
    "efficientnet_b1": (1.0, 1.1, 240, 0.2),
    "efficientnet_b2": (1.1, 1.2, 260, 0.3),
    "efficientnet_b3": (1.2, 1.4, 300, 0.3),
    "efficientnet_b4": (1.4, 1.8, 380, 0.4),
    "efficientnet_b5": (1.6, 2.2, 456, 0.4),
    "efficientnet_b6": (1.8, 2.6, 528, 0.5),
    "efficientnet_b7": (2.0, 3.1, 600, 0.5),
}
# The same of the official EfficientNet-Lite code.
LITES = {
    "efficientnet_lite0": (1.0, 1.0, 224, 0.2),
    "efficientnet_lite1": (1.0, 1.1, 240, 0.2),
    "efficientnet_lite2": (1.1, 1.2, 260, 0.3),
    "efficientnet_lite3": (1.2, 1.4, 280, 0.3),
    "efficientnet_lite4": (1.4, 1.8, 300, 0.3),
}
# TensorFlow's batch norm keeps 99 % of its running mean where PyTorch keeps 90 %.
TENSORFLOW_NORM = {"norm_eps": 1e-3, "norm_momentum": 0.01}
TORCH_NORM = {"norm_eps": 1e-5, "norm_momentum": 0.1}
# EfficientNet-B0, Table 1: width, depth, stride, kernel, expand of each stage.
_B0 = (
    Stage(width=16, depth=1, stride=1, kernel=3, expand=1, se=0.25),
    Stage(width=24, depth=2, stride=2, kernel=3, expand=6, se=0.25),
    Stage(width=40, depth=2, stride=2, kernel=5, expand=6, se=0.25),
    Stage(width=80, depth=3, stride=2, kernel=3, expand=6, se=0.25),
    Stage(width=112, depth=3, stride=1, kernel=5, expand=6, se=0.25),
    Stage(width=192, depth=4, stride=2, kernel=5, expand=6, se=0.25),
    Stage(width=320, depth=1, stride=1, kernel=3, expand=6, se=0.25),
)
# EfficientNetV2 (Tan & Le 2021, Table 4 for S; M and L from the official code): resolution,
# dropout, then fused stages and MBConv stages with width, depth, stride, expand.
EFFICIENTNETS_V2 = {
    "efficientnet_v2_s": (
        (384, 0.2),
        ((24, 2, 1, 1), (48, 4, 2, 4), (64, 4, 2, 4)),
        ((128, 6, 2, 4), (160, 9, 1, 6), (256, 15, 2, 6)),
    ),
    "efficientnet_v2_m": (
        (480, 0.3),
        ((24, 3, 1, 1), (48, 5, 2, 4), (80, 5, 2, 4)),
        ((160, 7, 2, 4), (176, 14, 1, 6), (304, 18, 2, 6), (512, 5, 1, 6)),
    ),
    "efficientnet_v2_l": (
        (480, 0.4),
        ((32, 4, 1, 1), (64, 7, 2, 4), (96, 7, 2, 4)),
        ((192, 10, 2, 4), (224, 19, 1, 6), (384, 25, 2, 6), (640, 7, 1, 6)),
    ),
}


def efficientnet(name: str) -> Backbone:
    """B0 to B7 (Tan & Le 2019): every width and depth times the official multipliers."""
    width, depth, resolution, dropout = EFFICIENTNETS[name]
    return Backbone(
        stem=Stem(width=round_width(32 * width)),
        stages=tuple(
            replace(
                stage,
                width=round_width(stage.width * width),
                depth=round_depth(stage.depth * depth),
            )
            for stage in _B0
        ),
        head=Head(width=round_width(1280 * width), dropout=dropout),
        drop_path=0.2,
        resolution=resolution,
    )


def efficientnet_lite(name: str) -> Backbone:
    """Lite0 to Lite4: no squeeze-excite, ReLU6; stem, head and the outer depths stay B0's."""
    width, depth, resolution, dropout = LITES[name]
    outer = (0, len(_B0) - 1)
    return Backbone(
        stem=Stem(width=32),
        stages=tuple(
            replace(
                stage,
                width=round_width(stage.width * width),
                depth=stage.depth if index in outer else round_depth(stage.depth * depth),
                se=0.0,
            )
            for index, stage in enumerate(_B0)
        ),
        head=Head(width=1280, dropout=dropout),
        drop_path=0.2,
        resolution=resolution,
        activation="relu6",
        padding="same",
        norm_eps=TENSORFLOW_NORM["norm_eps"],
        norm_momentum=TENSORFLOW_NORM["norm_momentum"],
    )


def efficientnet_v2(name: str) -> Backbone:
    """EfficientNetV2 S, M and L: fused MBConv first, MBConv with squeeze-excite after."""
    (resolution, dropout), fused, plain = EFFICIENTNETS_V2[name]
    stages = [
        Stage(block="fused_mbconv", width=w, depth=d, stride=s, expand=e) for w, d, s, e in fused
    ]
    stages += [Stage(width=w, depth=d, stride=s, expand=e, se=0.25) for w, d, s, e in plain]
    return Backbone(
        stem=Stem(width=fused[0][0]),
        stages=tuple(stages),
        head=Head(width=1280, dropout=dropout),
        drop_path=0.2,
        resolution=resolution,
        norm_eps=1e-3,
    )


FAMILIES: dict[str, Callable[[str], Backbone]] = {
    **dict.fromkeys(EFFICIENTNETS, efficientnet),
    **dict.fromkeys(LITES, efficientnet_lite),
    **dict.fromkeys(EFFICIENTNETS_V2, efficientnet_v2),
}
