import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scalesearch.datasets._array_images import (
    ArrayImages,
    channel_statistics,
    equal_groups,
    split_arrays,
)
from scalesearch.datasets._split import Split
from scalesearch.view import View


def noise(count=12, side=28, channels=1):
    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return ArrayImages(pixels, np.arange(count) % 2)


def pillow(image, resolution):
    """Pillow's own antialiased bilinear resize of [H, W, C], by channel."""
    size = (resolution, resolution)
    channels = [
        np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR))
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels)


@settings(deadline=None, max_examples=20)
@given(st.integers(5, 60), st.sampled_from([1, 3]))
def test_resizing_equals_pillows_antialiasing_to_two_grey_levels(resolution, channels):
    images = noise(3, 28, channels)
    batch = images.batch(np.array([2, 0]), View(resolution))
    assert batch.shape == (2, channels, resolution, resolution)
    assert batch.dtype == torch.uint8
    for row, index in enumerate((2, 0)):
        expected = pillow(images.pixels[index], resolution)
        assert (
            np.abs(batch[row].numpy().astype(int) - expected.astype(int)).max() <= 2
        )  # each of two passes rounds


def test_images_of_the_right_size_come_unchanged():
    images = noise()
    batch = images.batch(np.array([3, 1]), View(28))
    assert np.array_equal(batch.permute(0, 2, 3, 1).numpy(), images.pixels[[3, 1]])


def test_read_only_arrays_work_and_are_not_written(recwarn):
    images = noise()
    images.pixels.flags.writeable = images.labels.flags.writeable = False
    images.batch(np.array([0, 1]), View(28)).add_(1)
    images.batch(np.array([0, 1]), View(14))
    assert np.array_equal(images.pixels, noise().pixels)
    assert not recwarn.list


def test_arrays_are_pickled_out_of_band():
    buffers = []
    small = pickle.dumps(noise(200), protocol=5, buffer_callback=buffers.append)
    assert len(small) < 1000
    assert sum(buffer.raw().nbytes for buffer in buffers) == 200 * (28 * 28 + 8)
    again = pickle.loads(small, buffers=buffers)
    assert np.array_equal(again.pixels, noise(200).pixels)


def test_statistics_equal_numpys():
    pixels = noise(5000, 4, 3).pixels  # more than one chunk
    mean, std = channel_statistics(pixels)
    assert mean == pytest.approx((pixels / 255).mean((0, 1, 2)))
    assert std == pytest.approx((pixels / 255).std((0, 1, 2)))


def test_a_channel_without_contrast_gets_one_grey_level():
    mean, std = channel_statistics(np.full((3, 4, 4, 1), 255, dtype=np.uint8))
    assert (mean, std) == ((1.0,), (1 / 255,))


def test_statistics_are_those_of_the_training_images_alone():
    images = noise(20)
    data = split_arrays(images, ("a", "b"), split=Split(validation=0.3), flip=True, seed=0)
    assert (len(data.train), len(data.validation)) == (14, 6)
    assert data.mean == pytest.approx(((data.train.pixels / 255).mean(),))
    assert (data.channels, data.flip, data.classes) == (1, True, ("a", "b"))
    both = np.concatenate([data.train.pixels, data.validation.pixels])
    assert sorted(map(bytes, both)) == sorted(map(bytes, images.pixels))


def among(some, others):
    """How many images of a part stand in another, too."""
    known = set(map(bytes, others.pixels))
    return sum(bytes(image) in known for image in some.pixels)


def test_equal_images_have_one_group_through_all_parts():
    images = noise(6).pixels
    assert equal_groups([images[[0, 1, 0]], images[[1, 2, 0]]]).tolist() == [0, 1, 0, 1, 2, 0]
    channels_first = images[[0, 0]].transpose(0, 3, 1, 2)  # not contiguous
    assert equal_groups([channels_first[..., ::2]]).tolist() == [0, 0]


def test_equal_images_stay_in_one_part():
    images = noise(40, 4)
    twice = images.choose(np.tile(np.arange(40), 2))
    data = split_arrays(twice, ("a", "b"), split=Split(test=0.2), flip=True, seed=0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [48, 16, 16]
    for one, other in (
        (data.train, data.test),
        (data.train, data.validation),
        (data.validation, data.test),
    ):
        assert among(one, other) == 0
    assert data.notes[1:] == (
        "40 images are copies of others: none of them validates what another one trains",
    )


def test_images_of_two_classes_are_named_and_train():
    images = noise(40, 4)
    pixels = np.concatenate([images.pixels, images.pixels[:1]])
    both = ArrayImages(pixels, np.append(images.labels, 1))
    data = split_arrays(both, ("a", "b"), split=Split(), flip=True, seed=0)
    assert among(both.choose(np.array([0])), data.train) == 1
    assert data.notes[1] == "pictures in several classes: train 40 and train 0"


def test_training_images_that_are_among_the_published_test_images_are_left_out():
    images = noise(40, 4)
    published = images.choose(np.array([3, 4, 11]))
    data = split_arrays(images, ("a", "b"), split=Split(), flip=True, seed=0, published=published)
    assert (len(data.train), len(data.validation), len(data.test)) == (29, 8, 3)
    assert among(data.train, data.test) == among(data.validation, data.test) == 0
    assert data.notes == (
        "left out are 3 of the training images that test, too",
        "3 images are kept for a test: no phase sees them, and the networks that are reported "
        "are scored on them once, at the end",
        "3 images are copies of others: none of them validates what another one trains",
    )


@pytest.mark.parametrize("limit", [None, 30])
def test_a_split_without_copies_is_that_of_labels_alone(limit):
    images, split = noise(60, 4), Split(validation=0.3, test=0.2, limit=limit)
    data = split_arrays(images, ("a", "b"), split=split, flip=True, seed=5)
    parts = split.indices(images.labels, ("a", "b"), 5)
    for part, indices in zip((data.train, data.validation, data.test), parts, strict=True):
        assert np.array_equal(part.pixels, images.pixels[indices])
