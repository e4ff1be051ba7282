"""Functions of exported files beside `build`: real code, here for a tiny detector without weights.

The exporter copies them with the sources that they use and writes its own constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Detector
from scalesearch.arch.neck import Neck
from scalesearch.arch.stage import Stage
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.nn.postprocess import Detections, Letterbox, Selection, detect_one

ARCHITECTURE = Detector(
    backbone=Backbone(stages=(Stage(width=16),)),
    neck=Neck(kind="fpn", min_level=1, max_level=1),
)
WEIGHTS: Path | None = None


def load_weights(model: nn.Module, weights: bool | str | Path | None) -> None:
    """Sets the weights of a network.

    `weights` is a .safetensors file, or True for the one exported with this file. False or None
    leaves the network as it is: freshly initialised, to be trained.
    """
    if weights is None or weights is False:
        return
    path = WEIGHTS if weights is True else Path(weights)
    if path is None:
        raise ValueError("this network was exported without weights: name a .safetensors file")
    if not path.is_file():
        raise FileNotFoundError(
            f"there are no weights at {path}; build(weights=False) makes the network without"
        )
    from safetensors.torch import load_file  # nothing else here needs more than torch

    model.load_state_dict(load_file(path))


@torch.no_grad()
def detect(
    model: nn.Module,
    images: Tensor,
    selection: Selection | None = None,
    letterboxes: Sequence[Letterbox] | None = None,
) -> list[Detections]:
    """The detections in each of N images, best first.

    Boxes are in pixels of the images as given, or of the original images if `letterboxes` say how
    each one was resized and placed in the input.

    Args:
        model: of `build`.
        images: [N, C, H, W] of any height and width.
        selection: which predictions become detections; None: those of `Selection()`.
        letterboxes: one for each image; None: each image fills the input.
    """
    height, width = images.shape[-2:]
    size = (height, width)
    anchors = anchor_boxes(ARCHITECTURE.anchors, ARCHITECTURE.neck.levels, size).to(images.device)
    predictions = zip(*model(images), strict=True)
    placed = letterboxes or [Letterbox(size, size)] * len(images)
    return [
        detect_one(one, anchors, letterbox, selection or Selection())
        for one, letterbox in zip(predictions, placed, strict=True)
    ]
