"""The score from which on detections are drawn: the one of the best F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalesearch.report.coco_files import Boxes, Floats, Picture

OVERLAP = 0.5  # intersection over union from which on a box is right
NOTHING = Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


class Threshold(NamedTuple):
    """A score, and how well detections of at least that score agree with the truth.

    Attributes:
        score: of the weakest detection that counts.
        f1: 2 * right / (detections + objects), from 0 to 1.
    """

    score: float
    f1: float


def best_threshold(pictures: Sequence[Picture], found: Mapping[int, Boxes]) -> Threshold | None:
    """The score that gives the best F1 over all images; of equals the highest.

    None where no detection is right, whatever the threshold. A detection is right if it overlaps
    an object of its class that no better one has; in a crowd it is neither right nor wrong.
    """
    scores, right = [], []
    for picture in pictures:
        boxes = found.get(picture.number, NOTHING)
        is_right, counts = judge(boxes, picture.true)
        scores.append(boxes.scores[counts])
        right.append(is_right[counts])
    every, hits = np.concatenate([*scores, []]), np.concatenate([*right, []])
    if not hits.any():
        return None
    order = np.argsort(-every, kind="stable")
    every = every[order]
    objects = sum(picture.objects for picture in pictures)
    f1 = 2 * np.cumsum(hits[order]) / (np.arange(1, len(every) + 1) + objects)
    # Of equal scores all are drawn or none.
    last = np.append(every[1:] < every[:-1], True)
    at = int(np.argmax(np.where(last, f1, -1)))
    return Threshold(float(every[at]), float(f1[at]))


def judge(found: Boxes, true: Boxes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections [N], best first, are right, and which count at all: those in no crowd."""
    same = found.classes[:, None] == true.classes
    shared, union = _overlaps(found.corners, true.corners)
    crowd = true.scores == 0
    fits = np.where(same & ~crowd, shared / union, 0)
    right = np.zeros(len(found.scores), bool)
    for row in np.flatnonzero((fits >= OVERLAP).any(axis=1)):
        best = int(fits[row].argmax())
        if fits[row, best] >= OVERLAP:
            right[row] = True
            fits[:, best] = 0  # an object is found once
    own = np.prod(found.corners[:, 2:] - found.corners[:, :2], axis=1)
    inside = shared / np.maximum(own, 1e-9)[:, None] >= OVERLAP
    return right, right | ~(same & crowd & inside).any(axis=1)


def _overlaps(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Areas [N, M] of intersection and union of boxes [N, 4] and [M, 4]."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    high = np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.prod((high - low).clip(0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1] - shared
    return shared, np.maximum(union, 1e-9)
