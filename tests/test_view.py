"""What a trainer sees of an image, against torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from scalesearch.view import Frame, IndexDraws, RandomCrop, View, stacked, uniforms
from tests.draws import TorchDraws

SIDES = st.integers(1, 400)


def picture(height, width, seed=0):
    draws = np.random.default_rng(seed)
    return torch.from_numpy(draws.integers(0, 256, (3, height, width), np.uint8))


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, st.integers(0, 2**31), st.sampled_from([0.08, 0.5, 1.0]))
def test_a_random_crop_is_torchvisions_on_the_same_draws(height, width, seed, least):
    theirs = v2.RandomResizedCrop(16, scale=(least, 1.0))
    torch.manual_seed(seed)
    wanted = theirs.make_params([torch.empty(3, height, width)])
    torch.manual_seed(seed)
    cut = RandomCrop((least, 1.0)).cut(height, width, TorchDraws())
    assert cut == (wanted["top"], wanted["left"], wanted["height"], wanted["width"])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_pixels_of_a_random_crop_are_torchvisions(interpolation):
    image, view = picture(90, 120), View(24, RandomCrop(), interpolation=interpolation, seed=4)
    for index in range(5):
        (top, left, height, width), *_ = view.frame(index, 90, 120)
        wanted = v2.functional.resized_crop(
            image, top, left, height, width, [24, 24], v2.InterpolationMode(interpolation), True
        )
        assert torch.equal(view.see(index, image), wanted)


@settings(max_examples=60, deadline=None)
@given(st.integers(5, 90), st.integers(5, 90), st.sampled_from([0.875, 1.0, 0.7]))
def test_the_middle_is_torchvisions_resize_and_centre_crop(height, width, share):
    image, size = picture(height, width), 14
    resized = v2.Resize(round(size / share), antialias=True)(image)
    wanted = v2.CenterCrop(size)(resized)
    assert torch.equal(View(size, centre=share).see(0, image, "crop"), wanted)


def test_published_accuracies_are_measured_at_224_of_256():
    frame = View(224, centre=0.875).frame(0, 375, 500, "crop")
    assert frame == Frame((0, 0, 375, 500), (256, 341), (16, 58))


@pytest.mark.parametrize("size", [(20, 40), (40, 20)])
def test_what_does_not_fill_the_square_is_black(size):
    image = torch.full((3, *size), 255, dtype=torch.uint8)
    padded = View(10).see(0, image, "pad")
    assert padded.float().mean() == 255 / 2
    assert (padded[:, 5, 5] == 255).all()
    assert (View(10).see(0, image, "stretch") == 255).all()


def test_what_is_decoded_smaller_shows_the_same_part():
    frame = Frame((100, 40, 200, 80), (24, 24)).within((400, 400), (100, 200))
    assert frame.cut == (25, 20, 50, 40)
    assert Frame((0, 0, 400, 300), (50, 50)).least((400, 300)) == (100, 100)
    assert Frame((0, 0, 200, 150), (50, 50)).least((400, 300)) == (200, 200)


def test_numbers_follow_from_seed_index_and_place_alone():
    whole = uniforms(3, np.arange(100), 64)
    assert (uniforms(3, np.array([41, 7]), 64) == whole[[41, 7]]).all()
    assert (uniforms(3, np.arange(100), 32, start=32) == whole[:, 32:]).all()
    draws = IndexDraws(3, 41)
    assert [draws.uniform(0, 1) for _ in range(64)] == whole[41].tolist()
    assert (
        len(np.unique(np.concatenate([uniforms(s, np.arange(100), 4) for s in range(9)]))) == 3600
    )


def test_numbers_are_uniform_and_independent():
    """Mean, variance and correlation within five standard errors of what they must be."""
    numbers = uniforms(0, np.arange(20_000), 3)
    assert 0 <= numbers.min() < numbers.max() < 1
    assert numbers.mean(0) == pytest.approx(0.5, abs=5 * (1 / 12 / 20_000) ** 0.5)
    assert numbers.var(0) == pytest.approx(1 / 12, abs=0.003)
    across, along = np.corrcoef(numbers.T), np.corrcoef(numbers[:-1, 0], numbers[1:, 0])
    assert np.abs(across - np.eye(3)).max() < 5 / 20_000**0.5
    assert abs(along[0, 1]) < 5 / 20_000**0.5


def test_a_batch_has_the_layout_of_its_images():
    images = [picture(4, 4, seed).permute(1, 2, 0).contiguous().permute(2, 0, 1) for seed in (0, 1)]
    batch = stacked(images)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, torch.stack(images))
