"""Your own images: one sub-folder for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from scalesearch.datasets._image_files import (
    FolderImages,
    check_channels,
    check_headers,
    imagenet_statistics,
    list_classes,
)
from scalesearch.datasets._split import DEFAULT_VALIDATION, Split, check_split, limited
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData


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
