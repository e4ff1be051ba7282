"""Image files with boxes: what the formats of annotations have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scalesearch.datasets._image_files import (
    check_headers,
    first_few,
    imagenet_statistics,
    read_upright,
)
from scalesearch.datasets._split import limited
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData, Targets

if TYPE_CHECKING:
    import torch

_MIN_SIDE = 1e-3  # pixels: a box with a shorter side has no area


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxImage:
    """An image file and its objects; `id` as in its annotations, `size` as height and width."""

    id: int
    path: str
    size: tuple[int, int]
    targets: Targets


@dataclass(frozen=True)
class FolderBoxes:
    """Image files with their objects; 3 channels for colour, 1 for grey."""

    images: tuple[BoxImage, ...]
    channels: int

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
        """An image as uint8 [C, H, W]; `TrialError` if it cannot be decoded."""
        # Here and not above: the process that only lists the images needs no torch.
        import torch

        pixels = np.array(read_upright(self.images[index].path, self.channels))
        return torch.from_numpy(pixels.reshape(*pixels.shape[:2], self.channels)).permute(2, 0, 1)

    def targets(self, index: int) -> Targets:
        """The objects of an image."""
        return self.images[index].targets

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        return self.images[index].size

    def choose(self, indices: Sequence[int] | np.ndarray) -> FolderBoxes:
        """Some of the images, in the order of the indices."""
        return FolderBoxes(tuple(self.images[index] for index in indices), self.channels)

    def limited(self, limit: int | None, seed: int) -> FolderBoxes:
        """At most `limit` of the images, drawn from the seed."""
        return self.choose(limited(np.zeros(len(self), np.int64), limit, seed))

    def split(self, share: float, seed: int) -> tuple[FolderBoxes, FolderBoxes]:
        """Training and validation images: `share` of all validates, drawn from the seed."""
        order = np.random.default_rng(seed).permutation(len(self))
        count = round(len(self) * share)
        if not 0 < count < len(self):
            raise UserError(
                f"{share:g} of {len(self)} images leaves nothing to train or to validate with",
                key="validation",
            )
        return self.choose(np.sort(order[count:])), self.choose(np.sort(order[:count]))


class BoxObject(NamedTuple):
    """One object: its box as x0, y0, x1, y1; an area of 0 stands for that of the box."""

    box: Sequence[float]
    category: int | str
    crowd: bool
    area: float = 0.0


def make_targets(objects: Sequence[BoxObject], labels: Mapping[Any, int]) -> Targets:
    """The objects of an image as arrays; `labels` are those of the categories."""
    boxes = np.array([one.box for one in objects]).reshape(-1, 4)
    areas = np.array([one.area for one in objects], np.float64)
    return Targets(
        boxes=boxes.astype(np.float32),
        labels=np.array([labels[one.category] for one in objects], np.int64),
        crowd=np.array([one.crowd for one in objects], bool),
        areas=np.where(areas > 0, areas, (boxes[:, 2:] - boxes[:, :2]).prod(1)),
    )


def clip_box(
    corners: Sequence[float], size: tuple[int, int], odd_boxes: Counter[str]
) -> list[float] | None:
    """x0, y0, x1, y1 clipped to an image of height and width `size`; None if nothing is left.

    What was done is counted in `odd_boxes`; up to a pixel over the border is rounding.
    """
    height, width = size
    x0, y0, x1, y1 = corners
    if x1 - x0 < _MIN_SIDE or y1 - y0 < _MIN_SIDE:
        odd_boxes["boxes without area left out"] += 1
        return None
    clipped = [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]
    if clipped[2] - clipped[0] < _MIN_SIDE or clipped[3] - clipped[1] < _MIN_SIDE:
        odd_boxes["boxes outside of their image left out"] += 1
        return None
    if any(abs(a - b) > 1 for a, b in zip(clipped, corners, strict=True)):
        odd_boxes["boxes clipped at the border of their image"] += 1
    return clipped


def notes_on(odd_boxes: Mapping[str, int]) -> tuple[str, ...]:
    """What was done about odd boxes, in words."""
    return tuple(f"{text}: {count:,}" for text, count in sorted(odd_boxes.items()))


def check_images(images: Sequence[BoxImage]) -> None:
    """Opens every image once.

    Raises:
        UserError: some are missing, are not images, or differ in height and width from their
            annotations; the first few are named.
    """
    missing = [image.path for image in images if not _is_file(image.path)]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(images)} images are missing: {first_few(missing)}",
            key="images",
            hint="are the file names relative to this folder?",
        )
    sizes = check_headers([image.path for image in images])
    wrong = [
        f"{image.path} is {width} x {height}, not {image.size[1]} x {image.size[0]}"
        for image, (height, width) in zip(images, sizes, strict=True)
        if image.size != (height, width)
    ]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(images)} images differ in width and height from their "
            f"annotations: {first_few(wrong)}",
            key="images",
            hint="boxes are in pixels of the upright image, rotated as its EXIF data say",
        )


def box_data(
    train: FolderBoxes,
    validation: FolderBoxes,
    *,
    categories: Mapping[int, str],
    flip: bool,
    notes: tuple[str, ...],
) -> BoxData:
    """A data set of objects of these categories (id to name, in the order of the labels).

    Raises:
        UserError: a part has no box.
    """
    for name, part in (("training", train), ("validation", validation)):
        if not any((~image.targets.crowd).any() for image in part.images):
            raise UserError(f"no {name} image has a box", key="annotations")
    mean, std = imagenet_statistics(train.channels)
    classes = tuple(categories.values())
    return BoxData(
        train=train,
        validation=validation,
        classes=classes,
        category_ids=tuple(categories),
        channels=train.channels,
        mean=mean,
        std=std,
        flip=flip,
        notes=notes + _unlearned(train, classes),
    )


def _unlearned(train: FolderBoxes, classes: Sequence[str]) -> tuple[str, ...]:
    """Names the classes that no training image shows: their average precision will be 0."""
    targets = [image.targets for image in train.images]
    shown = {label for one in targets for label in one.labels[~one.crowd].tolist()}
    names = [name for label, name in enumerate(classes) if label not in shown]
    return (f"classes without a box to learn from: {first_few(names)}",) if names else ()


def _is_file(path: str) -> bool:
    """Also of a name that is too long for a file."""
    try:
        return Path(path).is_file()
    except OSError:
        return False
