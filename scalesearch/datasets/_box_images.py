"""Image files with boxes: what the formats of annotations have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scalesearch.datasets._boxes import BoxCheck, Size, turned
from scalesearch.datasets._checked_files import CheckedFiles
from scalesearch.datasets._image_files import (
    ROTATED,
    Header,
    imagenet_statistics,
)
from scalesearch.datasets._listing import LeftOutFiles, first_few
from scalesearch.datasets._own_parts import ranges, without_copies
from scalesearch.datasets._pixels import (
    Levels,
    Reading,
    all_undecodable,
    choose_levels,
    notes_on,
    read_array,
)
from scalesearch.datasets._split import Parts, limited, notes_on_test, take_groups
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData, Targets

if TYPE_CHECKING:
    import torch


_CROWD = "neither learned nor scored, whether they are found or not"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxImage:
    """An image file and its objects; `id` as in its annotations, `size` as height and width."""

    id: int
    path: str
    size: tuple[int, int]
    targets: Targets


@dataclass(frozen=True)
class FolderBoxes:
    """Image files with their objects, and how pixels are read."""

    images: tuple[BoxImage, ...]
    reading: Reading

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The id of each image in its annotations."""
        return tuple(image.id for image in self.images)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The file of each image."""
        return tuple(image.path for image in self.images)

    def image(self, index: int) -> torch.Tensor:
        """An image as uint8 [C, H, W].

        Raises:
            UserError: its file is damaged; all that are, of all of these images, are named.
            TrialError: its file cannot be read now.
        """
        # Here and not above: the process that only lists the images needs no torch.
        import torch

        try:
            pixels = read_array(self.images[index].path, self.reading)
        except UserError as error:
            raise all_undecodable(error, self.paths) from error
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def targets(self, index: int) -> Targets:
        """The objects of an image."""
        return self.images[index].targets

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        return self.images[index].size

    def choose(self, indices: Sequence[int] | np.ndarray) -> FolderBoxes:
        """Some of the images, in the order of the indices."""
        return replace(self, images=tuple(self.images[index] for index in indices))


class BoxObject(NamedTuple):
    """One object: its box as written; an area of 0 stands for that of the box."""

    box: Sequence[float]
    category: Any
    crowd: bool
    area: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """An image as its annotations have it.

    Attributes:
        id: of the image.
        path: of its file.
        size: height and width; None where the annotations do not say.
        objects: boxes in pixels, not yet clipped.
    """

    id: int
    path: str
    size: tuple[int, int] | None
    objects: Sequence[BoxObject]


@dataclass(frozen=True, kw_only=True)
class BoxFiles:
    """All images of a data set before they are split.

    Attributes:
        images: with their objects.
        groups: int64 [N], the same for files that are equal byte for byte.
        notes: what is irregular in them, in sentences.
    """

    images: FolderBoxes
    groups: np.ndarray
    notes: tuple[str, ...]


def readable(
    annotated: Sequence[Annotated], counts: Mapping[str, int], checked: CheckedFiles
) -> tuple[list[Annotated], dict[str, int]]:
    """The images of files that can be read, and how many of them each part has."""
    kept = [one.path not in checked.unreadable for one in annotated]
    ends = pairwise(np.cumsum([0, *counts.values()]).tolist())
    left = {part: sum(kept[start:end]) for part, (start, end) in zip(counts, ends, strict=True)}
    return list(compress(annotated, kept)), left


def read_box_files(
    annotated: Sequence[Annotated],
    labels: Mapping[Any, int],
    checked: CheckedFiles,
    *,
    check: BoxCheck,
    channels: int,
    levels: Levels | None,
) -> BoxFiles:
    """Lays the boxes into their images; `labels` are those of the categories.

    Boxes are of the upright image, unless the annotations show that they are of the image as it is
    stored, by a width and height that are those of the stored image. They are turned then.

    Raises:
        UserError: images that differ in size from their annotations; boxes that cannot be what they
            are taken for.
    """
    paths = [one.path for one in annotated]
    place = {path: place for place, path in enumerate(checked.paths)}
    places = [place[path] for path in paths]
    headers = [checked.headers[place] for place in places]
    _check_sizes(annotated, headers)
    chosen, of_levels = choose_levels(levels, paths, headers)
    reading = Reading(channels=channels, levels=chosen)
    stored = _stored_frames(annotated, headers)
    images = tuple(
        BoxImage(
            id=one.id,
            path=one.path,
            size=header.size,
            targets=_make_targets(one.objects, labels, header, of_stored, check),
        )
        for one, header, of_stored in zip(annotated, headers, stored, strict=True)
    )
    check.check()
    groups = checked.groups[places]
    notes = [*checked.notes, *check.notes(), *of_levels, *notes_on(headers, reading, boxes=True)]
    for count, text in (
        (
            sum(one.size is None for one in annotated),
            "have the size of their file: there is no other",
        ),
        (sum(stored), "have boxes of the image before it is turned, which are turned with it"),
        (sum(not one.objects for one in annotated), "have no box: all of them is background"),
        (
            len(groups) - len(np.unique(groups)),
            "are copies of others: none validates what one trains",
        ),
    ):
        if count:
            notes.append(f"{count:,} of {len(images):,} images {text}")
    return BoxFiles(images=FolderBoxes(images, reading), groups=groups, notes=tuple(notes))


def _check_sizes(annotated: Sequence[Annotated], headers: Sequence[Header]) -> None:
    wrong = [
        f"{one.path} is {header.size[1]} x {header.size[0]}, not {one.size[1]} x {one.size[0]}"
        for one, header in zip(annotated, headers, strict=True)
        if one.size is not None and one.size not in (header.size, header.stored_size)
    ]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(headers)} images differ in width and height from their "
            f"annotations: {first_few(wrong)}",
            key="images",
            hint="are these the images that the boxes were drawn in?",
        )


def _stored_frames(annotated: Sequence[Annotated], headers: Sequence[Header]) -> list[bool]:
    """Whether the boxes of each image are those of the image before it is turned upright.

    Width and height show it where a side becomes the other. Where all such images are annotated
    as they are stored, the others that are turned are as well: one program wrote them all.
    """
    shown = [
        one.size == header.stored_size
        for one, header in zip(annotated, headers, strict=True)
        if header.orientation in ROTATED and one.size and header.size != header.stored_size
    ]
    every = bool(shown) and all(shown)
    return [
        header.orientation != 1
        and (every or (one.size == header.stored_size and one.size != header.size))
        for one, header in zip(annotated, headers, strict=True)
    ]


def _make_targets(
    objects: Sequence[BoxObject],
    labels: Mapping[Any, int],
    header: Header,
    of_stored: bool,
    check: BoxCheck,
) -> Targets:
    """The objects of an image as arrays; those whose boxes cannot be used are left out."""
    size: Size = header.stored_size if of_stored else header.size
    kept = []
    for one in objects:
        box = check.clipped(one.box, size)
        if box is not None:
            corners = turned(box, header.orientation, size) if of_stored else box
            kept.append((corners, one))
    boxes = np.array([box for box, _ in kept]).reshape(-1, 4)
    areas = np.array([one.area for _, one in kept], np.float64)
    return Targets(
        boxes=boxes.astype(np.float32),
        labels=np.array([labels[one.category] for _, one in kept], np.int64),
        crowd=np.array([one.crowd for _, one in kept], bool),
        areas=np.where(areas > 0, areas, (boxes[:, 2:] - boxes[:, :2]).prod(1)),
    )


def split_files(
    files: BoxFiles,
    own: Mapping[str, int],
    shares: Mapping[str, float],
    limit: int | None,
    seed: int,
    left_out: LeftOutFiles,
) -> Parts:
    """Indices of the images of each part, at most `limit` of a part, drawn by the seed.

    An image that stands in several parts tests, or else validates, alone.

    Args:
        files: of `train`, `validation` and `test`, or of some of these, in this order.
        own: how many images are meant for each.
        shares: of the training images for the parts that have none of their own, in the order of
            drawing: a part does not depend on those after it.
        limit: None takes all.
        seed: of the draws.
        left_out: takes what is in no part.

    Raises:
        UserError: nothing is left to train, to validate or to test with.
    """
    kept = without_copies(ranges(own), files.groups, files.images.paths, left_out)
    if not len(kept["train"]):
        raise UserError(
            f"all {own['train']:,} training images validate{' or test' * ('test' in own)}, too",
            key="validation",
            hint="take other images, or shares of these",
        )
    train = kept["train"]
    order = np.random.default_rng(seed).permutation(len(train))
    for part, share in shares.items():
        if part in own:
            continue
        drawn = take_groups(order, files.groups[train], round(len(train) * share))
        order = order[~np.isin(order, drawn)]
        if not len(drawn) or not len(order):
            does = "validate" if part == "validation" else part
            raise UserError(
                f"{share:g} of {len(train)} images leaves nothing to train or to {does} with",
                key=part,
                hint="take another share, or more images; copies of an image count as one",
            )
        kept[part] = np.sort(train[drawn])
    kept["train"] = np.sort(train[order])
    before = sum(map(len, kept.values()))
    kept = {
        part: indices[limited(np.zeros(len(indices), np.int64), limit, seed)]
        for part, indices in kept.items()
    }
    left_out.add_rest(before - sum(map(len, kept.values())))
    return Parts(**kept)


def box_data(
    files: BoxFiles,
    parts: Parts,
    *,
    categories: Mapping[int, str],
    flip: bool,
    notes: Sequence[str],
    left_out: LeftOutFiles,
) -> BoxData:
    """A data set of objects of these categories (id to name, in the order of the labels).

    Raises:
        UserError: a part has no box.
    """
    train, validation = map(files.images.choose, (parts.train, parts.validation))
    test = None if parts.test is None else files.images.choose(parts.test)
    named = {"training": train, "validation": validation} | ({} if test is None else {"test": test})
    every = [image for part in named.values() for image in part.images]
    crowds = sum(int(image.targets.crowd.sum()) for image in every)
    boxes = sum(len(image.targets.crowd) for image in every)
    for name, part in named.items():
        if not any((~image.targets.crowd).any() for image in part.images):
            but = "; ".join(
                [
                    *([f"{crowds:,} of {boxes:,} boxes are crowd"] if crowds else []),
                    *(note for note in files.notes if "boxes are left out" in note),
                ]
            )
            raise UserError(
                f"no {name} image has a box to {'be scored by' if name == 'test' else 'learn from'}"
                + (f": {but}" if but else ""),
                key="annotations",
            )
    channels = files.images.reading.channels
    mean, std = imagenet_statistics(channels)
    classes = tuple(categories.values())
    account = left_out.account(image.path for image in every)
    return BoxData(
        train=train,
        validation=validation,
        test=test,
        classes=classes,
        category_ids=tuple(categories),
        channels=channels,
        mean=mean,
        std=std,
        flip=flip,
        notes=(
            str(account),
            *notes_on_test(parts.test),
            *notes,
            *files.notes,
            *([f"{crowds:,} of {boxes:,} boxes are crowd: {_CROWD}"] if crowds else []),
            *_unlearned(train, classes),
        ),
        files=account,
    )


def _unlearned(train: FolderBoxes, classes: Sequence[str]) -> tuple[str, ...]:
    """Names the classes that no training image shows: their average precision will be 0."""
    targets = [image.targets for image in train.images]
    shown = {label for one in targets for label in one.labels[~one.crowd].tolist()}
    names = [name for label, name in enumerate(classes) if label not in shown]
    return (f"classes without a box to learn from: {first_few(names)}",) if names else ()
