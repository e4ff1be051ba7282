"""The threshold of the best F1, by hand and against trying every score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.report.coco_files import Boxes, Picture
from scalesearch.report.threshold import best_threshold, judge


def boxes(*rows):
    """Rows of x0, y0, x1, y1, class, score."""
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4].astype(int), table[:, 5])


def picture(number, *rows):
    return Picture(number, Path("none.png"), (100, 100), boxes(*rows))


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
    pictures = [
        picture(1, (0, 0, 10, 10, 1, 1), (20, 0, 30, 10, 1, 1)),
        picture(2, (0, 0, 10, 10, 1, 1)),
        picture(3),
    ]
    found = {
        1: boxes((0, 0, 10, 10, 1, 0.9), (70, 0, 80, 10, 1, 0.6), (20, 0, 30, 10, 1, 0.5)),
        2: boxes((0, 0, 10, 10, 1, 0.7), (50, 50, 60, 60, 1, 0.2)),
    }
    # By score: right, right, wrong, right, wrong; three objects: F1 2/4, 4/5, 4/6, 6/7, 6/8.
    threshold = best_threshold(pictures, found)
    assert threshold.score == 0.5
    assert threshold.f1 == pytest.approx(6 / 7)


def test_equal_scores_count_together():
    pictures = [picture(1, (0, 0, 10, 10, 1, 1))]
    found = {1: boxes((0, 0, 10, 10, 1, 0.5), (50, 0, 60, 10, 1, 0.5), (50, 0, 60, 10, 2, 0.5))}
    threshold = best_threshold(pictures, found)
    assert threshold == (0.5, 2 * 1 / (3 + 1))


@pytest.mark.parametrize("found", [{}, {1: boxes((50, 0, 60, 10, 1, 0.9))}])
def test_nothing_right_gives_no_threshold(found):
    assert best_threshold([picture(1, (0, 0, 10, 10, 1, 1))], found) is None
    assert best_threshold([picture(1)], found) is None


CELLS = st.tuples(st.integers(0, 3), st.integers(1, 2))


@given(
    true=st.lists(CELLS, max_size=5, unique=True),
    found=st.lists(st.tuples(CELLS, st.integers(1, 5)), max_size=8),
)
def test_no_other_score_gives_a_better_f1(true, found):
    # Boxes of a row of cells overlap wholly or not at all.
    def rows(cells):
        return [(20 * x, 0, 20 * x + 10, 10, label) for x, label in cells]

    objects = picture(1, *[(*row, 1) for row in rows(true)])
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
