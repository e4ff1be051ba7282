"""Which images train, which validate, and which a limit leaves out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.errors import UserError

DEFAULT_VALIDATION = 0.2


@dataclass(frozen=True, kw_only=True)
class Split:
    """Options of the data sets that draw their validation images.

    Attributes:
        validation: share of the images of each class kept for validation.
        limit: at most so many images in all, each class in its proportion; null takes all.
    """

    validation: float = DEFAULT_VALIDATION
    limit: int | None = None

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit)

    def indices(
        self,
        labels: np.ndarray,
        classes: Sequence[str],
        seed: int,
        groups: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices into `labels` of the training and of the validation images."""
        chosen = limited(labels, self.limit, seed)
        of_chosen = None if groups is None else groups[chosen]
        train, validation = stratified(labels[chosen], classes, self.validation, seed, of_chosen)
        return chosen[train], chosen[validation]


def check_split(validation: float | None, limit: int | None) -> None:
    """Rejects a share that leaves one part without images, and a limit too small to learn from."""
    if validation is not None and not 0 < validation < 1:
        raise UserError(
            f"{validation!r} cannot be used", key="validation", allowed="between 0 and 1"
        )
    if limit is not None and limit < 4:
        raise UserError(f"{limit!r} cannot be used", key="limit", allowed="4 or more, or null")


def stratified(
    labels: np.ndarray,
    classes: Sequence[str],
    share: float,
    seed: int,
    groups: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of training and validation images: `share` of each class validates.

    Of n images of a class, n * share rounded to the nearest (a half down) validate. The same seed
    gives the same split. Images of one of the `groups` (int [N]) stay together; those of a group
    that has several classes train.

    Raises:
        UserError: a class is left without a training image, or nothing is left to validate with.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    mixed = groups[_first_of_another_class(labels, groups)]
    chosen = []
    for label, members in enumerate(_shuffled_classes(labels, len(classes), seed)):
        count = math.ceil(len(members) * share - 0.5)
        if count >= len(members):
            raise UserError(
                f"{share:g} leaves no training image of class {classes[label]!r},"
                f" which has {len(members)} in all",
                key="validation",
                hint="take a smaller share, or more images",
            )
        chosen.append(take_groups(members[~np.isin(groups[members], mixed)], groups, count))
        if count and not len(chosen[-1]):
            raise UserError(
                f"the {len(members)} images of class {classes[label]!r} are copies of one or of "
                "those of other classes: none can validate what others of them train",
                key="path",
                hint="remove the copies",
            )
    validation = np.sort(np.concatenate(chosen))
    if not len(validation):
        raise UserError(
            f"{share:g} of each class is less than one image: nothing is left to validate with",
            key="validation",
            hint="take a larger share, or more images",
        )
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def take_groups(order: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the indices in `order`, from its start, no group of them in part."""
    _, names, sizes = np.unique(groups[order], return_inverse=True, return_counts=True)
    if len(sizes) == len(order):
        return order[:count]
    taken: set[int] = set()
    left = count
    for name in names.tolist():
        if name not in taken and sizes[name] <= left:
            taken.add(name)
            left -= int(sizes[name])
    return order[np.isin(names, list(taken))]


def _first_of_another_class(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Whether each image has another class than the first one of its group, bool [N]."""
    _, first, names = np.unique(groups, return_index=True, return_inverse=True)
    different: np.ndarray = labels != labels[first[names]]
    return different


def limited(labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Sorted indices of at most `limit` images, each class in its proportion, at least one of each.

    Raises:
        UserError: fewer than one image a class.
    """
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    present = int(labels.max()) + 1
    if limit < present:
        raise UserError(
            f"{limit} images cannot show {present} classes",
            key="limit",
            allowed=f"{present} or more",
        )
    # Image r of the n of a class has rank r / n: taking the lowest first keeps proportions.
    rank = np.empty(len(labels))
    for members in _shuffled_classes(labels, present, seed):
        rank[members] = np.arange(len(members)) / len(members)
    return np.sort(np.argsort(rank, kind="stable")[:limit])


def _shuffled_classes(labels: np.ndarray, classes: int, seed: int) -> list[np.ndarray]:
    """The indices of each class, in an order that follows from the seed."""
    draws = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(1, classes))
    return [draws.permutation(members) for members in np.split(order, ends)]
