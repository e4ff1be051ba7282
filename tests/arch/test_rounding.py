"""Rounding rules against the official EfficientNet code's own results and the rules read aloud."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.arch.rounding import round_depth, round_resolution, round_width
from scalesearch.errors import UserError

DIVISORS = st.sampled_from([1, 2, 4, 8, 16])
WIDTHS = st.floats(0.5, 5000.0)


# Channels that the official rule gives (`round_filters`, tensorflow/tpu, EfficientNet): what the
# published B2 (1.1), B3 (1.2), B4 (1.4), B5 (1.6) and B7 (2.0) have for a base of B0's.
@pytest.mark.parametrize(
    ("base", "multiplier", "channels"),
    [
        (32, 1.1, 32),
        (16, 1.1, 16),
        (24, 1.1, 24),
        (40, 1.1, 48),
        (80, 1.1, 88),
        (112, 1.1, 120),
        (192, 1.1, 208),
        (320, 1.1, 352),
        (1280, 1.1, 1408),
        (32, 1.2, 40),
        (16, 1.2, 24),
        (24, 1.2, 32),
        (1280, 1.2, 1536),
        (320, 1.4, 448),
        (24, 1.6, 40),
        (1280, 2.0, 2560),
    ],
)
def test_widths_of_the_published_networks(base, multiplier, channels):
    assert round_width(base * multiplier) == channels


def test_a_width_that_would_lose_more_than_a_tenth_is_rounded_up():
    # 11 would become 8, which is 73 % of it; 35 keeps 91 % as 32, and 35.8 only 89 %.
    assert round_width(11) == 16
    assert round_width(35.0) == 32
    assert round_width(35.8) == 40


def test_noise_of_binary_products_changes_nothing():
    assert 25 * 2.2 > 55
    assert round_depth(25 * 2.2) == 55
    assert round_depth(10 * 1.1) == 11
    assert 4.35 * 100 < 435
    assert round_width(4.35 * 100, 1) == 435
    # 6 lies halfway between 4 and 8 and goes up, on whichever side of it the product falls.
    assert 45 * 1.4 < 63
    assert round_width(45 * 1.4 - 57, 4) == 8


@given(WIDTHS, DIVISORS)
def test_a_width_is_a_multiple_of_the_divisor_and_keeps_nine_tenths(width, divisor):
    rounded = round_width(width, divisor)
    assert rounded % divisor == 0
    assert rounded >= divisor
    assert rounded >= 0.9 * width - 1e-6
    assert rounded <= width + divisor  # never a whole step too far


@given(WIDTHS, WIDTHS, DIVISORS)
def test_a_larger_width_never_rounds_to_less(one, other, divisor):
    small, large = sorted((one, other))
    assert round_width(small, divisor) <= round_width(large, divisor)


@given(st.integers(1, 700), DIVISORS)
def test_a_width_that_is_a_multiple_stays(steps, divisor):
    assert round_width(steps * divisor, divisor) == steps * divisor


@given(st.floats(0.01, 200.0), st.floats(0.01, 200.0))
def test_a_depth_is_never_below_what_was_asked_and_less_than_one_above(one, other):
    assert one - 1e-6 <= round_depth(one) < max(one, 0) + 1 + 1e-6
    assert round_depth(min(one, other)) <= round_depth(max(one, other))


# `round_repeats` of the official code: B1 (1.1), B4 (1.8) and B7 (3.1) from B0's repeats.
@pytest.mark.parametrize(
    ("multiplier", "depths"),
    [
        (1.1, [2, 3, 3, 4, 4, 5, 2]),
        (1.8, [2, 4, 4, 6, 6, 8, 2]),
        (3.1, [4, 7, 7, 10, 10, 13, 4]),
    ],
)
def test_depths_of_the_published_networks(multiplier, depths):
    assert [round_depth(d * multiplier) for d in (1, 2, 2, 3, 3, 4, 1)] == depths


@given(st.floats(0.5, 4000.0))
def test_a_resolution_is_the_nearest_pixel(resolution):
    assert abs(round_resolution(resolution) - resolution) <= 0.5
    assert round_resolution(math.floor(resolution) + 0.5) == math.floor(resolution) + 1


def test_no_pixel_left_is_told():
    with pytest.raises(UserError) as told:
        round_resolution(0.49)
    assert str(told.value) == (
        "resolution: scaling leaves a resolution of 0 pixels\n"
        "  allowed: at least 1 pixel\n"
        "  take a larger phi or a smaller gamma"
    )
