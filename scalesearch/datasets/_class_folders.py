"""Folders of classes, and folders of parts of a split that hold them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from scalesearch.datasets._checked_files import readable_counts
from scalesearch.datasets._listing import (
    LeftOutFiles,
    Listing,
    count_files,
    endings,
    first_few,
    inner_names,
    joined,
    list_images,
    sub_folders,
)
from scalesearch.datasets._manifest import Manifest
from scalesearch.datasets._many_folders import list_folders
from scalesearch.datasets._own_parts import WORDS
from scalesearch.errors import UserError, nearest
from scalesearch.text import look, odd_characters, printable

_PARTS = tuple(word for words in WORDS.values() for word in words)
PART_NAMES = (
    "`train` and one of `val`, `valid`, `validation`, `dev`, `eval`, `test`, in any case, also in "
    "names such as `val2017` or `seg_train`"
)
_BETWEEN_WORDS = re.compile(r"[\W\d_]+")


@dataclass(frozen=True)
class LabelledFiles:
    """Image files with the class of each.

    Attributes:
        classes: names, sorted.
        listing: the files.
        labels: int64 [N], of each image.
        notes: on folders that were read as one class, in sentences.
    """

    classes: tuple[str, ...]
    listing: Listing
    labels: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> Sequence[str]:
        """The path of each image."""
        return self.listing.paths

    def __add__(self, other: LabelledFiles) -> LabelledFiles:
        """The files of both, which have the same classes."""
        return LabelledFiles(
            self.classes,
            joined([self.listing, other.listing]),
            np.concatenate([self.labels, other.labels]),
            self.notes + other.notes,
        )

    def readable(
        self, places: np.ndarray, counts: Mapping[str, int]
    ) -> tuple[LabelledFiles, Mapping[str, int]]:
        """The files at some places, in ascending order, and how many each part has of them.

        `counts` are those of the parts, which follow each other; of a whole there are none.

        Raises:
            UserError: a part has none left of a class.
        """
        if len(places) == len(self.labels):
            return self, counts
        left = readable_counts(self.labels, self.classes, places, counts)
        files = replace(self, listing=self.listing.choose(places), labels=self.labels[places])
        return files, left


def parts_of(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Those that are named as folders of `train`, `validation` and `test` images.

    Names are the usual words, or hold one of them (`seg_train`, `val2017`) where no folder is
    named by the word alone.
    """

    def named(words: Sequence[str]) -> list[Path]:
        exact = [folder for folder in folders if folder.name.lower() in words]
        return exact or [folder for folder in folders if _has_word(folder, words)]

    return {part: named(words) for part, words in WORDS.items()}


def inner_folder(folder: Path) -> Path:
    """The folder, or the only one in it if that has the same name: some archives pack it twice."""
    inner = sub_folders(folder, LeftOutFiles(folder))
    twice = len(inner) == 1 and inner[0].name.lower() == folder.name.lower()
    return inner[0] if twice and _holds_folders(inner[0]) else folder


def note_alike(names: Sequence[str]) -> str:
    """A note on names that are read as one."""
    words = " and ".join(f"{name!r} ({odd_characters(name) or 'plain'})" for name in names)
    return f"names that look alike are one class: {words}"


def find_split(folders: Sequence[Path], test: float | str | None = None) -> dict[str, Path] | None:
    """The folders of `train`, and of `validation` or `test` images or both, if these are such.

    Where both are there, one of test images that holds other classes is none, unless `test` is the
    name of one.

    Raises:
        UserError: they are named as the parts of a split and cannot be one.
    """
    candidates = parts_of(folders)
    train, part = candidates["train"], "validation" if candidates["validation"] else "test"
    validation = candidates[part]
    named = [folder for folder in folders if folder.name.lower() in _PARTS]
    if len(train) == len(validation) == 1:
        first, second = inner_folder(train[0]), inner_folder(validation[0])
        certain = train[0] in named and validation[0] in named
        certain &= _holds_folders(first) and _holds_folders(second)
        if certain or _shared_folders([first, second]):
            third = [inner_folder(one) for one in candidates["test"] if part == "validation"]
            taken = len(third) == 1 and (
                _class_looks(first) == _class_looks(third[0])
                or (isinstance(test, str) and _holds_folders(third[0]))
            )
            return {"train": first, part: second} | ({"test": third[0]} if taken else {})
    flat = not any(map(_holds_folders, named))
    if len(named) < len(folders) and (flat or not train or not validation):
        if (shared := _shared_folders(folders)) and any(_has_word(one, _PARTS) for one in folders):
            raise UserError(
                f"the folders of {folders[0].parent} all hold {first_few(shared)}: are those the "
                "classes, and is it a split?",
                key="path",
                allowed=f"folders of classes, or {PART_NAMES}",
                hint="rename its folders, or set path to one of them to split that one at random",
            )
        return None  # classes, of which one may well be called `train`
    if not named:
        return None
    names = ", ".join(printable(folder.name) for folder in named)
    only = named[0] if len(named) == 1 else None
    raise UserError(
        f"{folders[0].parent} holds {names}: "
        + ("they hold no folders of classes" if flat else "this is no split in two"),
        key="path",
        allowed=f"folders of classes, or {PART_NAMES}, each with the same folders of classes",
        hint=f"to split it at random, set path: {only}" if only and not flat else "",
    )


