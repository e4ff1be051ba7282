"""Fashion-MNIST: 60,000 images of clothes (Xiao et al. 2017)."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from scalesearch.datasets._array_images import ArrayImages, split_arrays
from scalesearch.datasets._split import PUBLISHED, Split
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
# Where Debian's and Ubuntu's package dataset-fashion-mnist puts the files.
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_IMAGES, _LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"


@dataclass(frozen=True, kw_only=True)
class Dataset(Split):
    """Grey 28x28 images; `test: published` keeps the 10,000 published test images for the end.

    Attributes:
        folder: with the IDX files, gzipped or not, or with torchvision's FashionMNIST/raw.
        download: fetch the files into `folder` through torchvision if they are nowhere.
    """

    task: ClassVar[str] = "classification"
    has_published_test: ClassVar[bool] = True

    folder: Path | None = None
    download: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.download and self.folder is None:
            raise UserError("a download needs a folder", key="folder", allowed="a path")

    def load(self, seed: int) -> ImageData:
        """Finds, reads and splits the published training images."""
        images = _read(*self._needed("train"))
        test = _read(*self._needed("t10k")) if self.test == PUBLISHED else None
        return split_arrays(images, CLASSES, split=self, flip=True, seed=seed, published=test)

    def _needed(self, part: str) -> tuple[Path, Path]:
        """The files of a part, `train` or `t10k`, downloaded if that is asked for."""
        paths = self._find(part)
        if paths is None and self.download and self.folder is not None:
            _download(self.folder)
            paths = self._find(part)
        if paths is None:
            which = "files" if part == "train" else "test files"
            raise UserError(
                f"the {which} of Fashion-MNIST are not in {' or '.join(map(str, self._folders()))}",
                key="folder",
                hint="install the system package dataset-fashion-mnist,"
                " or set `folder` and `download: true`",
            )
        return paths

    def _folders(self) -> list[Path]:
        own = [] if self.folder is None else [self.folder, self.folder / "FashionMNIST" / "raw"]
        return [*own, SYSTEM_FOLDER]

    def _find(self, part: str) -> tuple[Path, Path] | None:
        """The files of images and of labels, in the first folder that has both."""
        for folder in self._folders():
            images, labels = (_existing(folder / name.format(part)) for name in (_IMAGES, _LABELS))
            if images and labels:
                return images, labels
        return None


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file: two zero bytes, the type, the number of sizes, sizes, values.

    Raises:
        UserError: the file is damaged or of another format.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}", hint="fetch the file again") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":  # 8 stands for unsigned bytes
        raise UserError(f"{path} is not an IDX file of bytes", hint="fetch the file again")
    start = 4 + 4 * raw[3]
    complete = len(raw) >= start
    sizes = np.frombuffer(raw, dtype=">u4", count=raw[3], offset=4).tolist() if complete else []
    if not complete or len(raw) - start != math.prod(sizes):
        raise UserError(f"{path} is cut short", hint="fetch the file again")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(sizes)


def _existing(path: Path) -> Path | None:
    """The file, or the same gzipped."""
    return next((one for one in (path, path.with_name(f"{path.name}.gz")) if one.is_file()), None)


def _read(images: Path, labels: Path) -> ArrayImages:
    pixels, classes = read_idx(images), read_idx(labels)
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
