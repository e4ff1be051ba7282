"""Your own images: one sub-folder for each class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from PIL import Image

from scalesearch.datasets._image_files import (
    check_channels,
    check_headers,
    first_few,
    imagenet_statistics,
    read_upright,
)
from scalesearch.datasets._split import DEFAULT_VALIDATION, Split, check_split, limited
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData

if TYPE_CHECKING:
    import torch

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images of any size (jpg, png, webp, bmp), decoded when they are needed.

    Attributes:
        path: a folder with one sub-folder for each class; or with `train` and `val`, each holding
            the same classes, which are then the split.
        validation: share of each class kept for validation (0.2 by default); not to be set when
            the folder holds its own split.
        limit: at most so many images in all, each class in its proportion; null takes all.
        channels: 3 for colour, 1 for grey.
        flip: whether a mirrored image keeps its label (no for text and digits).
    """

    task: ClassVar[str] = "classification"

    path: Path
    validation: float | None = None
    limit: int | None = None
    channels: Literal[1, 3] = 3
    flip: bool = True

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit)
        check_channels(self.channels)

    def load(self, seed: int) -> ImageData:
        """Lists the images, opens each once to check that it is one, and splits them."""
        if not self.path.is_dir():
            raise UserError(f"there is no folder {self.path}", key="path")
        parts = [self.path / "train", self.path / "val"]
        if all(part.is_dir() for part in parts):
            train, validation, classes = self._own_split(parts, seed)
        else:
            images, classes = self._read(self.path)
            share = DEFAULT_VALIDATION if self.validation is None else self.validation
            split = Split(validation=share, limit=self.limit)
            train, validation = map(images.choose, split.indices(images.labels, classes, seed))
        mean, std = imagenet_statistics(self.channels)
        return ImageData(
            train=train,
            validation=validation,
            classes=classes,
            channels=self.channels,
            mean=mean,
            std=std,
            flip=self.flip,
        )

    def _own_split(
        self, parts: list[Path], seed: int
    ) -> tuple[FolderImages, FolderImages, tuple[str, ...]]:
        if self.validation is not None:
            raise UserError(
                f"{self.path} holds its own split, train and val",
                key="validation",
                hint=f"leave it out, or set path: {parts[0]} to split that part alone",
            )
        (train, classes), (validation, others) = (self._read(part) for part in parts)
        if classes != others:
            differing = ", ".join(sorted(set(classes) ^ set(others)))
            raise UserError(f"train and val do not hold the same classes: {differing}", key="path")
        if self.limit is None:
            return train, validation, classes
        total = len(train) + len(validation)
        train, validation = (
            images.choose(limited(images.labels, self.limit * len(images) // total, seed))
            for images in (train, validation)
        )
        return train, validation, classes

    def _read(self, folder: Path) -> tuple[FolderImages, tuple[str, ...]]:
        files = list_classes(folder)
        paths = [path for members in files.values() for path in members]
        check_headers(paths)
        labels = np.repeat(np.arange(len(files)), [len(members) for members in files.values()])
        images = FolderImages(tuple(map(str, paths)), labels.astype(np.int64), self.channels)
        return images, tuple(files)


@dataclass(frozen=True)
class FolderImages:
    """Image files with labels.

    Attributes:
        paths: one for each image.
        labels: int64 [N].
        channels: 3 for colour, 1 for grey.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    def choose(self, indices: np.ndarray) -> FolderImages:
        """Some of the images, in the order of the indices."""
        paths = tuple(self.paths[index] for index in indices)
        return FolderImages(paths, self.labels[indices], self.channels)

    def batch(self, indices: np.ndarray, resolution: int) -> torch.Tensor:
        """The images as uint8 [B, C, resolution, resolution]: shorter side resized, centre cut out.

        Raises:
            TrialError: a file cannot be decoded; it is named.
        """
        # Here and not above: the process that only lists the images needs no torch.
        import torch

        def read(index: int) -> np.ndarray:
            return decode(self.paths[index], self.channels, resolution)

        # As many as the worker may compute with, so that workers do not compete; two at least, as
        # files may come over a network.
        threads = max(2, torch.get_num_threads())
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            pixels = np.stack(list(pool.map(read, indices.tolist())))
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def decode(path: str, channels: int, resolution: int) -> np.ndarray:
    """The middle square of an image as uint8 [resolution, resolution, channels], antialiased."""
    # A large JPEG is decoded at a half, quarter or eighth, never below twice the goal.
    upright = read_upright(path, channels, least=2 * resolution)
    side = min(upright.size)
    left, top = ((length - side) / 2 for length in upright.size)
    square = upright.resize(
        (resolution, resolution),
        Image.Resampling.BILINEAR,
        box=(left, top, left + side, top + side),
    )
    return np.asarray(square).reshape(resolution, resolution, channels)


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """Class name to its image files, both sorted: one class for each sub-folder.

    Raises:
        UserError: fewer than two classes, or a class without an image.
    """
    entries = (entry for entry in folder.iterdir() if entry.is_dir())
    classes = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    if len(classes) < 2:
        raise UserError(
            f"{folder} holds {len(classes)} sub-folders: there are no classes to tell apart",
            key="path",
            allowed="two or more sub-folders, one for each class",
        )
    files = {name: _images_in(folder / name) for name in classes}
    empty = [name for name in classes if not files[name]]
    if empty:
        raise UserError(
            f"no image in {first_few([str(folder / name) for name in empty])}",
            key="path",
            allowed="files that end in " + ", ".join(SUFFIXES),
        )
    return files


def _images_in(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in files if path.is_file() and not path.name.startswith("."))
