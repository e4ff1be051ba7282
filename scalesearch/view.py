"""What a trainer sees of an image: which part of it, at which size; and draws that follow from it.

NumPy and torch are loaded where they are used: the contracts, and what only lists images, need
neither.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

Fit = Literal["crop", "pad", "stretch"]
Interpolation = Literal["bilinear", "bicubic"]
_BLOCK = 32  # numbers that are drawn at once for an image
_ATTEMPTS = 10  # at a random part of an oblong image, as in torchvision
_WEYL = 0x9E3779B97F4A7C15  # 2**64 / the golden ratio, odd


def uniforms(seed: int, indices: np.ndarray, count: int, start: int = 0) -> np.ndarray:
    """`count` numbers for each of the `indices`, from 0 up to 1, float64 [N, count].

    Each depends on the seed, the index and its place, from `start` on, alone, whoever draws it and
    after what: SplitMix64 (Steele, Lea & Flood 2014) of a counter.
    """
    import numpy as np  # here, so that the contracts load without it

    own = _mixed(np.array([seed % 2**64], np.uint64))
    first = _mixed(np.asarray(indices).astype(np.uint64) ^ own)
    steps = np.arange(start + 1, start + count + 1, dtype=np.uint64) * np.uint64(_WEYL)
    return (_mixed(first[:, None] + steps) >> np.uint64(11)) * 2.0**-53


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64, applied to uint64 with a step of its own."""
    import numpy as np

    mixed = values + np.uint64(_WEYL)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class Draws(Protocol):
    """Random numbers, one after the other."""

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` up to `high`."""

    def integer(self, count: int) -> int:
        """A number from 0 to `count` - 1."""


class IndexDraws:
    """The draws of one image: `uniforms` of a seed and its index in order, as many as are asked."""

    def __init__(self, seed: int, index: int) -> None:
        import numpy as np

        self._numbers = self._all(seed, np.array([index]))

    @staticmethod
    def _all(seed: int, index: np.ndarray) -> Iterator[float]:
        for block in itertools.count():
            yield from uniforms(seed, index, _BLOCK, start=block * _BLOCK)[0].tolist()

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` up to `high`."""
        return low + (high - low) * next(self._numbers)

    def integer(self, count: int) -> int:
        """A number from 0 to `count` - 1."""
        return int(count * next(self._numbers))


class Frame(NamedTuple):
    """How a square comes of an image.

    Attributes:
        cut: top, left, height and width in pixels of what is cut out of the image.
        size: height and width to which that is resized.
        corner: top and left of the square in the resized part; what reaches over it is black.
    """

    cut: tuple[int, int, int, int]
    size: tuple[int, int]
    corner: tuple[int, int] = (0, 0)

    def within(self, before: tuple[int, int], now: tuple[int, int]) -> Frame:
        """The same frame in an image that was decoded at a smaller size than it has."""
        if before == now:
            return self
        top, left, height, width = self.cut
        down, across = (length / whole for length, whole in zip(now, before, strict=True))
        y0, x0 = round(top * down), round(left * across)
        y1, x1 = round((top + height) * down), round((left + width) * across)
        return self._replace(cut=(y0, x0, max(1, y1 - y0), max(1, x1 - x0)))

    def least(self, image: tuple[int, int]) -> tuple[int, int]:
        """Height and width to which an image may be decoded: twice as fine as is shown of it."""
        down, across = (
            2 * whole * goal // cut
            for whole, goal, cut in zip(image, self.size, self.cut[2:], strict=True)
        )
        return down, across


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """A random part of an image, resized to the network's input (Szegedy et al. 2015).

    Attributes:
        scale: of the image's area, from and to.
        ratio: of width to height, from and to.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def cut(self, height: int, width: int, draws: Draws) -> tuple[int, int, int, int]:
        """Top, left, height and width; draws in the order of torchvision's RandomResizedCrop.

        What does not fit into the image is drawn again, ten times at most; then the largest part
        in the middle is taken that has a permitted shape.
        """
        ratios = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(_ATTEMPTS):
            area = height * width * draws.uniform(*self.scale)
            ratio = math.exp(draws.uniform(*ratios))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top = draws.integer(height - h + 1)
                return top, draws.integer(width - w + 1), h, w
        shape = width / height
        h, w = height, width
        if shape < self.ratio[0]:
            h = round(w / self.ratio[0])
        elif shape > self.ratio[1]:
            w = round(h * self.ratio[1])
        return (height - h) // 2, (width - w) // 2, h, w


