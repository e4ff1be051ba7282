"""Parts that a data set's files come in: which validates, which is kept for a test, and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scalesearch.datasets._listing import LeftOutFiles
from scalesearch.errors import UserError, nearest
from scalesearch.text import quoted

# Part to the words that name it; `test` validates where nothing else does.
WORDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validate", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing"),
}


def assign(
    named: Mapping[str, Path],
    validation: float | None,
    test: float | str | None,
    folder: Path,
    kind: str = "folder",
) -> tuple[dict[str, Path], list[str]]:
    """The folder of each part, and what is to be said of them, in sentences.

    A folder named as test images is kept for the test where something else validates: a folder, or
    a share of the training images that the options ask for. `test` may name the one to be kept.

    Args:
        named: part to its folder, by their names: `train`, and one or both of the others.
        validation: share of the training images that validates, if the options give one.
        test: share of the training images that is kept, or the name of the folder that is.
        folder: that holds them.
        kind: what they are.

    Raises:
        UserError: the options ask for parts that the folders do not leave.
    """
    parts, notes = dict(named), list[str]()
    train = named["train"]
    alone = f"set path: {train}" if kind == "folder" else f"take the {kind} {train.name} alone"
    if isinstance(test, str):
        if _named(test, named) == "validation":
            parts["test"] = parts.pop("validation")
    elif test is not None and "test" in named:
        raise UserError(
            f"{folder} has test images of its own, {named['test'].name}",
            key="test",
            hint=f"write `test: {named['test'].name}`, or {alone} to draw all parts from that one",
        )
    elif "validation" not in named and validation is None:
        parts["validation"] = tests = parts.pop("test")
        notes.append(
            f"networks are selected on the images of the {kind} {tests.name}: `test: {tests.name}` "
            "keeps them for the end, and a share of the training images validates "
            "(`validation: 0.1`)"
        )
    if validation is not None and "validation" in parts:
        name = parts["validation"].name
        raise UserError(
            f"{folder} holds its own split, {joined(named)}",
            key="validation",
            hint=f"leave it out; or write `test: {name}` to keep that part for the end; or "
            f"{alone} to split that part alone",
        )
    notes.insert(0, f"the {kind}s {joined(parts)} are the split")
    if "test" in parts:
        other = parts.get("validation")
        validates = other.name if other else f"a share of {parts['train'].name}"
        notes.append(f"{validates} validates, and {parts['test'].name} is kept for a test")
    return parts, notes


def joined(parts: Mapping[str, Path]) -> str:
    """The names of the folders of some parts: `train, val and test`."""
    *names, last = (parts[part].name for part in WORDS if part in parts)
    return f"{', '.join(names)} and {last}"


def _named(test: str, named: Mapping[str, Path]) -> str:
    """The part whose folder a word names: by its name, or by another word for such a part."""
    words = {one: part for part in named for one in WORDS[part]}
    words |= {path.name.lower(): part for part, path in named.items()}
    part = words.get(test.lower())
    if part in (None, "train"):
        names = [path.name for each, path in named.items() if each != "train"]
        raise UserError(
            f"{quoted(test)} is not a part that can be kept for a test",
            key="test",
            allowed=", ".join(names) + ("" if "test" in named else ", or a share between 0 and 1"),
            hint=nearest(test, names),
        )
    assert part is not None
    return part


def require_share(test: float | str | None, folder: Path) -> None:
    """Rejects the name of a part where a folder's images are in no parts."""
    if isinstance(test, str):
        raise UserError(
            f"{folder} has no part {quoted(test)}",
            key="test",
            allowed="a share between 0 and 1, or null",
        )


def ranges(counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Part to the indices of its images, which follow each other."""
    ends = np.cumsum([*counts.values()]).tolist()
    return {
        part: np.arange(end - count, end)
        for (part, count), end in zip(counts.items(), ends, strict=True)
    }


def without_copies(
    parts: Mapping[str, np.ndarray],
    groups: np.ndarray,
    paths: Sequence[str],
    left_out: LeftOutFiles,
) -> dict[str, np.ndarray]:
    """The parts without copies of test images, and training images without copies of others.

    Of an image that stands in several parts the copy for the test stays, or that which validates.
    """
    kept = dict(parts)
    for part, other, reason in (
        ("train", "test", "of the training images that test, too"),
        ("validation", "test", "of the validation images that test, too"),
        ("train", "validation", "of the training images that validate, too"),
    ):
        if part not in kept or other not in kept:
            continue
        both = np.isin(groups[kept[part]], groups[kept[other]])
        for index in kept[part][both]:
            left_out.add(reason, paths[index])
        kept[part] = kept[part][~both]
    return kept


def limits_of(counts: Sequence[int], limit: int | None, classes: int) -> list[int]:
    """How many images of each part a limit on all leaves: in proportion, the first the rest.

    But an image of each class at least, where a part has as many.

    Raises:
        UserError: there are not as many.
    """
    if limit is None:
        return [*counts]
    if limit < len(counts) * classes:
        parts = "both parts" if len(counts) == 2 else f"{len(counts)} parts"
        raise UserError(
            f"{limit} images cannot show {classes} classes in {parts}",
            key="limit",
            allowed=f"{len(counts) * classes} or more, or null",
        )
    left, total, limits = limit, sum(counts), list[int]()
    for number in range(len(counts) - 1, 0, -1):
        count = counts[number]
        most = min(count, left - number * classes)
        limits.insert(0, min(max(left * count // total, classes), most))
        left, total = left - limits[0], total - count
    return [left, *limits]
