"""Letterbox and jitter: a marked patch of an image is where its box says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from scalesearch.interfaces import Targets
from scalesearch.nn.postprocess import Letterbox
from scalesearch.training.samples import Canvas, Jitter, letterbox

INPUT = Canvas(64, (0.0,))
NONE = Targets(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0))
SIDES = st.integers(8, 150)


def targets(*boxes, crowd=False):
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(corners)
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1, dtype=np.float64)
    return Targets(corners, np.arange(count), np.full(count, crowd), areas)


@st.composite
def marked(draw):
    """A black image with a white patch of at least 3 pixels a side, and its box."""
    height, width = draw(SIDES), draw(SIDES)
    x0, y0 = draw(st.integers(0, width - 4)), draw(st.integers(0, height - 4))
    x1, y1 = draw(st.integers(x0 + 3, width)), draw(st.integers(y0 + 3, height))
    image = torch.zeros(1, height, width, dtype=torch.uint8)
    image[:, y0:y1, x0:x1] = 255
    return image, targets((x0, y0, x1, y1))


def white(pixels):
    """The box around what is white at least by half, or None."""
    rows, columns = ((pixels[0] >= 128).any(axis).nonzero().flatten() for axis in (1, 0))
    if not len(rows):
        return None
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def sides(box):
    return float(box[2] - box[0]), float(box[3] - box[1])


@given(marked())
def test_a_letterboxed_patch_is_where_its_box_says(pair):
    image, objects = pair
    sample = letterbox(image, objects, 3, INPUT)
    assert sample.pixels.shape == (1, 64, 64)
    assert sample.pixels.dtype == torch.uint8
    assert (sample.index, sample.labels.tolist(), sample.crowd.tolist()) == (3, [0], [False])
    (box,) = sample.boxes
    assume(min(sides(box)) >= 2)  # narrower ones fade while shrinking
    assert white(sample.pixels) == pytest.approx(box.tolist(), abs=1.01)


@given(marked())
def test_a_letterbox_keeps_the_shape_and_touches_two_borders(pair):
    image, objects = pair
    height, width = image.shape[-2:]
    sample = letterbox(torch.full_like(image, 255), objects, 0, INPUT)
    rows, columns = sample.letterbox.inner
    assert max(rows, columns) == 64
    assert rows == pytest.approx(64 * height / max(height, width), abs=0.5 + 1e-9)
    assert columns == pytest.approx(64 * width / max(height, width), abs=0.5 + 1e-9)
    assert sample.letterbox == Letterbox((height, width), (rows, columns))
    assert bool((sample.pixels[:, :rows, :columns] == 255).all())
    assert int(sample.pixels.long().sum()) == 255 * rows * columns


def test_a_letterbox_by_hand():
    """100 x 50 pixels canvas 64: times 0.64."""
    sample = letterbox(
        torch.zeros(1, 50, 100, dtype=torch.uint8), targets((50, 25, 100, 50)), 0, INPUT
    )
    assert sample.letterbox == Letterbox((50, 100), (32, 64))
    assert sample.boxes.tolist() == [[32, 16, 64, 32]]


def test_an_image_of_the_inputs_size_is_taken_as_it_is():
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    sample = letterbox(image, targets((1, 2, 3, 4)), 0, Canvas(64, (0.5, 0.4, 0.3)))
    assert torch.equal(sample.pixels, image)
    assert sample.boxes.tolist() == [[1, 2, 3, 4]]


def test_what_is_no_image_has_the_mean_colour():
    """So that it is 0 once it is normalised, as in effdet and the official code."""
    canvas = Canvas(8, (0.485, 0.456, 0.406))
    sample = letterbox(torch.zeros(3, 4, 8, dtype=torch.uint8), NONE, 0, canvas)
    assert sample.pixels[:, 4:].unique(dim=2).unique(dim=1).flatten().tolist() == [124, 116, 104]
    assert not sample.pixels[:, :4].any()


@given(
    marked(),
    st.integers(0, 2**32),
    st.sampled_from([(0.1, 2.0), (1.0, 1.0), (0.8, 1.25), (2.0, 3.0)]),
    st.booleans(),
)
def test_a_jittered_patch_is_where_its_box_says(pair, seed, scale, flip):
    image, objects = pair
    sample = Jitter(scale, flip)(image, objects, 5, INPUT, np.random.default_rng(seed))
    assert sample.pixels.shape == (1, 64, 64)
    assert (sample.index, sample.letterbox) == (5, None)
    seen = white(sample.pixels)
    if not len(sample.boxes):
        # Less than a quarter is there, or nothing that could be seen.
        assert len(sample.labels) == len(sample.crowd) == 0
        return
    (box,) = sample.boxes
    assert 0 <= box[0] < box[2] <= 64
    assert 0 <= box[1] < box[3] <= 64
    assume(min(sides(box)) >= 2)
    assert seen is None or seen == pytest.approx(box.tolist(), abs=1.51)
    assert seen is not None or min(sides(box)) < 3


def test_scale_and_place_spread_over_all_that_is_allowed():
    image, objects = torch.full((1, 64, 64), 255, dtype=torch.uint8), targets((0, 0, 64, 64))
    draws = np.random.default_rng(0)
    small = [
        Jitter((0.5, 0.5), False)(image, objects, 0, INPUT, draws).boxes[0] for _ in range(300)
    ]
    for box in small:
        assert sides(box) == (32, 32)
    corners = torch.stack(small)[:, :2]
    assert corners.min() == 0
    assert corners.max() == 32
    assert float(corners.mean()) == pytest.approx(16, abs=1)
    many = [Jitter((0.5, 1.0), False)(image, objects, 0, INPUT, draws).boxes[0] for _ in range(300)]
    widths = [sides(box)[0] for box in many]
    assert min(widths) < 34
    assert max(widths) > 62
    assert float(np.mean(widths)) == pytest.approx(48, abs=2)


def test_half_of_the_images_are_mirrored():
    image, objects = torch.zeros(1, 64, 64, dtype=torch.uint8), targets((0, 0, 10, 64))
    draws = np.random.default_rng(0)
    jitter = Jitter((1.0, 1.0), True)
    lefts = [jitter(image, objects, 0, INPUT, draws).boxes[0].tolist() for _ in range(200)]
    assert {tuple(box) for box in lefts} == {(0, 0, 10, 64), (54, 0, 64, 64)}
    assert 70 < sum(box[0] == 0 for box in lefts) < 130


def test_an_object_of_which_less_than_a_quarter_is_left_is_dropped():
    """An image twice as large as the input, of which a corner is seen."""
    image = torch.zeros(1, 64, 64, dtype=torch.uint8)
    objects = targets((0, 0, 64, 64), (0, 0, 8, 8), (24, 24, 40, 40))
    jitter = Jitter((2.0, 2.0), False)
    for seed in range(40):
        draws = np.random.default_rng(seed)
        sample = jitter(image, objects, 0, INPUT, draws)
        again = np.random.default_rng(seed)
        again.uniform(2.0, 2.0)
        top, left = (int(again.integers(-64, 1)) for _ in "yx")
        wanted = []
        for label, box in enumerate(objects.boxes.tolist()):
            moved = [2 * v + o for v, o in zip(box, (left, top, left, top), strict=True)]
            cut = [min(max(v, 0), 64) for v in moved]
            if np.prod(sides(cut)) >= 0.25 * np.prod(sides(moved)):
                wanted.append((label, cut))
        assert list(zip(sample.labels.tolist(), sample.boxes.tolist(), strict=True)) == wanted


def test_of_a_tenth_of_the_size_the_smallest_objects_are_none():
    """A side below one pixel of the input; 0.1 is the least that EfficientDet jitters to."""
    image = torch.zeros(1, 64, 64, dtype=torch.uint8)
    objects = targets((0, 0, 9, 64), (0, 0, 11, 64), (3, 3, 12, 12))
    sample = Jitter((0.1, 0.1), True)(image, objects, 0, INPUT, np.random.default_rng(0))
    assert sample.labels.tolist() == [1]
    gone = Jitter((0.01, 0.01), True)(image, objects, 0, INPUT, np.random.default_rng(0))
    assert gone.boxes.shape == (0, 4)
    assert gone.pixels.shape == (1, 64, 64)


def test_of_twice_the_size_objects_are_cut_and_some_are_lost():
    """A half of each side is seen, a quarter of the image: all of it is one object's then."""
    image = torch.zeros(1, 64, 64, dtype=torch.uint8)
    corners = [(x, y, x + 8, y + 8) for x, y in ((0, 0), (56, 0), (0, 56), (56, 56))]
    jitter, counts = Jitter((2.0, 2.0), True), set()
    for seed in range(60):
        draws = np.random.default_rng(seed)
        sample = jitter(image, targets((0, 0, 64, 64), *corners), 0, INPUT, draws)
        whole = sample.boxes[sample.labels == 0]
        assert whole.tolist() == [[0, 0, 64, 64]]
        counts.add(len(sample.labels) - len(whole))
    assert counts == {0, 1}


