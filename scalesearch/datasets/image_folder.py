"""Anyone's own images: one sub-folder for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from scalesearch.datasets._folder import FolderImages, check_headers, list_classes
from scalesearch.datasets._split import check_limit, check_validation, limited, stratified
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData

# Of ImageNet's training images, as every pretrained network takes them.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DEFAULT_VALIDATION = 0.2


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
        check_limit(self.limit)
        if self.validation is not None:
            check_validation(self.validation)
        if self.channels not in (1, 3):
            raise UserError(f"{self.channels!r} cannot be used", key="channels", allowed="1 or 3")

    def load(self, seed: int) -> ImageData:
        """Lists the images, opens each once to see that it is one, and splits them."""
        if not self.path.is_dir():
            raise UserError(f"there is no folder {self.path}", key="path")
        parts = [self.path / "train", self.path / "val"]
        if all(part.is_dir() for part in parts):
            train, validation, classes = self._own_split(parts, seed)
        else:
            train, validation, classes = self._drawn_split(seed)
        grey = self.channels == 1
        return ImageData(
            train=train,
            validation=validation,
            classes=classes,
            channels=self.channels,
            mean=(sum(_MEAN) / 3,) if grey else _MEAN,
            std=(sum(_STD) / 3,) if grey else _STD,
            flip=self.flip,
        )

    def _drawn_split(self, seed: int) -> tuple[FolderImages, FolderImages, tuple[str, ...]]:
        images, classes = self._read(self.path)
        kept = limited(images.labels, self.limit, seed)
        share = _DEFAULT_VALIDATION if self.validation is None else self.validation
        train, validation = stratified(images.labels[kept], classes, share, seed)
        return _choose(images, kept[train]), _choose(images, kept[validation]), classes

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
            _choose(images, limited(images.labels, self.limit * len(images) // total, seed))
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


def _choose(images: FolderImages, indices: np.ndarray) -> FolderImages:
    paths = tuple(images.paths[index] for index in indices)
    return FolderImages(paths, images.labels[indices], images.channels)
