"""From labelled images to a data set: their split, drawn or their own, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from scalesearch.datasets._checked_files import check_skip
from scalesearch.datasets._class_folders import copies_note
from scalesearch.datasets._image_files import check_channels, imagenet_statistics
from scalesearch.datasets._labels import check_names
from scalesearch.datasets._listing import LeftOutFiles, first_few
from scalesearch.datasets._own_parts import (
    WORDS,
    assign,
    limits_of,
    ranges,
    require_share,
    without_copies,
)
from scalesearch.datasets._pixels import Levels, check_levels
from scalesearch.datasets._split import (
    DEFAULT_VALIDATION,
    Parts,
    Split,
    TestImages,
    check_split,
    draw_parts,
    limited,
    notes_on_test,
    shares_of,
)
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData
from scalesearch.view import Fit

One = TypeVar("One")


class SplitOptions(Protocol):
    """Which share of the images is for what, how many there are in all, and what they are."""

    @property
    def validation(self) -> float | None:
        """Share that validates."""

    @property
    def test(self) -> TestImages:
        """Share that is kept for a test, or the name of such images."""

    @property
    def limit(self) -> int | None:
        """The most images."""

    @property
    def channels(self) -> int:
        """3 for colour, 1 for grey."""

    @property
    def flip(self) -> bool:
        """Whether a mirrored image keeps its label."""


def part_of(word: str) -> str | None:
    """`train`, `validation` or `test` for one of the usual words, in any case; None for others."""
    plain = word.strip().lower()
    return next((part for part, words in WORDS.items() if plain in words), None)


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Options of data sets whose images are decoded when they are needed.

    Attributes:
        validation: share of each class kept for validation (0.2 by default); not to be set where
            other images validate.
        test: share of each class that no phase sees, on which the reported networks are scored
            once at the end; or the name of the part that is kept for it, such as `test`.
        limit: at most so many images in all, each class in its proportion; null takes all.
        classes: names of the classes: labels are then one of them, or their position from 0.
        channels: 3 for colour, 1 for grey.
        flip: whether a mirrored image keeps its label (no for text and digits).
        fit: how a square comes of an oblong image: `crop` cuts out the middle, `pad` adds black
            bars, `stretch` changes its shape.
        levels: the values that become black and white in images of more than 8 bits a pixel; by
            default 0 and 65535, or those that the images use if that is less than half of it.
        skip_unreadable: so many files that are no images are left out; more are an error.
    """

    validation: float | None = None
    test: TestImages = None
    limit: int | None = None
    classes: tuple[str, ...] = ()
    channels: Literal[1, 3] = 3
    flip: bool = True
    fit: Fit = "crop"
    levels: Levels | None = None
    skip_unreadable: int = 0

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit, self.test)
        check_channels(self.channels)
        check_levels(self.levels)
        check_names(self.classes)
        check_skip(self.skip_unreadable)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """All images of a data set before they are split.

    Attributes:
        images: with `labels` and `choose`, such as `FolderImages` and `EncodedImages`.
        classes: names, in the order of the labels.
        groups: int64 [N], the same for images that are equal byte for byte.
        own: part (`train`, `validation`, `test`) to how many of them are meant for it, one after
            the other in this order; parts that are not there are drawn.
        name, ending: of an image, for the account: its path, and `.jpg`.
        notes: what is irregular in them, in sentences.
    """

    images: Any
    classes: tuple[str, ...]
    groups: np.ndarray
    own: Mapping[str, int]
    name: Callable[[int], str]
    ending: Callable[[int], str]
    notes: Sequence[str]


def assign_parts(
    parts: Mapping[str, Sequence[One]], options: ImageOptions, path: Path
) -> tuple[dict[str, list[One]], list[str]]:
    """What is to train, to validate and to test, each if something is named so, and notes.

    `parts` are `train`, `validation` and `test`. Test images validate where nothing else does.

    Raises:
        UserError: nothing is to train, or the options ask for what the parts do not leave.
    """
    if "train" not in parts:
        raise UserError(
            f"{path} has no training part, but {' and '.join(sorted(parts))}",
            key="path",
            allowed="a part named train",
        )
    if len(parts) == 1:
        require_share(options.test, path)
        return {"train": list(parts["train"])}, []
    named = {part: Path(part) for part in WORDS if part in parts}
    taken, notes = assign(named, options.validation, options.test, path, "part")
    return {part: list(parts[taken[part].name]) for part in WORDS if part in taken}, notes