def test_a_crowd_stays_one_and_images_without_boxes_are_fine():
    image, draws = torch.zeros(1, 20, 30, dtype=torch.uint8), np.random.default_rng(0)
    crowd = Jitter((0.5, 0.5), False)(image, targets((0, 0, 30, 20), crowd=True), 0, INPUT, draws)
    assert crowd.crowd.tolist() == [True]
    for sample in (
        letterbox(image, NONE, 0, INPUT),
        Jitter((0.1, 2.0), True)(image, NONE, 0, INPUT, draws),
    ):
        assert sample.boxes.shape == (0, 4)
        assert len(sample.labels) == 0


def test_a_crowd_is_kept_however_little_of_it_is_seen():
    """At twice the size a quarter of the image is seen: of a crowd all over it, too."""
    image, draws = torch.zeros(1, 64, 64, dtype=torch.uint8), np.random.default_rng(0)
    jitter = Jitter((3.0, 3.0), flip=False)
    crowd = jitter(image, targets((0, 0, 64, 64), crowd=True), 0, INPUT, draws)
    assert crowd.boxes.tolist() == [[0, 0, 64, 64]]
    assert crowd.crowd.tolist() == [True]
    assert not len(jitter(image, targets((0, 0, 64, 64)), 0, INPUT, draws).boxes)