@dataclass(frozen=True, slots=True)
class View:
    """What is seen of every image of a batch.

    Attributes:
        size: of the network's input in pixels, a square.
        crop: of a training that sees random parts; None sees the middle.
        centre: the middle's share of the side: .875 resizes to 256 and cuts out 224.
        interpolation: of the resizing, always with antialiasing.
        seed: of an epoch: what is drawn for an image follows from it and the image's index.
    """

    size: int
    crop: RandomCrop | None = None
    centre: float = 1.0
    interpolation: Interpolation = "bilinear"
    seed: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether all of the square is seen, the same each time."""
        return self.crop is None and self.centre == 1

    def frame(self, index: int, height: int, width: int, fit: Fit = "stretch") -> Frame:
        """How the square comes of an image with so many pixels, upright.

        `fit` is how one comes of an oblong image: `crop` takes the middle, `pad` adds black bars,
        `stretch` changes its shape. A random part is taken of the image itself, whatever `fit` is.
        The middle is that of torchvision's Resize and CenterCrop.
        """
        if self.crop is not None:
            cut = self.crop.cut(height, width, IndexDraws(self.seed, index))
            return Frame(cut, (self.size, self.size))
        whole = round(self.size / self.centre)
        if fit == "stretch":
            size = whole, whole
        else:
            least = (min if fit == "crop" else max)(height, width)
            size = max(1, height * whole // least), max(1, width * whole // least)
        corner = round((size[0] - self.size) / 2), round((size[1] - self.size) / 2)
        return Frame((0, 0, height, width), size, corner)

    def see(self, index: int, pixels: torch.Tensor, fit: Fit = "stretch") -> torch.Tensor:
        """The square of an image uint8 [C, H, W], upright: uint8 [C, size, size]."""
        height, width = pixels.shape[-2:]
        return self.apply(self.frame(index, height, width, fit), pixels[None])[0]

    def see_all(
        self, indices: np.ndarray, pixels: torch.Tensor, fit: Fit = "stretch"
    ) -> torch.Tensor:
        """The squares of images of one size, uint8 [B, C, H, W]: uint8 [B, C, size, size]."""
        if self.crop is None:
            height, width = pixels.shape[-2:]
            return self.apply(self.frame(0, height, width, fit), pixels)
        each = zip(indices.tolist(), pixels, strict=True)
        return stacked([self.see(index, image, fit) for index, image in each])

    def apply(self, frame: Frame, pixels: torch.Tensor) -> torch.Tensor:
        """The squares of a frame in images uint8 [B, C, H, W]: uint8 [B, C, size, size]."""
        from torch.nn import functional

        top, left, height, width = frame.cut
        part = pixels[..., top : top + height, left : left + width]
        if part.shape[-2:] != frame.size:
            mode = self.interpolation
            part = functional.interpolate(part, size=frame.size, mode=mode, antialias=True)
        y, x = frame.corner
        inside = part[..., max(0, y) : y + self.size, max(0, x) : x + self.size]
        if inside.shape[-2:] == (self.size, self.size):
            return inside
        square = pixels.new_zeros(*pixels.shape[:-2], self.size, self.size)
        y, x = max(0, -y), max(0, -x)
        square[..., y : y + inside.shape[-2], x : x + inside.shape[-1]] = inside
        return square

    def at(self, size: int) -> View:
        """The same view at another size."""
        return replace(self, size=size)


def stacked(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """A batch [B, C, H, W] of images [C, H, W], in the channels-last layout that they come in."""
    import torch

    first, layout = images[0], torch.channels_last
    batch = torch.empty((len(images), *first.shape), dtype=first.dtype, memory_format=layout)
    for place, image in zip(batch, images, strict=True):
        place.copy_(image)
    return batch