def counted(parts: Mapping[str, int]) -> Mapping[str, int]:
    """How many images each part has; nothing if all of them train, so that parts are drawn."""
    return {} if len(parts) == 1 else parts


def split_labelled(
    labelled: Labelled, options: SplitOptions, seed: int, left_out: LeftOutFiles
) -> ImageData:
    """The images split; errors as of `parts_of_labelled`."""
    images, parts = labelled.images, parts_of_labelled(labelled, options, seed, left_out)
    taken = np.concatenate([part for part in parts if part is not None])
    account = left_out.account(f"x{labelled.ending(index)}" for index in taken)
    mean, std = imagenet_statistics(options.channels)
    return ImageData(
        train=images.choose(parts.train),
        validation=images.choose(parts.validation),
        test=None if parts.test is None else images.choose(parts.test),
        classes=labelled.classes,
        channels=options.channels,
        mean=mean,
        std=std,
        flip=options.flip,
        notes=(
            str(account),
            *notes_on_test(parts.test),
            *labelled.notes,
            *_copies(labelled),
        ),
        files=account,
    )


def parts_of_labelled(
    labelled: Labelled, options: SplitOptions, seed: int, left_out: LeftOutFiles
) -> Parts:
    """Indices of the images of each part: its own, or a share; errors as of `Split`.

    Raises:
        UserError: nothing is left to train a class with, or the limit is too small for all parts.
    """
    if labelled.own:
        labels, names = labelled.images.labels, _Names(labelled)
        about = (labels, labelled.classes, labelled.groups, names, labelled.own)
        return own_parts(*about, options, seed, left_out)
    share = DEFAULT_VALIDATION if options.validation is None else options.validation
    split = Split(validation=share, test=options.test, limit=options.limit)
    labels = labelled.images.labels
    parts = split.indices(labels, labelled.classes, seed, labelled.groups)
    left_out.add_rest(len(labels) - parts.total)
    return parts


def _copies(labelled: Labelled) -> list[str]:
    """What is to be said of images that are equal byte for byte, as `copies_note` of files."""
    if len(np.unique(labelled.groups)) == len(labelled.groups):
        return []
    names = tuple(map(labelled.name, range(len(labelled.groups))))
    return copies_note(names, labelled.images.labels, labelled.groups)


def own_parts(
    labels: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray,
    names: Sequence[str],
    own: Mapping[str, int],
    options: SplitOptions,
    seed: int,
    left_out: LeftOutFiles,
) -> Parts:
    """Each part without copies of others and without what is beyond the limit.

    What has no part of its own is drawn from the training images.

    Args:
        labels: int64 [N], of images whose parts follow each other.
        classes: names, in the order of the labels.
        groups: int64 [N], the same for images that are equal byte for byte.
        names: of the images, for the account.
        own: part to how many images are meant for it.
        options: shares and the limit.
        seed: of what is drawn.
        left_out: takes copies, and what is beyond the limit.

    Raises:
        UserError: nothing is left to train a class with, or the limit is too small for all parts.
    """
    if empty := [part for part, count in own.items() if not count]:
        raise UserError(f"the part {empty[0]} has no image", key="path")
    kept = without_copies(ranges(own), groups, names, left_out)
    train = kept["train"]
    if missing := set(range(len(classes))) - set(labels[train].tolist()):
        those = first_few(classes[label] for label in sorted(missing))
        do = "validate or test" if "test" in own else "validate"
        raise UserError(
            f"no image is left to train {those}: all of them {do}, too",
            key="path",
            hint="take other images, or the training part alone, which is then split",
        )
    shares = shares_of(options.validation, options.test)
    if shares := {part: share for part, share in shares.items() if part not in kept}:
        drawn = draw_parts(labels[train], classes, shares, seed, groups[train])
        kept |= {part: train[indices] for part, indices in drawn.items()}
    parts = [kept[part] for part in WORDS if part in kept]
    limits = limits_of([len(part) for part in parts], options.limit, len(classes))
    few = [
        part[limited(labels[part], limit, seed)] for part, limit in zip(parts, limits, strict=True)
    ]
    left_out.add_rest(sum(map(len, parts)) - sum(map(len, few)))
    return Parts(*few)


class _Names(Sequence[str]):
    """The names of images, made when they are asked for."""

    def __init__(self, labelled: Labelled) -> None:
        self._labelled = labelled

    def __len__(self) -> int:
        return len(self._labelled.groups)

    def __getitem__(self, index: Any) -> Any:
        return self._labelled.name(index)
