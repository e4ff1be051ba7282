"""COCO: a folder of images and a JSON file of boxes, or two of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from scalesearch.datasets._boxes import FolderBoxes, check_images, notes
from scalesearch.datasets._coco import Annotated, read_annotations
from scalesearch.datasets._folder import some
from scalesearch.datasets._split import check_limit, check_validation
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData

# Of ImageNet's training images, as every pretrained network takes them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
        check_limit(self.limit)
        if self.validation is not None:
            check_validation(self.validation)
            if self.validation_annotations is not None:
                raise UserError(
                    "validation_annotations are given already",
                    key="validation",
                    hint="leave one of the two out",
                )
        if self.validation_images is not None and self.validation_annotations is None:
            raise UserError("validation_annotations are missing", key="validation_images")
        if self.channels not in (1, 3):
            raise UserError(f"{self.channels!r} cannot be used", key="channels", allowed="1 or 3")

    def load(self, seed: int) -> BoxData:
        """Reads the annotations, opens each image once to see that it is one, and splits them."""
        given = read_annotations(self.annotations)
        train = self._images(given, self.images)
        odd = notes(given.odd)
        if self.validation_annotations is None:
            share = 0.2 if self.validation is None else self.validation
            train, validation = split_boxes(train, share, seed)
        else:
            other = read_annotations(self.validation_annotations)
            if other.categories != given.categories:
                raise UserError(
                    "the two files have different categories", key="validation_annotations"
                )
            validation = self._images(other, self.validation_images or self.images)
            odd += tuple(f"validation: {note}" for note in notes(other.odd))
        return box_data(
            limited_boxes(train, self.limit, seed),
            limited_boxes(validation, self.limit, seed),
            given,
            channels=self.channels,
            flip=self.flip,
            odd=odd,
        )

    def _images(self, given: Annotated, folder: Path) -> FolderBoxes:
        for file in given.files:
            if Path(file).is_absolute() or ".." in Path(file).parts:
                raise UserError(f"{file!r} leads out of the folder", key="images")
        paths = [folder / file for file in given.files]
        check_images(paths, given.sizes)
        names = tuple(map(str, paths))
        return FolderBoxes(given.ids, names, given.sizes, given.targets, self.channels)


def box_data(
    train: FolderBoxes,
    validation: FolderBoxes,
    given: Annotated,
    *,
    channels: int,
    flip: bool,
    odd: tuple[str, ...] = (),
) -> BoxData:
    """A data set of objects; refused where there is nothing to learn from or to validate with."""
    for name, images in (("training", train), ("validation", validation)):
        if not any((~objects.crowd).any() for objects in images.objects):
            raise UserError(f"no {name} image has a box", key="annotations")
    classes, grey = tuple(given.categories.values()), channels == 1
    return BoxData(
        train=train,
        validation=validation,
        classes=classes,
        category_ids=tuple(given.categories),
        channels=channels,
        mean=(sum(MEAN) / 3,) if grey else MEAN,
        std=(sum(STD) / 3,) if grey else STD,
        flip=flip,
        notes=odd + _unlearned(train, classes),
    )


def _unlearned(train: FolderBoxes, classes: Sequence[str]) -> tuple[str, ...]:
    """Says which classes no training image shows: their average precision will be 0."""
    shown = {label for one in train.objects for label in one.labels[~one.crowd].tolist()}
    names = [name for label, name in enumerate(classes) if label not in shown]
    return (f"classes without a box to learn from: {some(names)}",) if names else ()


def split_boxes(images: FolderBoxes, share: float, seed: int) -> tuple[FolderBoxes, FolderBoxes]:
    """Training and validation images: `share` of all validates, drawn from the seed."""
    order = np.random.default_rng(seed).permutation(len(images))
    count = round(len(images) * share)
    if not 0 < count < len(images):
        raise UserError(
            f"{share:g} of {len(images)} images leaves nothing to train or to validate with",
            key="validation",
        )
    return images.choose(np.sort(order[count:])), images.choose(np.sort(order[:count]))


def limited_boxes(images: FolderBoxes, limit: int | None, seed: int) -> FolderBoxes:
    """At most `limit` of the images, drawn from the seed."""
    if limit is None or limit >= len(images):
        return images
    order = np.random.default_rng(seed).permutation(len(images))
    return images.choose(np.sort(order[:limit]))
