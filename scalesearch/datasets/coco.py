"""COCO: a folder of images and a JSON file of boxes, or two of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from scalesearch.datasets._box_images import FolderBoxes, box_data, check_images
from scalesearch.datasets._coco_annotations import Annotations, read_annotations
from scalesearch.datasets._image_files import check_channels
from scalesearch.datasets._split import DEFAULT_VALIDATION, check_split
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images of any size with boxes in COCO's format.

    Attributes:
        images: the folder that the file names of the annotations are relative to.
        annotations: a JSON file of instances.
        validation_images, validation_annotations: the same of the images to validate with; left
            out, a share of the first is drawn.
        validation: that share, 0.2 by default.
        limit: at most so many training, and so many validation images; null takes all.
        channels: 3 for colour, 1 for grey.
        flip: whether objects may be mirrored (no for text and digits).
    """

    task: ClassVar[str] = "detection"

    images: Path
    annotations: Path
    validation_images: Path | None = None
    validation_annotations: Path | None = None
    validation: float | None = None
    limit: int | None = None
    channels: Literal[1, 3] = 3
    flip: bool = True

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit)
        check_channels(self.channels)
        if self.validation is not None and self.validation_annotations is not None:
            raise UserError(
                "validation_annotations are given already",
                key="validation",
                hint="leave one of the two out",
            )
        if self.validation_images is not None and self.validation_annotations is None:
            raise UserError("validation_annotations are missing", key="validation_images")

    def load(self, seed: int) -> BoxData:
        """Reads the annotations, opens each image once to check that it is one, and splits them."""
        annotations, images = self._read(self.annotations, self.images)
        notes = annotations.notes
        if self.validation_annotations is None:
            share = DEFAULT_VALIDATION if self.validation is None else self.validation
            train, validation = images.split(share, seed)
        else:
            folder = self.validation_images or self.images
            others, validation = self._read(self.validation_annotations, folder)
            if others.categories != annotations.categories:
                raise UserError(
                    "the two files have different categories", key="validation_annotations"
                )
            train = images
            notes += tuple(f"validation: {note}" for note in others.notes)
        return box_data(
            train.limited(self.limit, seed),
            validation.limited(self.limit, seed),
            categories=annotations.categories,
            flip=self.flip,
            notes=notes,
        )

    def _read(self, annotations_path: Path, folder: Path) -> tuple[Annotations, FolderBoxes]:
        annotations = read_annotations(annotations_path, folder)
        check_images(annotations.images)
        return annotations, FolderBoxes(annotations.images, self.channels)
