"""Fitted anchors: overlaps by hand and by brute force over the real grid, and what a fit gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from scalesearch import plugins
from scalesearch.arch.detector import Anchors
from scalesearch.errors import UserError
from scalesearch.interfaces import Targets
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.training.fit_anchors import best_overlaps, boxes_of, fit_anchors
from tests.shapes import squares


class Boxes:
    """Images of 64 x 64 pixels with one given box each, x0, y0, x1, y1."""

    def __init__(self, corners, crowd=()):
        self.corners, self.crowd = np.array(corners, np.float32), crowd

    def __len__(self):
        return len(self.corners)

    def size(self, index):
        return 64, 64

    def targets(self, index):
        crowd = np.array([index in self.crowd])
        return Targets(self.corners[index : index + 1], np.zeros(1, int), crowd, np.ones(1))


def data_of(corners, **about):
    return replace(squares(), train=Boxes(corners, **about))


def test_overlaps_by_hand():
    """Level 3 of 64 pixels has centres at 4, 12, …; one anchor of 16 x 16 pixels."""
    anchors = Anchors(scale=2.0, octaves=1, ratios=(1.0,))
    boxes = np.array([[12, 12, 16, 16], [16, 12, 16, 16], [12, 12, 16, 8], [60, 60, 16, 16]], float)
    # Exact; 4 pixels off: 12 * 16 / (2 * 256 - 192); half of it; in the corner, exact again.
    wanted = [1.0, 192 / 320, 0.5, 1.0]
    assert best_overlaps(boxes, anchors, 64, range(3, 4)).tolist() == pytest.approx(wanted)


@given(st.integers(0, 10**6), st.sampled_from([64, 96, 100]), st.integers(3, 5))
def test_overlaps_are_those_with_all_anchors(seed, side, last):
    draws = np.random.default_rng(seed)
    anchors = Anchors(scale=draws.uniform(1, 6), octaves=2, ratios=(1.0, draws.uniform(0.2, 5)))
    sides = np.exp(draws.uniform(1, 4.5, (12, 2)))
    centres = draws.uniform(0, side, (12, 2))
    boxes = np.concatenate([centres, sides], 1)
    corners = torch.tensor(np.concatenate([centres - sides / 2, centres + sides / 2], 1))
    every = anchor_boxes(anchors, range(3, last + 1), (side, side)).double()
    wanted = box_iou(corners, every).amax(1).numpy()
    assert best_overlaps(boxes, anchors, side, range(3, last + 1)) == pytest.approx(
        wanted, abs=1e-5
    )


def test_a_fit_finds_the_one_shape_that_reaches():
    """Boxes of 10 x 64 pixels: no default anchor is as slender. Off a centre by 2 at most."""
    corners = [[x, 0, x + 10, 64] for x in (7, 9, 15, 17, 23, 25, 31, 33)]
    fitted = fit_anchors(data_of(corners), 64, range(3, 5), octaves=1, ratios=1)
    assert fitted.default_recall == 0.0
    assert fitted.best_recall == 1.0
    ((width, height),) = fitted.anchors.shapes
    assert height / width > 4
    assert fitted.boxes == len(corners)


def test_boxes_of_the_default_shapes_keep_the_default_anchors_or_better():
    """Every default anchor of levels 3 and 4 at a centre of its level, as boxes of a data set."""
    every = anchor_boxes(Anchors(), range(3, 5), (64, 64)).numpy()
    inside = every[((every >= 0) & (every <= 64)).all(1)]
    fitted = fit_anchors(data_of(inside), 64, range(3, 5))
    assert fitted.default_recall == fitted.best_recall == 1.0


def test_default_anchors_stay_where_none_are_better(monkeypatch):
    """A fit that looks at the first and the last box only."""
    monkeypatch.setattr("scalesearch.training.fit_anchors._MOST", 2)
    corners = [[0, 0, 6, 6], *[[16, 16, 48, 48]] * 9, [0, 0, 6, 6]]
    fitted = fit_anchors(data_of(corners), 64, range(3, 4))
    assert (fitted.anchors, fitted.best_recall) == (Anchors(), pytest.approx(9 / 11))


def test_crowds_are_left_out_and_boxes_are_letterboxed():
    data = data_of([[0, 0, 16, 16], [0, 0, 64, 64]], crowd=(1,))
    assert boxes_of(data, 128).tolist() == [[16, 16, 32, 32]]
    with pytest.raises(UserError, match="no training image has a box to fit anchors to"):
        fit_anchors(data_of([[0, 0, 16, 16]], crowd=(0,)), 64, range(3, 5))


def test_digits_on_canvases(tmp_path):
    """Digits from 20 pixels on are smaller than COCO's objects: the default begins at 32."""
    data = plugins.load("datasets", "mnist_canvas")(train=200, validation=10, path=tmp_path).load(0)
    fitted = fit_anchors(data, 128, range(3, 6))
    assert fitted.best_recall > fitted.default_recall + 0.1
    assert fitted.best_recall > 0.93
    assert fitted == fit_anchors(data, 128, range(3, 6))
