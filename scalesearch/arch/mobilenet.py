"""MobileNetV1 and V2 by name."""

from __future__ import annotations

from collections.abc import Callable

from scalesearch.arch.backbone import Backbone, Head
from scalesearch.arch.stage import Stage

# Howard et al. 2017, Table 1: width, depth, stride of runs of equal depthwise-separable layers.
_V1 = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))
# Sandler et al. 2018, Table 2: expand, width, depth, stride.
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v1(name: str) -> Backbone:
    """MobileNetV1, with ReLU6 as the official code has it; its last stage is classified."""
    return Backbone(
        stages=tuple(
            Stage(block="separable", width=w, depth=d, stride=s, kernel=3) for w, d, s in _V1
        ),
        head=Head(width=0),
        activation="relu6",
    )


def mobilenet_v2(name: str) -> Backbone:
    """MobileNetV2: inverted residuals without squeeze-excite."""
    return Backbone(
        stages=tuple(Stage(width=w, depth=d, stride=s, expand=e) for e, w, d, s in _V2),
        head=Head(width=1280, dropout=0.2),
        activation="relu6",
    )


FAMILIES: dict[str, Callable[[str], Backbone]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
}