def list_classes(
    folder: Path, folders: Sequence[Path], left_out: LeftOutFiles, manifest: Manifest
) -> LabelledFiles:
    """The images below each of a folder's sub-folders, which are the classes.

    Folders whose names look alike are one class.

    Raises:
        UserError: fewer than two classes, a class without an image, a name that is not UTF-8.
    """
    by_look: dict[str, list[Path]] = {}
    for one in folders:
        if printable(one.name) != one.name:
            raise UserError(
                f"the name of the class {printable(one.name)} in {folder} is not UTF-8",
                key="path",
                hint="rename the folder: the name stands in files and code",
            )
        by_look.setdefault(look(one.name), []).append(one)
    if len(by_look) < 2:
        raise _no_classes(folder, folders)
    alike = ([one.name for one in same] for same in by_look.values() if len(same) > 1)
    notes = list(map(note_alike, alike))
    if shared := _shared_folders(folders):
        inner = first_few(shared)
        notes.append(f"each class holds the same folders, {inner}: are those the classes?")
    in_order = [one for name in sorted(by_look) for one in by_look[name]]
    listed = list_folders(in_order, lambda one: _images_of(one, manifest))
    for _, others in listed:
        left_out.include(others)
    files = iter(listing for listing, _ in listed)
    listings = [joined(list(islice(files, len(by_look[name])))) for name in sorted(by_look)]
    counts = [len(one.paths) for one in listings]
    labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    names = (unicodedata.normalize("NFC", by_look[name][0].name) for name in sorted(by_look))
    return LabelledFiles(tuple(names), joined(listings), labels, tuple(notes))


def check_same_classes(train: LabelledFiles, validation: LabelledFiles, names: str) -> None:
    """Rejects parts of a split with different classes."""
    ours, theirs = set(train.classes), set(validation.classes)
    if set(map(look, ours)) == set(map(look, theirs)):
        return
    differing = sorted(ours ^ theirs)
    hints = (nearest(one, theirs if one in ours else ours) for one in differing)
    raise UserError(
        f"{names} do not hold the same classes: {first_few(differing)}",
        key="path",
        hint=next((hint for hint in hints if hint), ""),
    )


def note_parts(folders: Sequence[Path]) -> list[str]:
    """A note on classes that are named as the parts of a split."""
    named = [folder.name for folder in folders if folder.name.lower() in _PARTS]
    return [f"taken as classes, not as parts of a split: {', '.join(named)}"] if named else []


def copies_note(
    paths: Sequence[str], labels: np.ndarray, groups: np.ndarray, kind: str = "files"
) -> list[str]:
    """What is to be said of files that are equal byte for byte, by the group of each.

    `kind` says what they are, if they are no files.
    """
    names, firsts, inverse = np.unique(groups, return_index=True, return_inverse=True)
    if len(names) == len(groups):
        return []
    first = firsts[inverse]
    mixed = [
        f"{paths[index]} and {paths[first[index]]}"
        for index in np.flatnonzero(labels != labels[first]).tolist()
    ]
    notes = [
        f"{len(groups) - len(names):,} {kind} are copies of others: none of them validates what "
        "another one trains"
    ]
    if mixed:
        notes.append(f"pictures in several classes: {first_few(mixed, 3)}")
    return notes


def leave_out_folder(folder: Path, left_out: LeftOutFiles) -> None:
    """Counts what lies beside the parts of a split."""
    left_out.add("in folders beside the split", str(folder), count_files(str(folder)))


def _images_of(folder: Path, manifest: Manifest) -> tuple[Listing, LeftOutFiles]:
    """The images of a class, and what is left out below its folder."""
    left_out = LeftOutFiles(folder)
    images = list_images(folder, left_out, is_known=manifest.is_known)
    if not images.paths:
        holds = f" (it holds {left_out})" if str(left_out) else ""
        raise UserError(
            f"no image in {folder}{holds}",
            key="path",
            allowed="files that end in " + ", ".join(sorted(endings())),
            hint="remove the folder, or leave its class out",
        )
    return images, left_out


def _no_classes(folder: Path, folders: Sequence[Path]) -> UserError:
    inner = folders[0] if len(folders) == 1 and _holds_folders(folders[0]) else None
    return UserError(
        f"{folder} holds {len(folders)} sub-folders: there are no classes to tell apart",
        key="path",
        allowed="two or more sub-folders, one for each class",
        hint=f"is {inner} meant?" if inner else "",
    )


def _shared_folders(folders: Sequence[Path]) -> list[str]:
    """The names of folders that each of these holds, if these are all and more than one."""
    if not folders:
        return []
    first = inner_names(folders[0])
    # One by one: there may be a thousand folders of a thousand files, and the first ones differ.
    same = len(first) > 1 and all(inner_names(one) == first for one in folders[1:])
    return first if same else []


def _class_looks(folder: Path) -> set[str]:
    """The names of a folder's folders, as they look."""
    return set(map(look, inner_names(folder)))


def _has_word(folder: Path, words: Sequence[str]) -> bool:
    return not set(words).isdisjoint(_BETWEEN_WORDS.split(folder.name.lower()))


def _holds_folders(folder: Path) -> bool:
    return bool(inner_names(folder))
