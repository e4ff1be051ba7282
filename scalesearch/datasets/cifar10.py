"""CIFAR-10: 50,000 small colour photographs (Krizhevsky 2009), through torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from scalesearch.datasets._array_images import ArrayImages, split_arrays
from scalesearch.datasets._split import Split
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData


@dataclass(frozen=True, kw_only=True)
class Dataset(Split):
    """Colour 32x32 images; the published test images are not read: keep them for a final test.

    Attributes:
        folder: with torchvision's cifar-10-batches-py.
        download: fetch it into `folder` if it is not there.
    """

    task: ClassVar[str] = "classification"

    folder: Path
    download: bool = False

    def load(self, seed: int) -> ImageData:
        """Reads and splits the published training images."""
        from torchvision.datasets import CIFAR10

        try:
            cifar = CIFAR10(self.folder, train=True, download=self.download)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"cannot read CIFAR-10 from {self.folder}: {error}",
                key="folder",
                hint="set `download: true` where there is a network, or unpack"
                " https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz there",
            ) from error
        images = ArrayImages(cifar.data, np.asarray(cifar.targets, dtype=np.int64))
        return split_arrays(images, cifar.classes, split=self, flip=True, seed=seed)
