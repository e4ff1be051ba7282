"""The end of an exported detector: real code, here for a tiny one without weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Detector
from scalesearch.arch.neck import Neck, Node
from scalesearch.arch.stage import Stage
from scalesearch.exporters._entry import WEIGHTS, load_weights
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.nn.detector import DetectorNet
from scalesearch.nn.postprocess import Detections, Letterbox, Selection, detect_one

ARCHITECTURE = Detector(
    backbone=Backbone(stages=(Stage(width=16),)),
    neck=Neck(kind="fpn", min_level=1, max_level=1),
)
# The fusions of one layer of the neck.
NODES = (Node(1, (0,)),)


def build(weights: bool | str | Path | None = WEIGHTS) -> DetectorNet:
    """The network in evaluation mode, with `weights` as `load_weights` takes them."""
    model = DetectorNet(ARCHITECTURE, NODES).eval()
    load_weights(model, weights)
    return model


@torch.no_grad()
def detect(
    model: nn.Module,
    images: Tensor,
    selection: Selection | None = None,
    places: Sequence[Letterbox] | None = None,
) -> list[Detections]:
    """What the network finds in each of N images, best first.

    Boxes are in pixels of the images as given, or of what they were resized from if `places` say
    how each one stands in the input.

    Args:
        model: of `build`.
        images: [N, C, H, W] of any height and width.
        selection: which predictions are taken; None: those of `Selection()`.
        places: a `Letterbox` for each image; None: each fills the input.
    """
    height, width = images.shape[-2:]
    size = (height, width)
    anchors = anchor_boxes(ARCHITECTURE.anchors, ARCHITECTURE.neck.levels, size).to(images.device)
    predicted = zip(*model(images), strict=True)
    placed = places or [Letterbox(size, size)] * len(images)
    return [
        detect_one(one, anchors, place, selection or Selection())
        for one, place in zip(predicted, placed, strict=True)
    ]
