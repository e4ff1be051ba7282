"""Images that are held in memory as one array."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from scalesearch.datasets._class_folders import copies_note
from scalesearch.datasets._listing import LeftOutFiles
from scalesearch.datasets._own_parts import limits_of, ranges, without_copies
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

    `published` are test images that are apart already; a limit takes of them in proportion. Equal
    images stay together, and training images that are among the published ones are left out.
    """
    own = {"train": len(images)} | ({} if published is None else {"test": len(published)})
    every = [images] if published is None else [images, published]
    groups = equal_groups([each.pixels for each in every])
    labels, names = np.concatenate([each.labels for each in every]), numbered(own)
    about_copies, left_out = copies_note(names, labels, groups, "images"), LeftOutFiles(Path())
    if published is not None:
        train = without_copies(ranges(own), groups, names, left_out)["train"]
        if len(train) < len(images):
            images = images.choose(train)
        groups = groups[train]
        total = len(images) + len(published)
        limit = None if split.limit is None or split.limit >= total else split.limit
        of_train, of_test = limits_of([len(images), len(published)], limit, len(classes))
        published = published.choose(limited(published.labels, of_test, seed))
        split = replace(split, limit=of_train)
    parts = split.indices(images.labels, classes, seed, groups)
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
        notes=(*notes_on_left_out(left_out), *notes_on_test(test), *about_copies),
    )


def equal_groups(parts: Sequence[np.ndarray]) -> np.ndarray:
    """A number for each image, the same for equal ones and for no others, int64 [N].

    Args:
        parts: uint8 [n, H, W, C] each, which may have copies of each other's; N images in all.
    """
    first: dict[bytes, int] = {}
    groups = [
        first.setdefault(hashlib.blake2b(pixels, digest_size=16).digest(), len(first))
        for part in parts
        for pixels in np.ascontiguousarray(part)
    ]
    return np.array(groups, np.int64)


def numbered(own: Mapping[str, int]) -> list[str]:
    """What images are called in notes, which have no names: `train 17`, from 0 in each part."""
    return [f"{part} {number}" for part, count in own.items() for number in range(count)]


def notes_on_left_out(left_out: LeftOutFiles) -> list[str]:
    """What is said of images that are in no part, if there are some."""
    return [f"left out are {left_out}"] if str(left_out) else []


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
