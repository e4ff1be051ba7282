"""Sequences of random operations on an image: RandAugment, AutoAugment and TrivialAugment.

The operations are torchvision's on Pillow images. What is drawn, and in which order, is as in its
transforms; but draws come from a generator of the image's own, so that they follow from its seed
and index and leave torch's random numbers alone, which another thread may be using.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from scalesearch.view import Draws

GREY = 128  # of what a move leaves empty, as in the official code of AutoAugment
_BINS = 31  # magnitudes from 0 to 30
_AUTO_BINS = 10


class _Operation(NamedTuple):
    """An operation with its magnitudes.

    Attributes:
        magnitudes: from so many bins and the side to the magnitude of each; None has none.
        signed: the magnitude is turned round half of the time.
    """

    magnitudes: Callable[[int, int], np.ndarray] | None
    signed: bool = False


def _between(low: float, high: float) -> Callable[[int, int], np.ndarray]:
    return lambda bins, side: torch.linspace(low, high, bins).numpy()


def _of_side(share: float) -> Callable[[int, int], np.ndarray]:
    return lambda bins, side: torch.linspace(0, share * side, bins).numpy()


def _bits(lost: int) -> Callable[[int, int], np.ndarray]:
    return lambda bins, side: (8 - np.arange(bins) / ((bins - 1) / lost)).round().astype(int)


def _space(
    shear: float, shift: Callable[[int, int], np.ndarray], turn: float, change: float, bits: int
) -> dict[str, _Operation]:
    """The operations in the order of torchvision's tables, each up to its strongest magnitude."""
    moved = {
        "ShearX": shear,
        "ShearY": shear,
        "TranslateX": None,
        "TranslateY": None,
        "Rotate": turn,
    }
    changed = ("Brightness", "Color", "Contrast", "Sharpness")
    return {
        **{
            name: _Operation(shift if most is None else _between(0, most), signed=True)
            for name, most in moved.items()
        },
        **{name: _Operation(_between(0, change), signed=True) for name in changed},
        "Posterize": _Operation(_bits(bits)),
        "Solarize": _Operation(_between(1, 0)),
        "AutoContrast": _Operation(None),
        "Equalize": _Operation(None),
    }


_RAND = {"Identity": _Operation(None), **_space(0.3, _of_side(150 / 331), 30, 0.9, 4)}
_AUTO = {**_space(0.3, _of_side(150 / 331), 30, 0.9, 4), "Invert": _Operation(None)}
_TRIVIAL = {"Identity": _Operation(None), **_space(0.99, _between(0, 32), 135, 0.99, 6)}

# Cubuk et al. 2019, "AutoAugment", Table 9: 25 pairs of operation, probability and magnitude.
_IMAGENET = """
Posterize .4 8 Rotate .6 9
Solarize .6 5 AutoContrast .6 -
Equalize .8 - Equalize .6 -
Posterize .6 7 Posterize .6 6
Equalize .4 - Solarize .2 4
Equalize .4 - Rotate .8 8
Solarize .6 3 Equalize .6 -
Posterize .8 5 Equalize 1 -
Rotate .2 3 Solarize .6 8
Equalize .6 - Posterize .4 6
Rotate .8 8 Color .4 0
Rotate .4 9 Equalize .6 -
Equalize 0 - Equalize .8 -
Invert .6 - Equalize 1 -
Color .6 4 Contrast 1 8
Rotate .8 8 Color 1 2
Color .8 8 Solarize .8 7
Sharpness .4 7 Invert .6 -
ShearX .6 5 Equalize 1 -
Color .4 0 Equalize .6 -
Equalize .4 - Solarize .2 4
Solarize .6 5 AutoContrast .6 -
Invert .6 - Equalize 1 -
Color .6 4 Contrast 1 8
Equalize .8 - Equalize .6 -
"""


def _pairs(table: str) -> list[list[tuple[str, float, int]]]:
    rows = [line.split() for line in table.split("\n") if line]
    return [
        [(row[n], float(row[n + 1]), int(row[n + 2].replace("-", "0"))) for n in (0, 3)]
        for row in rows
    ]


_IMAGENET_PAIRS = _pairs(_IMAGENET)
Policy = Callable[[Image.Image, Draws], Image.Image]


