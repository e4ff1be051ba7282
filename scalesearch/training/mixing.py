"""Batches whose images are made of two: mixup and CutMix."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scalesearch.view import Draws


class Mix(NamedTuple):
    """How each image of a batch is mixed with the one before it, the first with the last.

    Attributes:
        share: of the image itself in the label.
        box: left, top, right and bottom of what is pasted of the other; None blends all of it.
    """

    share: float
    box: tuple[int, int, int, int] | None = None


def draw_mix(side: int, mixup: float, cutmix: float, draws: np.random.Generator) -> Mix:
    """How a batch of images of that side is mixed, by the alphas of which one is above 0."""
    takes_cutmix = cutmix > 0 and (mixup == 0 or draws.random() < 0.5)
    alpha = cutmix if takes_cutmix else mixup
    share = float(draws.beta(alpha, alpha))
    return pasted(share, side, GeneratorDraws(draws)) if takes_cutmix else Mix(share)


def pasted(share: float, side: int, draws: Draws) -> Mix:
    """CutMix that leaves about `share` of an image: a square around a random point, cut to it."""
    x, y = draws.integer(side), draws.integer(side)
    half = int(0.5 * math.sqrt(1.0 - share) * side)
    left, top = max(0, x - half), max(0, y - half)
    right, bottom = min(side, x + half), min(side, y + half)
    return Mix(1.0 - (right - left) * (bottom - top) / side**2, (left, top, right, bottom))


def mixed(images: Tensor, others: Tensor, mix: Mix) -> Tensor:
    """Images [N, C, R, R] with what the others give to them."""
    if mix.box is None:
        return torch.lerp(others, images, mix.share)
    left, top, right, bottom = mix.box
    result = images.clone()
    result[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return result


class GeneratorDraws(NamedTuple):
    """Draws of one of NumPy's generators."""

    generator: np.random.Generator

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` up to `high`."""
        return float(self.generator.uniform(low, high))

    def integer(self, count: int) -> int:
        """A number from 0 to `count` - 1."""
        return int(self.generator.integers(count))
