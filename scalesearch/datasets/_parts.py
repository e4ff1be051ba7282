"""From labelled images to a data set: their split, drawn or their own, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from scalesearch.datasets._class_folders import copies_note
from scalesearch.datasets._image_files import check_channels, imagenet_statistics
from scalesearch.datasets._labels import check_names
from scalesearch.datasets._listing import LeftOutFiles, first_few
from scalesearch.datasets._pixels import Levels, check_levels
from scalesearch.datasets._split import DEFAULT_VALIDATION, Split, check_split, limited
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData
from scalesearch.view import Fit

One = TypeVar("One")

# Words for the parts of a split, as folders have them; test images validate where no others do.
_WORDS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validate", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}


def part_of(word: str) -> str | None:
    """`train`, `validation` or `test` for one of the usual words, in any case; None for others."""
    plain = word.strip().lower()
    return next((part for part, words in _WORDS.items() if plain in words), None)


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Options of data sets whose images are decoded when they are needed.

    Attributes:
        validation: share of each class kept for validation (0.2 by default); not to be set where
            other images validate.
        limit: at most so many images in all, each class in its proportion; null takes all.
        classes: names of the classes: labels are then one of them, or their position from 0.
        channels: 3 for colour, 1 for grey.
        flip: whether a mirrored image keeps its label (no for text and digits).
        fit: how a square comes of an oblong image: `crop` cuts out the middle, `pad` adds black
            bars, `stretch` changes its shape.
        levels: the values that become black and white in images of more than 8 bits a pixel; by
            default 0 and 65535, or those that the images use if that is less than half of it.
    """

    validation: float | None = None
    limit: int | None = None
    classes: tuple[str, ...] = ()
    channels: Literal[1, 3] = 3
    flip: bool = True
    fit: Fit = "crop"
    levels: Levels | None = None

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit)
        check_channels(self.channels)
        check_levels(self.levels)
        check_names(self.classes)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """All images of a data set before they are split.

    Attributes:
        images: with `labels` and `choose`, such as `FolderImages` and `EncodedImages`.
        classes: names, in the order of the labels.
        groups: int64 [N], the same for images that are equal byte for byte.
        train: how many of them, the first ones, are meant to train; 0 if that is to be drawn.
        name, ending: of an image, for the account: its path, and `.jpg`.
        notes: what is irregular in them, in sentences.
    """

    images: Any
    classes: tuple[str, ...]
    groups: np.ndarray
    train: int
    name: Callable[[int], str]
    ending: Callable[[int], str]
    notes: Sequence[str]


def two_parts(
    parts: Mapping[str, Sequence[One]], share: float | None, what: str
) -> tuple[list[One], list[One], str]:
    """What is to train, what is to validate (nothing if a share of it is drawn), and a note.

    `parts` are `train`, `validation` and `test`. Test images validate where nothing else does.

    Raises:
        UserError: nothing is to train, or a share is asked for where others validate.
    """
    train, validation, test = (list(parts.get(part, ())) for part in _WORDS)
    if not train:
        raise UserError(
            f"{what} has no training part, but {' and '.join(sorted(parts))}",
            key="path",
            allowed="a part named train",
        )
    if validation and share is not None:
        raise UserError(
            f"{what} holds its own split, train and validation",
            key="validation",
            hint="leave it out",
        )
    if validation:
        return train, validation, f"the parts train and validation of {what} are the split"
    if test and share is None:
        return train, test, f"the parts train and test of {what} are the split"
    return train, [], f"a share of the part train of {what} validates"


def split_labelled(
    labelled: Labelled, options: ImageOptions, seed: int, left_out: LeftOutFiles
) -> ImageData:
    """The images split in two; errors as of `own_parts` and of `Split`."""
    labels = labelled.images.labels
    if labelled.train:
        train, validation = own_parts(labelled, options.limit, seed, left_out)
    else:
        share = DEFAULT_VALIDATION if options.validation is None else options.validation
        split = Split(validation=share, limit=options.limit)
        parts = split.indices(labels, labelled.classes, seed, labelled.groups)
        train, validation = parts[0], parts[1]
        left_out.add_rest(len(labels) - len(train) - len(validation))
    account = left_out.account(f"x{labelled.ending(index)}" for index in (*train, *validation))
    mean, std = imagenet_statistics(options.channels)
    return ImageData(
        train=labelled.images.choose(train),
        validation=labelled.images.choose(validation),
        classes=labelled.classes,
        channels=options.channels,
        mean=mean,
        std=std,
        flip=options.flip,
        notes=(str(account), *labelled.notes, *copies(labelled)),
        files=account,
    )


def copies(labelled: Labelled) -> list[str]:
    """What is to be said of images that are equal byte for byte, as `copies_note` of files."""
    if len(np.unique(labelled.groups)) == len(labelled.groups):
        return []
    names = tuple(map(labelled.name, range(len(labelled.groups))))
    return copies_note(names, labelled.images.labels, labelled.groups)


def own_parts(
    labelled: Labelled, limit: int | None, seed: int, left_out: LeftOutFiles
) -> tuple[np.ndarray, np.ndarray]:
    """Training images that stand in neither other part nor beyond the limit, and the others.

    Raises:
        UserError: nothing is left to train a class with, or the limit is too small for both parts.
    """
    labels, groups, classes = labelled.images.labels, labelled.groups, labelled.classes
    every = np.arange(len(groups))
    train, validation = every[: labelled.train], every[labelled.train :]
    both = np.isin(groups[train], groups[validation])
    for index in train[both]:
        left_out.add("of the training images that validate, too", labelled.name(index))
    train = train[~both]
    if missing := set(range(len(classes))) - set(labels[train].tolist()):
        names = first_few(classes[label] for label in sorted(missing))
        raise UserError(
            f"no image is left to train {names}: all of them validate, too",
            key="path",
            hint="validate with other images, or with a share of the training images",
        )
    if limit is None:
        return train, validation
    total = len(train) + len(validation)
    if limit < 2 * len(classes):
        raise UserError(
            f"{limit} images cannot show {len(classes)} classes in both parts",
            key="limit",
            allowed=f"{2 * len(classes)} or more, or null",
        )
    # In proportion, but an image of each class at least.
    most = min(len(validation), limit - len(classes))
    of_validation = min(max(limit * len(validation) // total, len(classes)), most)
    train, validation = (
        part[limited(labels[part], count, seed)]
        for part, count in ((train, limit - of_validation), (validation, of_validation))
    )
    left_out.add_rest(total - len(train) - len(validation))
    return train, validation
