"""EfficientDet D0 to D7x and its Lite variant by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.efficientnet import TENSORFLOW_NORM, efficientnet, efficientnet_lite
from scalesearch.arch.neck import Neck


class _Size(NamedTuple):
    """What the detectors of a family differ in: width and depth of the neck, depth of the heads."""

    backbone: str
    resolution: int
    width: int
    depth: int
    heads: int


# Tan, Pang & Le 2020, Table 1, and the official code where it departs from the equations.
EFFICIENTDETS = {
    "efficientdet_d0": _Size("efficientnet_b0", 512, 64, 3, 3),
    "efficientdet_d1": _Size("efficientnet_b1", 640, 88, 4, 3),
    "efficientdet_d2": _Size("efficientnet_b2", 768, 112, 5, 3),
    "efficientdet_d3": _Size("efficientnet_b3", 896, 160, 6, 4),
    "efficientdet_d4": _Size("efficientnet_b4", 1024, 224, 7, 4),
    "efficientdet_d5": _Size("efficientnet_b5", 1280, 288, 7, 4),
    "efficientdet_d6": _Size("efficientnet_b6", 1280, 384, 8, 5),
    "efficientdet_d7": _Size("efficientnet_b6", 1536, 384, 8, 5),
    "efficientdet_d7x": _Size("efficientnet_b7", 1536, 384, 8, 5),
}
EFFICIENTDET_LITES = {
    "efficientdet_lite0": _Size("efficientnet_lite0", 320, 64, 3, 3),
    "efficientdet_lite1": _Size("efficientnet_lite1", 384, 88, 4, 3),
    "efficientdet_lite2": _Size("efficientnet_lite2", 448, 112, 5, 3),
    "efficientdet_lite3": _Size("efficientnet_lite3", 512, 160, 6, 4),
    "efficientdet_lite4": _Size("efficientnet_lite4", 640, 224, 7, 4),
}
# The official code fuses the largest by an unweighted sum, for stable training.
_SUMS = ("efficientdet_d6", "efficientdet_d7", "efficientdet_d7x")


def efficientdet(name: str) -> Detector:
    """D0 to D7x as the official TensorFlow code has them, with its padding and biases."""
    size = EFFICIENTDETS[name]
    return Detector(
        backbone=replace(
            efficientnet(size.backbone),
            resolution=size.resolution,
            padding="same",
            norm_eps=TENSORFLOW_NORM["norm_eps"],
            norm_momentum=TENSORFLOW_NORM["norm_momentum"],
        ),
        neck=Neck(
            width=size.width,
            depth=size.depth,
            fusion="sum" if name in _SUMS else "fast",
            max_level=8 if name == "efficientdet_d7x" else 7,
        ),
        heads=Heads(depth=size.heads),
        anchors=Anchors(scale=5.0 if name == "efficientdet_d7" else 4.0),
        norm_bias=True,
        norm_eps=TENSORFLOW_NORM["norm_eps"],
        norm_momentum=TENSORFLOW_NORM["norm_momentum"],
    )


def efficientdet_lite(name: str) -> Detector:
    """Lite0 to Lite4: Lite backbones, ReLU6, an unweighted sum, smaller anchors below Lite3."""
    size = EFFICIENTDET_LITES[name]
    return Detector(
        backbone=replace(efficientnet_lite(size.backbone), resolution=size.resolution),
        neck=Neck(width=size.width, depth=size.depth, fusion="sum"),
        heads=Heads(depth=size.heads),
        anchors=Anchors(scale=3.0 if size.resolution < 512 else 4.0),
        activation="relu6",
        norm_bias=True,
        norm_eps=TENSORFLOW_NORM["norm_eps"],
        norm_momentum=TENSORFLOW_NORM["norm_momentum"],
    )


FAMILIES: dict[str, Callable[[str], Detector]] = {
    **dict.fromkeys(EFFICIENTDETS, efficientdet),
    **dict.fromkeys(EFFICIENTDET_LITES, efficientdet_lite),
}
