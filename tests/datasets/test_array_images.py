import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scalesearch.datasets._array_images import ArrayImages, channel_statistics, split_arrays
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
