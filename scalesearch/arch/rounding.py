"""How scaled widths, depths and resolutions become whole numbers."""

from __future__ import annotations

import math

from scalesearch.errors import UserError


class Vanished(UserError):
    """Nothing is left of an image that was scaled."""


# A product such as 25 * 2.2 lies a hair above 55 in binary; it must not become 56.
_NOISE = 1e-9


def round_width(width: float, divisor: int = 8) -> int:
    """Channels: the nearest multiple of `divisor`, never below 90 % of `width`.

    The rule of the official EfficientNet code (`round_filters`).
    """
    rounded = max(divisor, int(width + divisor / 2 + _NOISE) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width - _NOISE else rounded


def round_depth(depth: float) -> int:
    """Repeats of a block, rounded up as in the official code (`round_repeats`), at least 1."""
    return max(1, math.ceil(depth - _NOISE))


def round_resolution(resolution: float) -> int:
    """Pixels of the input's side, rounded to the nearest.

    Raises:
        Vanished: nothing is left of the image.
    """
    rounded = math.floor(resolution + 0.5)
    if rounded < 1:
        raise Vanished(
            f"scaling leaves a resolution of {rounded} pixels",
            key="resolution",
            allowed="at least 1 pixel",
            hint="take a larger phi or a smaller gamma",
        )
    return rounded
