"""Pascal VOC's average precision of detections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scalesearch.interfaces import BoxImages, Targets
    from scalesearch.nn.postprocess import Detections

_ENOUGH = 0.5  # intersection over union


class _Found(NamedTuple):
    """Detections with what each is held against, as columns.

    `thing` is the object that it overlaps most, counted over all images, or -1 for one that
    overlaps none enough; `hard` says whether that object is a crowd.
    """

    labels: np.ndarray
    scores: np.ndarray
    thing: np.ndarray
    hard: np.ndarray


def voc_precision(images: BoxImages, found: Mapping[int, Detections]) -> float:
    """Mean over the classes of the area below precision against recall, from 0 to 1.

    As of VOC 2010: precision at a recall is the best at that or a higher one, over all recalls. A
    detection is held against the object of its class that it overlaps most, and is right from an
    intersection over union of .5 on, once for each object. A crowd is taken as VOC takes what is
    difficult: to find it, by the same overlap, is neither right nor wrong. What lies within a COCO
    crowd and overlaps it less is wrong here, where COCO's own measures pass it over.

    Args:
        images: with their objects, one or more of them no crowd.
        found: detections by the index of their image; one that is missing has none.
    """
    objects = [images.targets(index) for index in range(len(images))]
    first = np.cumsum([0, *(len(one.labels) for one in objects)])
    parts = [_held(found[i], objects[i], int(first[i])) for i in sorted(found)]
    every = _Found(*(np.concatenate(column) for column in zip(*parts, _NONE, strict=True)))
    labels = np.concatenate([one.labels[~one.crowd] for one in objects])
    areas = [_area(every, label, int((labels == label).sum())) for label in np.unique(labels)]
    return float(np.mean(areas))


def _held(detections: Detections, objects: Targets, first: int) -> _Found:
    boxes, scores, labels = (part.numpy() for part in detections)
    thing = np.full(len(scores), -1)
    hard = np.zeros(len(scores), bool)
    if len(scores) and len(objects.labels):
        overlap = _overlaps(boxes.astype(np.float64), objects.boxes.astype(np.float64))
        overlap[labels[:, None] != objects.labels] = -1.0
        best = overlap.argmax(1)
        enough = overlap.max(1) >= _ENOUGH
        thing = np.where(enough, first + best, -1)
        hard = enough & objects.crowd[best]
    return _Found(labels, scores, thing, hard)


def _area(every: _Found, label: int, count: int) -> float:
    """The area of one class, of which there are `count` objects."""
    own = (every.labels == label) & ~every.hard
    order = np.argsort(-every.scores[own], kind="stable")
    thing = every.thing[own][order]
    right = np.zeros(len(thing), bool)
    _, earliest = np.unique(thing, return_index=True)
    right[earliest] = True
    right &= thing >= 0
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[right].sum() / count)  # recall grows by 1 / count at each right one


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each two, [M, 4] and [K, 4] to [M, K]."""
    corners = np.maximum(boxes[:, None, :2], others[:, :2])
    ends = np.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = np.clip(ends - corners, 0, None).prod(2)
    areas = [(b[:, 2:] - b[:, :2]).prod(1) for b in (boxes, others)]
    union = areas[0][:, None] + areas[1] - shared
    return shared / np.maximum(union, np.finfo(np.float64).tiny)


_NONE = _Found(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool))
