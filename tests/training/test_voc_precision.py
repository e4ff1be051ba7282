"""Pascal VOC's AP by hand, and against its rules followed one detection at a time."""

from __future__ import annotations

import numpy as np
import pytest

from scalesearch.training.voc_precision import voc_precision
from tests.training.test_average_precision import Pictures, found, guesses, objects

ONE = Pictures([objects((0, 0, 100, 100, 0, 0))])


def step_by_step(images, detections):
    """The rules of VOC's development kit, one class and one detection after the other."""
    classes = {
        int(k) for t in images.objects for k, c in zip(t.labels, t.crowd, strict=True) if not c
    }
    areas = []
    for label in sorted(classes):
        rows, taken, count = [], set(), 0
        for index in range(len(images)):
            t = images.targets(index)
            count += int(((t.labels == label) & ~t.crowd).sum())
            if index in detections:
                boxes, scores, labels = (part.tolist() for part in detections[index])
                rows += [
                    (s, index, b)
                    for b, s, k in zip(boxes, scores, labels, strict=True)
                    if k == label
                ]
        right = []
        for _, index, box in sorted(rows, key=lambda row: -row[0]):
            t, best, most = images.targets(index), None, -1.0
            for i, other in enumerate(t.boxes.tolist()):
                if t.labels[i] == label and overlap(box, other) > most:
                    best, most = i, overlap(box, other)
            if most >= 0.5:
                if not t.crowd[best]:
                    right.append((index, best) not in taken)
                    taken.add((index, best))
            else:
                right.append(False)
        points = [(0.0, 0.0)]
        for n in range(1, len(right) + 1):
            points.append((sum(right[:n]) / count, sum(right[:n]) / n))
        area = 0.0
        for n in range(1, len(points)):
            area += (points[n][0] - points[n - 1][0]) * max(p for _, p in points[n:])
        areas.append(area)
    return sum(areas) / len(areas)


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def pictures(seed, count=12, classes=3):
    draws = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        rows = []
        for _ in range(draws.integers(0, 6)):
            x, y, w, h = draws.integers(0, 100), draws.integers(0, 100), *draws.integers(5, 60, 2)
            rows.append((x, y, x + w, y + h, draws.integers(classes), draws.random() < 0.2))
        made.append(objects(*rows))
    return Pictures(made)


@pytest.mark.parametrize("seed", range(8))
def test_is_what_the_rules_give_step_by_step(seed):
    images = pictures(seed)
    detections = guesses(images, 3, seed)
    assert voc_precision(images, detections) == pytest.approx(step_by_step(images, detections))


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([(0, 0, 100, 100, 0.9, 0)], 1.0),
        ([(0, 0, 50, 100, 0.9, 0)], 1.0),  # an overlap of .5 is enough
        ([(0, 0, 49, 100, 0.9, 0)], 0.0),
        ([(0, 0, 100, 100, 0.9, 1)], 0.0),  # of another class
        # Found twice: the second is wrong, but comes after all that could be found.
        ([(0, 0, 100, 100, 0.9, 0), (0, 0, 99, 100, 0.8, 0)], 1.0),
        ([(100, 100, 199, 199, 0.9, 0), (0, 0, 100, 100, 0.8, 0)], 0.5),
        ([], 0.0),
    ],
)
def test_one_object_by_hand(rows, wanted):
    assert voc_precision(ONE, {0: found(*rows)}) == pytest.approx(wanted)


def test_precision_at_a_recall_is_the_best_from_there_on():
    """Right, wrong, right, of two: 1 up to a recall of .5, then 2 / 3."""
    images = Pictures([objects((0, 0, 50, 50, 0, 0), (100, 100, 150, 150, 0, 0))])
    rows = found((0, 0, 50, 50, 0.9, 0), (60, 60, 90, 90, 0.8, 0), (100, 100, 150, 150, 0.7, 0))
    assert voc_precision(images, {0: rows}) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_difficult_objects_are_neither_right_nor_wrong():
    images = Pictures([objects((0, 0, 100, 100, 0, 0), (100, 100, 200, 200, 0, 1))])
    hard = (100, 100, 200, 200, 0.9, 0)
    assert voc_precision(images, {0: found(hard, (0, 0, 100, 100, 0.8, 0))}) == 1.0
    assert voc_precision(images, {0: found(hard)}) == 0.0


def test_nothing_found_is_0():
    assert voc_precision(ONE, {}) == 0.0


def test_every_class_counts_alike():
    images = Pictures([objects((0, 0, 9, 9, 0, 0)), objects((0, 0, 9, 9, 2, 0))])
    assert voc_precision(images, {0: found((0, 0, 9, 9, 0.5, 0))}) == 0.5
