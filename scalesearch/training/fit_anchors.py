"""Anchors that overlap the objects of a data set, in place of COCO's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalesearch.arch.detector import Anchors
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.interfaces import BoxData

_ENOUGH = 0.5  # intersection over union from which an anchor is an object's
_MOST = 5_000  # boxes that a fit looks at; the share that is reported is of all
_SCALES = np.geomspace(1.0, 16.0, 33)  # sides of the smallest anchor, in pixels of its level
_STEPS = (0.2, 0.1, 0.05, 0.02)  # of logarithms, in the search around the best of these
_DIGITS = 4
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class FittedAnchors:
    """What a fit found.

    Attributes:
        anchors: the fitted ones.
        best_recall: best possible recall: the share of the training boxes that some anchor
            overlaps by at least half.
        default_recall: the same by the default anchors.
        boxes: how many there are.
    """

    anchors: Anchors
    best_recall: float
    default_recall: float
    boxes: int


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where anchors stand: the levels of a pyramid over a square image of `side` pixels."""

    side: int
    levels: range


def fit_anchors(
    data: BoxData, resolution: int, levels: range, octaves: int = 3, ratios: int = 3
) -> FittedAnchors:
    """Anchors of the highest best possible recall of the training boxes; the same ones each time.

    Of two with the same recall the one with the higher mean overlap is better. Shapes begin as
    clusters of the boxes' own (on a logarithmic scale), the scale as the best of some; then each
    is moved while that pays. The default anchors are returned where their recall is higher.

    Args:
        data: whose training images are letterboxed to the resolution; crowds are left out.
        resolution: side of the network's input in pixels.
        levels: of the pyramid, from the finest.
        octaves: sizes between one level and the next.
        ratios: how many shapes to fit.

    Raises:
        UserError: no training image has a box.
    """
    boxes, grid = boxes_of(data, resolution), _Grid(resolution, levels)
    some = boxes[np.linspace(0, len(boxes) - 1, min(_MOST, len(boxes))).astype(int)]

    def anchors_of(logs: np.ndarray) -> Anchors:
        shapes = tuple(
            (round(math.exp(x), _DIGITS), round(math.exp(-x), _DIGITS)) for x in logs[1:]
        )
        return Anchors(
            scale=round(math.exp(logs[0]), _DIGITS),
            octaves=octaves,
            ratios=tuple(sorted(set(shapes))),
        )

    def worth(logs: np.ndarray) -> tuple[float, float]:
        overlap = best_overlaps(some, anchors_of(logs), grid.side, grid.levels)
        return float((overlap >= _ENOUGH).mean()), float(overlap.mean())

    shapes = _clusters(np.log(some[:, 2] / some[:, 3]) / 2, ratios)
    starts = (np.array([math.log(scale), *shapes]) for scale in _SCALES)
    anchors, default = anchors_of(_climbed(max(starts, key=worth), worth)), Anchors()
    recall, default_recall = (_recall(boxes, one, grid) for one in (anchors, default))
    if default.count <= octaves * ratios and default_recall > recall:
        anchors, recall = default, default_recall
    return FittedAnchors(anchors, recall, default_recall, len(boxes))


def boxes_of(data: BoxData, resolution: int) -> np.ndarray:
    """The training boxes in pixels of the letterboxed input: centre x, y, width, height [M, 4]."""
    parts = []
    for index in range(len(data.train)):
        objects, (height, width) = data.train.targets(index), data.train.size(index)
        corners = objects.boxes[~objects.crowd] * (resolution / max(height, width))
        sides = corners[:, 2:] - corners[:, :2]
        parts.append(np.concatenate([corners[:, :2] + sides / 2, sides], 1))
    boxes = np.concatenate(parts).astype(np.float64) if parts else np.zeros((0, 4))
    boxes = boxes[(boxes[:, 2:] > 0).all(1)]
    if not len(boxes):
        raise UserError("no training image has a box to fit anchors to", key="anchors")
    return boxes


def best_overlaps(boxes: np.ndarray, anchors: Anchors, side: int, levels: range) -> np.ndarray:
    """Each box's intersection over union with the anchor that overlaps it most, [M].

    Among equal anchors of a level that is the one whose centre is nearest, in x and in y.

    Args:
        boxes: centre x, y, width, height [M, 4] in pixels of the input.
        anchors: at every pixel of every level.
        side: of the square input in pixels.
        levels: of the pyramid.
    """
    best = np.zeros(len(boxes))
    for stride, off in _offsets(boxes[:, :2], side, levels):
        for octave in range(anchors.octaves):
            size = anchors.scale * 2 ** (octave / anchors.octaves) * stride
            for shape in anchors.shapes:
                sides = size * np.array(shape)
                reach = (boxes[:, 2:] + sides) / 2 - off
                shared = np.minimum(np.minimum(boxes[:, 2:], sides), reach).clip(min=0).prod(1)
                union = boxes[:, 2:].prod(1) + sides.prod() - shared
                np.maximum(best, shared / union, out=best)
    return best


def _offsets(centres: np.ndarray, side: int, levels: range) -> Iterator[tuple[float, np.ndarray]]:
    """Each level's stride, and how far the nearest of its centres is from each box's, [M, 2]."""
    for level in levels:
        count = -(-side // 2**level)
        stride = side / count
        nearest = (np.floor(centres / stride).clip(0, count - 1) + 0.5) * stride
        yield stride, np.abs(centres - nearest)


def _recall(boxes: np.ndarray, anchors: Anchors, grid: _Grid) -> float:
    return float((best_overlaps(boxes, anchors, grid.side, grid.levels) >= _ENOUGH).mean())


def _clusters(values: np.ndarray, count: int) -> np.ndarray:
    """Centres of `count` clusters of numbers, ascending (Lloyd's algorithm from quantiles)."""
    centres = np.quantile(values, (np.arange(count) + 0.5) / count)
    for _ in range(_ROUNDS):
        nearest = np.abs(values[:, None] - centres).argmin(1)
        centres = np.array(
            [
                values[nearest == k].mean() if (nearest == k).any() else c
                for k, c in enumerate(centres)
            ]
        )
    return np.sort(centres)


def _climbed(start: np.ndarray, worth: Callable[[np.ndarray], tuple[float, float]]) -> np.ndarray:
    """The best that changes of one number at a time lead to, in ever shorter steps."""
    here, top = start, worth(start)
    for step in _STEPS:
        for _ in range(_ROUNDS):
            before = top
            for place in range(len(here)):
                for sign in (1, -1):
                    there = here.copy()
                    there[place] += sign * step
                    if (found := worth(there)) > top:
                        here, top = there, found
            if top == before:
                break
    return here