def policy(name: str, operations: int, magnitude: int, fill: int = GREY) -> Policy:
    """The policy of a recipe: from an image (RGB or L) and its draws to the changed image."""
    if name == "rand_augment":
        return partial(_rand_augment, operations, magnitude, fill)
    return partial({"auto_augment": _auto_augment, "trivial_augment": _trivial_augment}[name], fill)


def _rand_augment(
    operations: int, magnitude: int, fill: int, image: Image.Image, draws: Draws
) -> Image.Image:
    for _ in range(operations):
        name = [*_RAND][draws.integer(len(_RAND))]
        image = _changed(image, _RAND, name, _BINS, lambda: magnitude, fill, draws)
    return image


def _trivial_augment(fill: int, image: Image.Image, draws: Draws) -> Image.Image:
    name = [*_TRIVIAL][draws.integer(len(_TRIVIAL))]
    return _changed(image, _TRIVIAL, name, _BINS, lambda: draws.integer(_BINS), fill, draws)


def _auto_augment(fill: int, image: Image.Image, draws: Draws) -> Image.Image:
    for name, probability, magnitude in _IMAGENET_PAIRS[draws.integer(len(_IMAGENET_PAIRS))]:
        if draws.uniform(0, 1) <= probability:
            chosen = partial(int, magnitude)
            image = _changed(image, _AUTO, name, _AUTO_BINS, chosen, fill, draws)
    return image


def _changed(
    image: Image.Image,
    space: Mapping[str, _Operation],
    name: str,
    bins: int,
    choose: Callable[[], int],
    fill: int,
    draws: Draws,
) -> Image.Image:
    """The image after an operation, at the magnitude of the bin that `choose` gives."""
    magnitudes, signed = space[name]
    magnitude = 0.0
    if magnitudes is not None:
        side = image.height if name == "TranslateY" else image.width
        magnitude = float(magnitudes(bins, side)[choose()])
        if signed and draws.uniform(0, 1) <= 0.5:
            magnitude = -magnitude
    return _applied(image, name, magnitude, fill)


def _applied(image: Image.Image, name: str, magnitude: float, fill: int) -> Image.Image:
    from torchvision.transforms.v2 import functional

    colour = [fill] * len(image.getbands())
    if name in ("ShearX", "ShearY", "TranslateX", "TranslateY"):
        along = [magnitude, 0.0] if name.endswith("X") else [0.0, magnitude]
        shears = name.startswith("Shear")
        moved: Image.Image = functional.affine(
            image,
            angle=0.0,
            scale=1.0,
            translate=[0, 0] if shears else [int(part) for part in along],
            shear=[math.degrees(math.atan(part)) for part in along] if shears else [0.0, 0.0],
            fill=colour,
            center=[0, 0] if shears else None,
        )
        return moved
    change: dict[str, Callable[[Any], Image.Image]] = {
        "Identity": lambda x: x,
        "Rotate": lambda x: functional.rotate(x, angle=magnitude, fill=colour),
        "Brightness": lambda x: functional.adjust_brightness(x, 1.0 + magnitude),
        "Color": lambda x: functional.adjust_saturation(x, 1.0 + magnitude),
        "Contrast": lambda x: functional.adjust_contrast(x, 1.0 + magnitude),
        "Sharpness": lambda x: functional.adjust_sharpness(x, 1.0 + magnitude),
        "Posterize": lambda x: functional.posterize(x, int(magnitude)),
        "Solarize": lambda x: functional.solarize(x, 255.0 * magnitude),
        "AutoContrast": functional.autocontrast,
        "Equalize": functional.equalize,
        "Invert": functional.invert,
    }
    return change[name](image)


def jittered(image: Image.Image, strength: float, draws: Draws) -> Image.Image:
    """Brightness, contrast and saturation, in random order, times 1 - strength to 1 + strength."""
    from torchvision.transforms.v2 import functional

    changes = [
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
    ]
    factors = [draws.uniform(1 - strength, 1 + strength) for _ in changes]
    while changes:
        place = draws.integer(len(changes))
        image = changes.pop(place)(image, factors.pop(place))
    return image
