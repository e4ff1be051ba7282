"""The COCO files of a run folder, and the score threshold of the best F1."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalesearch.errors import UserError

OVERLAP = 0.5  # intersection over union from which on a detection is right
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_Entry = Mapping[str, Any]


class Boxes(NamedTuple):
    """Objects or detections of one image.

    Attributes:
        corners: [M, 4] as x0, y0, x1, y1 in pixels of the image.
        classes: [M], category ids.
        scores: [M]; 1 for an object, 0 for a crowd.
    """

    corners: Floats
    classes: NDArray[np.int64]
    scores: Floats


NO_BOXES = Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class ValidationImage:
    """A validation image and what is in it.

    Attributes:
        number: COCO id.
        path: of the image file; empty where there is none.
        size: width and height in pixels.
        truth: its objects and crowds.
    """

    number: int
    path: Path
    size: tuple[int, int]
    truth: Boxes

    @property
    def objects(self) -> int:
        """How many objects there are to detect."""
        return int((self.truth.scores > 0).sum())


class Threshold(NamedTuple):
    """A score, and how well detections of at least that score agree with the truth.

    Attributes:
        score: of the weakest detection that counts.
        f1: 2 * right / (detections + objects), from 0 to 1.
    """

    score: float
    f1: float


def read_truth(path: Path) -> tuple[list[ValidationImage], dict[int, str]]:
    """The validation images by ascending id, and the name of each category id."""
    content = _read_json(path)
    boxes = _by_image(content["annotations"], lambda entry: 1 - bool(entry.get("iscrowd")))
    images = [
        ValidationImage(
            number=entry["id"],
            path=Path(entry.get("file_name", "")),
            size=(entry["width"], entry["height"]),
            truth=boxes.get(entry["id"], NO_BOXES),
        )
        for entry in sorted(content["images"], key=lambda entry: entry["id"])
    ]
    return images, {entry["id"]: str(entry["name"]) for entry in content["categories"]}


def read_detections(path: Path) -> Mapping[int, Boxes]:
    """Image id to the detections in that image, best first; images without any are left out."""
    return _by_image(_read_json(path), lambda entry: entry["score"])


def best_threshold(
    images: Sequence[ValidationImage], detections: Mapping[int, Boxes]
) -> Threshold | None:
    """The score that gives the best F1 over all images; the highest of equals.

    None where no detection is right, whatever the threshold. A detection is right if it overlaps
    an object of its class that no better one has; in a crowd it is neither right nor wrong.
    """
    scores, right = [], []
    for image in images:
        boxes = detections.get(image.number, NO_BOXES)
        is_right, counts = judge(boxes, image.truth)
        scores.append(boxes.scores[counts])
        right.append(is_right[counts])
    every, hits = np.concatenate([*scores, []]), np.concatenate([*right, []])
    if not hits.any():
        return None
    order = np.argsort(-every, kind="stable")
    every = every[order]
    objects = sum(image.objects for image in images)
    f1 = 2 * np.cumsum(hits[order]) / (np.arange(1, len(every) + 1) + objects)
    # Of equal scores all are drawn or none.
    last = np.append(every[1:] < every[:-1], True)
    best = int(np.argmax(np.where(last, f1, -1)))
    return Threshold(float(every[best]), float(f1[best]))


def judge(detections: Boxes, truth: Boxes) -> tuple[Flags, Flags]:
    """Which detections [N], best first, are right, and which count at all: those in no crowd."""
    same = detections.classes[:, None] == truth.classes
    shared, union = _overlaps(detections.corners, truth.corners)
    crowd = truth.scores == 0
    fits = np.where(same & ~crowd, shared / union, 0)
    right = np.zeros(len(detections.scores), bool)
    for row in np.flatnonzero((fits >= OVERLAP).any(axis=1)):
        best = int(fits[row].argmax())
        if fits[row, best] >= OVERLAP:
            right[row] = True
            fits[:, best] = 0  # an object is detected once
    inside = shared / np.maximum(_areas(detections.corners), 1e-9)[:, None] >= OVERLAP
    return right, right | ~(same & crowd & inside).any(axis=1)


def _overlaps(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Areas [N, M] of intersection and union of boxes [N, 4] and [M, 4]."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    high = np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.prod((high - low).clip(0), axis=2)
    return shared, np.maximum(_areas(a)[:, None] + _areas(b) - shared, 1e-9)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return areas


def _by_image(entries: Iterable[_Entry], score: Callable[[_Entry], float]) -> dict[int, Boxes]:
    """Image id to the boxes of COCO annotations or results in that image, best first."""
    images: dict[int, list[_Entry]] = defaultdict(list)
    for entry in sorted(entries, key=score, reverse=True):
        images[entry["image_id"]].append(entry)
    boxes = {}
    for number, own in images.items():
        corners = np.array([entry["bbox"] for entry in own], np.float64)
        corners[:, 2:] += corners[:, :2]
        classes = np.array([entry["category_id"] for entry in own], np.int64)
        boxes[number] = Boxes(corners, classes, np.array(list(map(score, own)), np.float64))
    return boxes


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        hint = "delete it, and the report is drawn without it"
        raise UserError(f"is no JSON: {error}", file=str(path), hint=hint) from error
