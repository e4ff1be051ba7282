"""The targets of anchors: which object of an image each one is to predict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scalesearch.nn.boxes import areas, encode, have_area, intersections, overlaps

_POSITIVE = 0.5  # intersection over union from which on an anchor is positive, as officially
_INSIDE = 0.5  # share of an anchor within a crowd from which on it is ignored
_PAIRS = 2**20  # boxes times anchors that are compared at once: a few megabytes


class Match(NamedTuple):
    """The targets of one image's anchors; those not listed here are negatives.

    Attributes:
        anchors: those with an object (positives), int64 [P], ascending.
        labels: of each one's object, int64 [P].
        deltas: of each one's object relative to the anchor, float32 [P, 4].
        ignored: anchors that are left out of the loss, int64 [I].
    """

    anchors: Tensor
    labels: Tensor
    deltas: Tensor
    ignored: Tensor


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What there is in a batch of images, one image after the other.

    Attributes:
        boxes: of objects, float32 [M, 4] as x0, y0, x1, y1 in pixels of the network's input.
        labels: of objects, int64 [M].
        crowds: boxes of crowds, float32 [K, 4].
        counts: how many objects each image has.
        crowd_counts: how many crowds each image has.
    """

    boxes: Tensor
    labels: Tensor
    crowds: Tensor
    counts: list[int]
    crowd_counts: list[int]


@torch.no_grad()
def objects_of(images: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Objects:
    """The objects of images with boxes [M, 4], labels [M] and crowd [M] each.

    Boxes without area or with sides that are not finite are skipped. To look for them a GPU would
    be waited for: do it where the boxes were read.
    """
    boxes, labels, crowds = list[Tensor](), list[Tensor](), list[Tensor]()
    for given, labels_of_image, crowd in images:
        of_image = given.float()
        sound = have_area(of_image)
        single = sound & ~crowd
        boxes.append(of_image[single])
        labels.append(labels_of_image[single])
        crowds.append(of_image[sound & crowd])
    return Objects(
        boxes=torch.cat(boxes),
        labels=torch.cat(labels),
        crowds=torch.cat(crowds),
        counts=[len(one) for one in boxes],
        crowd_counts=[len(one) for one in crowds],
    )


@torch.no_grad()
def match(anchors: Tensor, boxes: Tensor, labels: Tensor, crowd: Tensor) -> Match:
    """Assigns the objects of one image to anchors; all tensors on one device.

    An anchor is assigned the object that it overlaps most (the first of equals) if their
    intersection over union is 0.5 or more. Each object is also assigned its best anchor, however
    small their overlap, unless it is 0; where several objects have the same best anchor, the first
    of them gets it. A crowd is not an object: anchors without object of which at least half lies
    within a crowd are ignored. Boxes without area or with sides that are not finite are skipped.

    Args:
        anchors: [A, 4] as x0, y0, x1, y1.
        boxes: [M, 4] as x0, y0, x1, y1 in pixels of the network's input; M may be 0.
        labels: int64 [M].
        crowd: bool [M].
    """
    return match_batch(anchors, objects_of([(boxes.to(anchors), labels, crowd)]))[0]


@torch.no_grad()
def match_batch(anchors: Tensor, objects: Objects) -> list[Match]:
    """As `match`, for a batch of images; all tensors on one device.

    How many anchors are positive is the one thing that a GPU is waited for, and which are ignored
    in each image with a crowd.
    """
    owners, start = list[Tensor](), 0
    for boxes in torch.split(objects.boxes, objects.counts):
        owner = _owners(anchors, boxes)
        owners.append(torch.where(owner < 0, owner, owner + start))  # counted over all images
        start += len(boxes)
    owner = torch.stack(owners)  # [N, A]
    positive = owner >= 0
    counts: list[int] = positive.sum(1).tolist()
    image, anchor = positive.nonzero().t().contiguous()
    chosen = owner[image, anchor]
    deltas = encode(objects.boxes[chosen], anchors[anchor])
    parts = [torch.split(part, counts) for part in (anchor, objects.labels[chosen], deltas)]
    crowds = torch.split(objects.crowds, objects.crowd_counts)
    none = anchor[:0]
    ignored = [
        (_within(anchors, regions) & ~own).nonzero().squeeze(1) if len(regions) else none
        for regions, own in zip(crowds, positive, strict=True)
    ]
    return [
        Match(anchors=one, labels=labels, deltas=delta, ignored=left_out)
        for one, labels, delta, left_out in zip(*parts, ignored, strict=True)
    ]


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
    owner.masked_fill_(most < _POSITIVE, -1)
    return torch.where(forced < count, forced, owner)


def _within(anchors: Tensor, regions: Tensor) -> Tensor:
    """Which anchors lie at least half within one of the regions [R, 4], bool [A]."""
    within = torch.zeros(len(anchors), dtype=torch.bool, device=anchors.device)
    enough = areas(anchors) * _INSIDE
    step = max(1, _PAIRS // len(anchors))
    for start in range(0, len(regions), step):
        within |= (intersections(regions[start : start + step], anchors) >= enough).any(0)
    return within
