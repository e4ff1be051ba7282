"""CIFAR-10: 50,000 small colour photographs (Krizhevsky 2009), through torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from scalesearch.datasets._array_images import ArrayImages, split_arrays
from scalesearch.datasets._split import PUBLISHED, Split
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData


@dataclass(frozen=True, kw_only=True)
class Dataset(Split):
    """Colour 32x32 images; `test: published` keeps the 10,000 published test images for the end.

    Attributes:
        folder: with torchvision's cifar-10-batches-py.
        download: fetch it into `folder` if it is not there.
    """

    task: ClassVar[str] = "classification"
    has_published_test: ClassVar[bool] = True

    folder: Path
    download: bool = False

    def load(self, seed: int) -> ImageData:
        """Reads and splits the published training images."""
        images, classes = self._read(train=True)
        test = self._read(train=False)[0] if self.test == PUBLISHED else None
        return split_arrays(images, classes, split=self, flip=True, seed=seed, published=test)

    def _read(self, *, train: bool) -> tuple[ArrayImages, Sequence[str]]:
        """The published images of a part, and the names of the classes."""
        from torchvision.datasets import CIFAR10

        try:
            cifar = CIFAR10(self.folder, train=train, download=self.download)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"cannot read CIFAR-10 from {self.folder}: {error}",
                key="folder",
                hint="set `download: true` where there is a network, or unpack"
                " https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz there",
            ) from error
        return ArrayImages(cifar.data, np.asarray(cifar.targets, dtype=np.int64)), cifar.classes
