"""Fashion-MNIST: 60,000 images of clothes (Xiao et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from scalesearch.datasets import _idx
from scalesearch.datasets._arrays import ArrayImages, split_arrays
from scalesearch.datasets._split import Split
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Where Debian's and Ubuntu's package dataset-fashion-mnist puts the files.
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_IMAGES, _LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@dataclass(frozen=True, kw_only=True)
class Dataset(Split):
    """Grey 28x28 images; the published test images stay unread, for a last test of your own.

    Attributes:
        folder: with the IDX files, gzipped or not, or with torchvision's FashionMNIST/raw.
        download: fetch the files into `folder` through torchvision if they are nowhere.
    """

    task: ClassVar[str] = "classification"

    folder: Path | None = None
    download: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.download and self.folder is None:
            raise UserError("a download needs a folder", key="folder", allowed="a path")

    def load(self, seed: int) -> ImageData:
        """Finds, reads and splits the published training images."""
        found = self._find()
        if found is None and self.download and self.folder is not None:
            _download(self.folder)
            found = self._find()
        if found is None:
            raise UserError(
                f"the files of Fashion-MNIST are not in {' or '.join(map(str, self._folders()))}",
                key="folder",
                hint="install the system package dataset-fashion-mnist,"
                " or set `folder` and `download: true`",
            )
        return split_arrays(_read(*found), CLASSES, split=self, flip=True, seed=seed)

    def _folders(self) -> list[Path]:
        own = [] if self.folder is None else [self.folder, self.folder / "FashionMNIST" / "raw"]
        return [*own, SYSTEM_FOLDER]

    def _find(self) -> tuple[Path, Path] | None:
        for folder in self._folders():
            images, labels = _idx.find(folder, _IMAGES), _idx.find(folder, _LABELS)
            if images and labels:
                return images, labels
        return None


def _read(images: Path, labels: Path) -> ArrayImages:
    pixels, classes = _idx.read(images), _idx.read(labels)
    if pixels.ndim != 3 or classes.shape != pixels.shape[:1] or classes.max(initial=0) > 9:
        raise UserError(f"{images} and {labels} are not images and their labels", key="folder")
    return ArrayImages(pixels[..., None], classes.astype(np.int64))


def _download(folder: Path) -> None:
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"Fashion-MNIST could not be downloaded: {error}",
            key="download",
            hint="check the network, or install the system package dataset-fashion-mnist",
        ) from error
