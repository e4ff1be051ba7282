"""Images that are held in memory as one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scalesearch.datasets._own_parts import limits_of
from scalesearch.datasets._split import Split, limited, notes_on_test
from scalesearch.interfaces import ImageData, View

if TYPE_CHECKING:
    import torch

_CHUNK = 4096


@dataclass(frozen=True)
class ArrayImages:
    """Images as one array, which may be read-only (Ray shares it between workers).

    Attributes:
        pixels: uint8 [N, H, W, C].
        labels: int64 [N].
    """

    in_memory: ClassVar[bool] = True

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def choose(self, indices: np.ndarray) -> ArrayImages:
        """Some of the images, in the order of the indices."""
        return ArrayImages(self.pixels[indices], self.labels[indices])

    def batch(self, indices: np.ndarray, view: View) -> torch.Tensor:
        """What a view shows of the images, uint8 [B, C, size, size]; oblong ones are stretched."""
        # Here and not above: the process that only reads and splits the images needs no torch.
        import torch

        images = torch.from_numpy(self.pixels[indices]).permute(0, 3, 1, 2)
        return view.see_all(indices, images)


def split_arrays(
    images: ArrayImages,
    classes: Sequence[str],
    *,
    split: Split,
    flip: bool,
    seed: int,
    published: ArrayImages | None = None,
) -> ImageData:
    """The images in their parts, with the statistics of the training part.

    `published` are test images that are apart already; a limit takes of them in proportion.
    """
    if published is not None:
        total = len(images) + len(published)
        limit = None if split.limit is None or split.limit >= total else split.limit
        own, of_test = limits_of([len(images), len(published)], limit, len(classes))
        published = published.choose(limited(published.labels, of_test, seed))
        split = replace(split, limit=own)
    parts = split.indices(images.labels, classes, seed)
    training_images = images.choose(parts.train)
    test = published if parts.test is None else images.choose(parts.test)
    mean, std = channel_statistics(training_images.pixels)
    return ImageData(
        train=training_images,
        validation=images.choose(parts.validation),
        test=test,
        classes=tuple(classes),
        channels=images.pixels.shape[-1],
        mean=mean,
        std=std,
        flip=flip,
        notes=tuple(notes_on_test(test)),
    )


def channel_statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 [N, H, W, C], on the scale 0 to 1."""
    count = pixels[..., 0].size
    total = np.zeros(pixels.shape[-1])
    squares = np.zeros(pixels.shape[-1])
    for start in range(0, len(pixels), _CHUNK):
        chunk = pixels[start : start + _CHUNK].astype(np.float64) / 255
        total += chunk.sum((0, 1, 2))
        squares += np.square(chunk).sum((0, 1, 2))
    mean = total / count
    # One grey level at least, so that a channel without contrast can be divided by it.
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 1 / 255**2))
    return tuple(mean.tolist()), tuple(std.tolist())
