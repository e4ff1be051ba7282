"""Images with objects made ready for a network: letterboxed, and jittered while training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scalesearch.nn.postprocess import Letterbox

if TYPE_CHECKING:
    from scalesearch.interfaces import Targets

_LEAST_SIDE = 1.0  # pixels of the input: what is left of an object below this is none
_LEAST_SHARE = 0.25  # of an object's area that must be inside, or it cannot be recognised


@dataclass(frozen=True)
class Sample:
    """An image in the network's input, with its objects there.

    Attributes:
        pixels: uint8 [C, R, R].
        boxes: float32 [M, 4] as x0, y0, x1, y1 in pixels of the input.
        labels: int64 [M].
        crowd: bool [M].
        index: of the image in its data set.
        letterbox: how the image lies in the input, if it was letterboxed.
    """

    pixels: Tensor
    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    index: int
    letterbox: Letterbox | None = None


@dataclass(frozen=True)
class Canvas:
    """The input of a network before an image is put into it.

    Attributes:
        resolution: side of the square input in pixels.
        mean: of each channel on the scale 0 to 1: the colour beside the image, which is 0 after
            normalisation.
    """

    resolution: int
    mean: Sequence[float]

    def empty(self) -> Tensor:
        """An input without an image, uint8 [C, R, R]."""
        colour = torch.tensor([round(255 * value) for value in self.mean], dtype=torch.uint8)
        return colour.view(-1, 1, 1).repeat(1, self.resolution, self.resolution)


def letterbox(image: Tensor, targets: Targets, index: int, canvas: Canvas) -> Sample:
    """An image [C, H, W] as large as fits into the upper left of the input, its shape kept."""
    height, width = image.shape[-2:]
    inner = _scaled(height, width, canvas.resolution / max(height, width))
    pixels = _pasted(_resized(image, inner), canvas.empty(), 0, 0)
    boxes = torch.from_numpy(targets.boxes) * _factors(height, width, inner)
    labels, crowd = torch.from_numpy(targets.labels), torch.from_numpy(targets.crowd)
    return Sample(pixels, boxes, labels, crowd, index, Letterbox((height, width), inner))


@dataclass(frozen=True)
class Jitter:
    """How training images are changed at random.

    Attributes:
        scale: from and to, as a multiple of the letterbox's.
        flip: half of the images are mirrored.
    """

    scale: tuple[float, float]
    flip: bool

    def __call__(
        self,
        image: Tensor,
        targets: Targets,
        index: int,
        canvas: Canvas,
        draws: np.random.Generator,
    ) -> Sample:
        """An image [C, H, W] at a random scale and place in the input, mirrored or not.

        What is larger than the input is cut at random, what is smaller leaves the rest empty.
        Objects of which less than a quarter is left are dropped; crowds are not.
        """
        side, (height, width) = canvas.resolution, image.shape[-2:]
        inner = _scaled(height, width, side / max(height, width) * draws.uniform(*self.scale))
        top, left = (int(draws.integers(min(0, side - s), max(0, side - s) + 1)) for s in inner)
        pixels = _pasted(_resized(image, inner), canvas.empty(), top, left)
        boxes = torch.from_numpy(targets.boxes) * _factors(height, width, inner)
        boxes = boxes + torch.tensor([left, top, left, top])
        if self.flip and draws.random() < 0.5:
            pixels = pixels.flip(-1)
            x0, y0, x1, y1 = boxes.unbind(1)
            boxes = torch.stack([side - x1, y0, side - x0, y1], 1)
        cut = boxes.clamp(0, side)
        sides, before = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
        labels, crowd = torch.from_numpy(targets.labels), torch.from_numpy(targets.crowd)
        # What is seen of a crowd is still no background, however little of it that is.
        enough = crowd | (sides.prod(1) >= _LEAST_SHARE * before.prod(1))
        seen = (sides >= _LEAST_SIDE).all(1) & enough
        return Sample(pixels, cut[seen], labels[seen], crowd[seen], index)


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    return max(1, round(height * scale)), max(1, round(width * scale))


def _factors(height: int, width: int, inner: tuple[int, int]) -> Tensor:
    return torch.tensor([inner[1] / width, inner[0] / height] * 2)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]


def _pasted(image: Tensor, canvas: Tensor, top: int, left: int) -> Tensor:
    """A canvas with an image's corner at (top, left); what reaches over is cut."""
    side, y, x = canvas.shape[-1], max(0, top), max(0, left)
    part = image[:, y - top : side - top, x - left : side - left]
    canvas[:, y : y + part.shape[1], x : x + part.shape[2]] = part
    return canvas
