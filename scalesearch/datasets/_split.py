"""Which images train, which validate, which are kept for a test, and which a limit leaves out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import BeforeValidator

from scalesearch.errors import UserError
from scalesearch.text import quoted

DEFAULT_VALIDATION = 0.2
PUBLISHED = "published"


def _share_or_word(value: Any) -> Any:
    if value is None or (isinstance(value, int | float | str) and not isinstance(value, bool)):
        return value
    raise UserError(
        f"{quoted(value)} cannot be used", allowed="a share between 0 and 1, a name, or null"
    )


# A share of the images, or the name of images that are apart already.
TestImages = Annotated[float | str | None, BeforeValidator(_share_or_word)]


class Parts(NamedTuple):
    """Sorted indices of the images of each part; `test` is None where nothing is kept for it."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray | None = None

    @property
    def total(self) -> int:
        """How many images there are in all parts."""
        return sum(len(part) for part in self if part is not None)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Options of the data sets that draw their validation images.

    Attributes:
        validation: share of the images of each class kept for validation.
        test: share of the images of each class that no phase sees, on which the networks that are
            reported are scored once at the end; `published` for those that the data set's authors
            keep apart, where it has some. None by default.
        limit: at most so many images in all, each class in its proportion; null takes all.
    """

    has_published_test: ClassVar[bool] = False

    validation: float = DEFAULT_VALIDATION
    test: TestImages = None
    limit: int | None = None

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit, self.test)
        if isinstance(self.test, str) and not (self.has_published_test and self.test == PUBLISHED):
            also = f", `{PUBLISHED}`" if self.has_published_test else ""
            raise UserError(
                f"there are no test images {quoted(self.test)}",
                key="test",
                allowed=f"a share between 0 and 1{also}, or null",
            )

    def indices(
        self,
        labels: np.ndarray,
        classes: Sequence[str],
        seed: int,
        groups: np.ndarray | None = None,
    ) -> Parts:
        """Indices into `labels` of each part; published test images are none of them."""
        chosen = limited(labels, self.limit, seed)
        of_chosen = None if groups is None else groups[chosen]
        shares = shares_of(self.validation, self.test)
        parts = draw_parts(labels[chosen], classes, shares, seed, of_chosen)
        return Parts(**{part: chosen[indices] for part, indices in parts.items()})


def check_split(
    validation: float | None, limit: int | None, test: float | str | None = None
) -> None:
    """Rejects shares that leave a part without images, and a limit too small to learn from."""
    for key, share in (("validation", validation), ("test", test)):
        if isinstance(share, int | float) and not 0 < share < 1:
            raise UserError(f"{share!r} cannot be used", key=key, allowed="between 0 and 1")
    if isinstance(test, int | float):
        share = DEFAULT_VALIDATION if validation is None else validation
        if share + test >= 1:
            raise UserError(
                f"{test:g} to test and {share:g} to validate leave nothing to train",
                key="test",
                allowed="two shares that add up to less than 1",
            )
    if limit is not None and limit < 4:
        raise UserError(f"{limit!r} cannot be used", key="limit", allowed="4 or more, or null")


def shares_of(validation: float | None, test: float | str | None) -> dict[str, float]:
    """The parts to draw, in their order: test images do not depend on what validates."""
    kept = {} if test is None or isinstance(test, str) else {"test": test}
    return kept | {"validation": DEFAULT_VALIDATION if validation is None else validation}


def notes_on_test(test: Any | None) -> list[str]:
    """What is said of images that are kept for a test, if there are some."""
    if test is None:
        return []
    count = len(test)
    return [
        f"{count:,} image{'s' * (count != 1)} {'are' if count != 1 else 'is'} kept for a test: no "
        "phase sees them, and the networks that are reported are scored on them once, at the end"
    ]


def draw_parts(
    labels: np.ndarray,
    classes: Sequence[str],
    shares: Mapping[str, float],
    seed: int,
    groups: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Sorted indices of the images of each part: its share of each class, and `train` the rest.

    Of n images of a class, n * share rounded to the nearest (a half down) are of a part. The same
    seed gives the same split, and a part does not depend on those that are drawn after it. Images
    of one of the `groups` (int [N]) stay together; those of a group that has several classes train.

    Args:
        labels: int64 [N], the class of each image.
        classes: their names.
        shares: of `test` and `validation`, or of one of them, in the order of drawing.
        seed: of the draws.
        groups: int [N], of equal images; by default none are equal.

    Raises:
        UserError: a class is left without a training image, or another part without any.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    mixed = groups[_first_of_another_class(labels, groups)]
    chosen: dict[str, list[np.ndarray]] = {key: [] for key in shares}
    for label, members in enumerate(_shuffled_classes(labels, len(classes), seed)):
        counts = {key: math.ceil(len(members) * each - 0.5) for key, each in shares.items()}
        if sum(counts.values()) >= len(members):
            raise UserError(
                f"{' and '.join(f'{each:g}' for each in shares.values())} "
                f"{'leave' if len(shares) > 1 else 'leaves'} no training image of class "
                f"{classes[label]!r}, which has {len(members)} in all",
                key=[*shares][-1],
                hint="take a smaller share, or more images",
            )
        free = members[~np.isin(groups[members], mixed)]
        for key, count in counts.items():
            part = take_groups(free, groups, count)
            free = free[~np.isin(free, part)]
            chosen[key].append(part)
            if count and not len(part):
                raise UserError(
                    f"the {len(members)} images of class {classes[label]!r} are copies of one or "
                    f"of those of other classes: none can {_DOES[key]} what others of them train",
                    key="path",
                    hint="remove the copies",
                )
    parts = {key: np.sort(np.concatenate(each)) for key, each in chosen.items()}
    for key, part in parts.items():
        if not len(part):
            raise UserError(
                f"{shares[key]:g} of each class is less than one image: nothing is left to "
                f"{_DOES[key]} with",
                key=key,
                hint="take a larger share, or more images",
            )
    rest = np.setdiff1d(np.arange(len(labels)), np.concatenate([*parts.values()]))
    return {"train": rest, **parts}


_DOES = {"validation": "validate", "test": "test"}


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
