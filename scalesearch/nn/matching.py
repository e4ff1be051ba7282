"""Which anchors shall find which objects of an image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from scalesearch.nn.boxes import areas, encode, have_area, intersections, overlaps

_ENOUGH = 0.5  # intersection over union from which an anchor is an object's, as officially
_INSIDE = 0.5  # share of an anchor in a crowd from which it is left out
_PAIRS = 2**20  # boxes times anchors that are compared at once: a few megabytes


class Match(NamedTuple):
    """What the anchors of one image shall predict; those not named here shall find nothing.

    Attributes:
        anchors: those with an object (positives), int64 [P], ascending.
        labels: of each one's object, int64 [P].
        deltas: of each one's object relative to the anchor, float32 [P, 4].
        ignored: anchors whose predictions are neither right nor wrong, int64 [I].
    """

    anchors: Tensor
    labels: Tensor
    deltas: Tensor
    ignored: Tensor


@torch.no_grad()
def match(anchors: Tensor, boxes: Tensor, labels: Tensor, crowd: Tensor) -> Match:
    """Assigns the objects of one image to anchors; all tensors on one device.

    An anchor takes the object that it overlaps most (the first of equals) from an intersection
    over union of 0.5 on. Each object's best anchor is its own whatever the overlap, if there is
    any; where several objects have one best anchor, the first of them gets it. A crowd is no
    object: anchors without object of which at least half lies within one are ignored. Boxes
    without area or with sides that are not finite are passed over.

    Args:
        anchors: [A, 4] as x0, y0, x1, y1.
        boxes: [M, 4] as x0, y0, x1, y1 in pixels of the network's input; M may be 0.
        labels: int64 [M].
        crowd: bool [M].
    """
    boxes = boxes.to(anchors)
    whole = have_area(boxes)
    objects = (whole & ~crowd).nonzero().squeeze(1)
    owner = _owners(anchors, boxes[objects])
    positive = (owner >= 0).nonzero().squeeze(1)
    chosen = objects[owner[positive]]
    ignored = _within(anchors, boxes[whole & crowd]) & (owner < 0)
    deltas = encode(boxes[chosen], anchors[positive])
    return Match(positive, labels[chosen], deltas, ignored.nonzero().squeeze(1))


def _owners(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The box of each anchor, int64 [A]; -1 is none."""
    count = len(boxes)
    most = anchors.new_full((len(anchors),), 0.0)
    owner = torch.full_like(most, -1, dtype=torch.int64)
    forced = torch.full_like(owner, count)  # the first box whose best anchor this is
    numbers = torch.arange(count, device=anchors.device)
    step = max(1, _PAIRS // len(anchors))
    for start in range(0, count, step):
        some = numbers[start : start + step]
        iou = overlaps(boxes[some], anchors)
        value, row = iou.max(0)
        owner = torch.where(value > most, some[row], owner)
        most = torch.maximum(most, value)
        value, best = iou.max(1)
        forced.scatter_reduce_(0, best, torch.where(value > 0, some, count), "amin")
    owner.masked_fill_(most < _ENOUGH, -1)
    return torch.where(forced < count, forced, owner)


def _within(anchors: Tensor, regions: Tensor) -> Tensor:
    """Which anchors lie by half or more in one of the regions [R, 4], bool [A]."""
    found = torch.zeros(len(anchors), dtype=torch.bool, device=anchors.device)
    enough = areas(anchors) * _INSIDE
    step = max(1, _PAIRS // len(anchors))
    for start in range(0, len(regions), step):
        found |= (intersections(regions[start : start + step], anchors) >= enough).any(0)
    return found
