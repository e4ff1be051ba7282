"""effdet's detectors, anchors and targets, in our order and our convention of boxes."""

from __future__ import annotations

import warnings
from functools import cache

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import effdet
    from effdet import anchors as effdet_anchors
    from effdet import bench as effdet_bench
    from effdet import loss as effdet_loss
    from effdet import soft_nms as effdet_soft_nms
    from effdet.object_detection import box_coder as effdet_box_coder
    from effdet.object_detection.box_list import BoxList

__all__ = [
    "BoxList",
    "config",
    "effdet",
    "effdet_anchors",
    "effdet_bench",
    "effdet_box_coder",
    "effdet_loss",
    "effdet_soft_nms",
    "flat",
    "peer_anchors",
    "swapped",
]


def config(name, size=None, **changes):
    """The settings of one of effdet's detectors, for images of `size` (height, width)."""
    settings = effdet.get_efficientdet_config(name)
    settings.update(changes)
    if size:
        settings.image_size = tuple(size)
    return settings


@cache
def peer_anchors(name, size=None):
    """effdet's anchors, a module."""
    return effdet_anchors.Anchors.from_config(config(name, size))


def swapped(boxes):
    """y0, x0, y1, x1 as x0, y0, x1, y1, or the other way round."""
    return boxes[..., [1, 0, 3, 2]]


def flat(levels, values):
    """Maps [N, anchors * values, H, W] of each level as [N, A, values]."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values) for x in levels], 1)
