"""Run folders' COCO files, and the threshold of the best F1, by hand and by trying every score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.report.detections import (
    Boxes,
    ValidationImage,
    best_threshold,
    judge,
    read_detections,
    read_truth,
)
from scalesearch.report.predictions import read_pixels

TRUTH = {
    "images": [
        {"id": 9, "file_name": "/a/9.png", "width": 30, "height": 20},
        {"id": 4, "file_name": "/a/4.png", "width": 10, "height": 10},
    ],
    "annotations": [
        {"image_id": 9, "category_id": 18, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        {"image_id": 9, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ],
    "categories": [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}],
}


def test_images_come_by_id_with_their_objects_as_corners(tmp_path):
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    images, names = read_truth(tmp_path / "truth.json")
    assert [image.number for image in images] == [4, 9]
    assert [image.objects for image in images] == [0, 1]  # a crowd is no object
    assert images[1].size == (30, 20)
    assert images[1].truth.corners.tolist() == [[1, 2, 4, 6], [0, 0, 9, 9]]
    assert images[1].truth.scores.tolist() == [1, 0]
    assert images[0].truth.corners.shape == (0, 4)
    assert names == {3: "car", 18: "dog"}


def test_images_without_files_are_read(tmp_path):
    bare = [{key: one[key] for key in one if key != "file_name"} for one in TRUTH["images"]]
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH | {"images": bare}))
    images, _ = read_truth(tmp_path / "truth.json")
    assert [read_pixels(image) for image in images] == [None, None]


def test_detections_come_by_image_best_first(tmp_path):
    rows = [
        {"image_id": 9, "category_id": 3, "bbox": [1, 1, 2, 2], "score": 0.2},
        {"image_id": 9, "category_id": 18, "bbox": [5, 6, 7, 8], "score": 0.7},
    ]
    (tmp_path / "found.json").write_text(json.dumps(rows))
    detections = read_detections(tmp_path / "found.json")
    assert list(detections) == [9]
    assert detections[9].classes.tolist() == [18, 3]
    assert detections[9].corners.tolist() == [[5, 6, 12, 14], [1, 1, 3, 3]]


@pytest.mark.parametrize("read", [read_truth, read_detections])
def test_a_damaged_file_is_named(tmp_path, read):
    (tmp_path / "half.json").write_text('[{"image_id": 1, ')
    with pytest.raises(UserError, match=r"half\.json: is no JSON"):
        read(tmp_path / "half.json")


def boxes(*rows):
    """Rows of x0, y0, x1, y1, class, score."""
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4].astype(int), table[:, 5])


def image(number, *rows):
    return ValidationImage(
        number=number, path=Path("none.png"), size=(100, 100), truth=boxes(*rows)
    )


def test_an_object_is_found_once_by_the_best_that_overlaps_it():
    true = boxes((0, 0, 10, 10, 1, 1), (50, 50, 60, 60, 2, 1))
    found = boxes(
        (0, 0, 10, 9, 1, 0.9),  # overlap .9: right
        (0, 0, 10, 10, 1, 0.8),  # the object is taken
        (50, 50, 60, 60, 1, 0.7),  # another class
        (50, 50, 60, 54.9, 2, 0.6),  # overlap .49
        (50, 50, 60, 55, 2, 0.5),  # overlap .5: right
    )
    right, counts = judge(found, true)
    assert right.tolist() == [True, False, False, False, True]
    assert counts.all()


def test_who_overlaps_two_takes_the_better_and_leaves_the_other():
    true = boxes((0, 0, 10, 10, 1, 1), (2, 0, 12, 10, 1, 1))
    # The first lies on the second object; what comes then has the first object left.
    right, _ = judge(boxes((2, 0, 12, 10, 1, 0.9), (1, 0, 11, 10, 1, 0.8)), true)
    assert right.tolist() == [True, True]


def test_in_a_crowd_nothing_is_right_or_wrong():
    true = boxes((0, 0, 40, 40, 1, 0), (60, 60, 70, 70, 1, 1))
    found = boxes((0, 0, 10, 10, 1, 0.9), (0, 0, 10, 10, 2, 0.8), (60, 60, 70, 70, 1, 0.7))
    right, counts = judge(found, true)
    assert right.tolist() == [False, False, True]
    assert counts.tolist() == [False, True, True]


def test_best_f1_by_hand():
    images = [
        image(1, (0, 0, 10, 10, 1, 1), (20, 0, 30, 10, 1, 1)),
        image(2, (0, 0, 10, 10, 1, 1)),
        image(3),
    ]
    found = {
        1: boxes((0, 0, 10, 10, 1, 0.9), (70, 0, 80, 10, 1, 0.6), (20, 0, 30, 10, 1, 0.5)),
        2: boxes((0, 0, 10, 10, 1, 0.7), (50, 50, 60, 60, 1, 0.2)),
    }
    # By score: right, right, wrong, right, wrong; three objects: F1 2/4, 4/5, 4/6, 6/7, 6/8.
    threshold = best_threshold(images, found)
    assert threshold.score == 0.5
    assert threshold.f1 == pytest.approx(6 / 7)


def test_equal_scores_count_together():
    images = [image(1, (0, 0, 10, 10, 1, 1))]
    found = {1: boxes((0, 0, 10, 10, 1, 0.5), (50, 0, 60, 10, 1, 0.5), (50, 0, 60, 10, 2, 0.5))}
    threshold = best_threshold(images, found)
    assert threshold == (0.5, 2 * 1 / (3 + 1))


@pytest.mark.parametrize("found", [{}, {1: boxes((50, 0, 60, 10, 1, 0.9))}])
def test_nothing_right_gives_no_threshold(found):
    assert best_threshold([image(1, (0, 0, 10, 10, 1, 1))], found) is None
    assert best_threshold([image(1)], found) is None


CELLS = st.tuples(st.integers(0, 3), st.integers(1, 2))


@given(
    true=st.lists(CELLS, max_size=5, unique=True),
    found=st.lists(st.tuples(CELLS, st.integers(1, 5)), max_size=8),
)
def test_no_other_score_gives_a_better_f1(true, found):
    # Boxes of a row of cells overlap wholly or not at all.
    def rows(cells):
        return [(20 * x, 0, 20 * x + 10, 10, label) for x, label in cells]

    objects = image(1, *[(*row, 1) for row in rows(true)])
    ordered = sorted(found, key=lambda one: -one[1])
    scores = [score / 5 for _, score in ordered]
    detected = boxes(
        *[(*row, s) for row, s in zip(rows([c for c, _ in ordered]), scores, strict=True)]
    )

    def f1(least):
        drawn = [cell for (cell, _), s in zip(ordered, scores, strict=True) if s >= least]
        return 2 * len(set(drawn) & set(true)) / max(len(drawn) + len(true), 1)

    threshold = best_threshold([objects], {1: detected})
    best = max([f1(s) for s in scores], default=0)
    assert (0 if threshold is None else threshold.f1) == pytest.approx(best)
    if threshold is not None:
        assert f1(threshold.score) == pytest.approx(best)
