"""Labels that are words or whole numbers, made numbers from 0 up with the names of classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalesearch.datasets._class_folders import note_alike
from scalesearch.datasets._listing import first_few
from scalesearch.errors import UserError, nearest
from scalesearch.text import look, quoted

_WHOLE = re.compile(r"[+-]?\d{1,18}")


@dataclass(frozen=True)
class Labels:
    """The class of each image.

    Attributes:
        classes: names, of which each has an image.
        numbers: int64 [N], positions in `classes`.
        notes: what is irregular, in sentences.
    """

    classes: tuple[str, ...]
    numbers: np.ndarray
    notes: tuple[str, ...] = ()


def read_labels(
    values: Sequence[Any], names: Sequence[str], where: Callable[[int], str], key: str
) -> Labels:
    """What these values, one for each image, say of its class.

    With `names` of the classes a label is one of them; if all labels are whole numbers, they are
    positions from 0. Without, whole
    numbers are classes in their order and words are classes in that of the alphabet; words that
    look alike are one class. `where` says where the label of an index stands.

    Raises:
        UserError: a label is missing, is none of the classes, or all are of one.
    """
    missing = [n for n, value in enumerate(values) if value is None or not str(value).strip()]
    if missing:
        raise UserError(
            f"{len(missing):,} of {len(values):,} images have no label: "
            f"{first_few(map(where, missing[:5]))}",
            key=key,
            hint="label them, or leave them out",
        )
    if names:
        labels = _among(values, names, where, key)
    else:
        whole = [_whole(value) for value in values]
        numbers = [number for number in whole if number is not None]
        labels = _numbered(numbers) if len(numbers) == len(values) else _worded(values, where, key)
    return _in_use(labels, key)


def check_names(names: Sequence[str]) -> None:
    """Rejects names of classes of which two look alike."""
    first: dict[str, str] = {}
    for name in names:
        if look(name) in first:
            raise UserError(
                f"{quoted(first[look(name)])} and {quoted(name)} are one name", key="classes"
            )
        first[look(name)] = name


def _among(
    values: Sequence[Any], names: Sequence[str], where: Callable[[int], str], key: str
) -> Labels:
    """Labels that are positions of names, if all are whole numbers; else names."""
    position = {look(name): number for number, name in enumerate(names)}
    whole = [_whole(value) for value in values]
    hint = ""
    if None in whole:
        numbers = [position.get(look(_text(value)), -1) for value in values]
        allowed = first_few(names, 12)
        hint = next(
            (nearest(_text(v), names) for v, n in zip(values, numbers, strict=True) if n < 0), ""
        )
    else:
        numbers = [-1 if number is None else number for number in whole]
        allowed = f"0 to {len(names) - 1}, as `classes` has {len(names)} names"
        if min(numbers) == 1 and max(numbers) == len(names):
            hint = "they seem to count from 1: name a class for 0, too"
        shown = next((n for n in numbers if position.get(str(n), n) != n), None)
        if shown is not None:
            raise UserError(
                f"the label {shown} is the name of the class {position[str(shown)]} in `classes`, "
                f"and its position that of another one",
                key="classes",
                allowed="names that are no numbers, or no `classes` at all",
            )
    unknown = [n for n, number in enumerate(numbers) if not 0 <= number < len(names)]
    if unknown:
        raise UserError(
            f"{len(unknown):,} of {len(values):,} labels are none of the classes, such as "
            f"{quoted(values[unknown[0]])} ({where(unknown[0])})",
            key=key,
            allowed=allowed,
            hint=hint,
        )
    classes = tuple(unicodedata.normalize("NFC", name) for name in names)
    return Labels(classes, np.array(numbers, dtype=np.int64))


def positions(values: Sequence[Any], names: Sequence[str], key: str) -> Labels:
    """Labels that are positions in the names of a data set's own classes, of which those without
    an image are left out.

    Raises:
        UserError: some are not.
    """
    count, numbers = len(names), np.array([-1 if v is None else v for v in values], np.int64)
    wrong = numbers[(numbers < 0) | (numbers >= count)]
    if len(wrong):
        raise UserError(
            f"{len(wrong):,} of {len(values):,} images have no label, or one like {wrong[0]} that "
            f"is none of the {count} classes",
            key=key,
            hint="are these test images, whose classes are not published?",
        )
    return _in_use(Labels(_unique(names), numbers), key)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names of which none stands twice: ImageNet has two classes called crane."""
    seen: set[str] = set()
    unique = []
    for number, name in enumerate(names):
        own = unicodedata.normalize("NFC", name)
        own = f"{own} ({number})" if look(own) in seen else own
        seen.add(look(own))
        unique.append(own)
    return tuple(unique)


def _numbered(values: Sequence[int]) -> Labels:
    """Classes that are named by their numbers."""
    used, numbers = np.unique(np.array(values, dtype=np.int64), return_inverse=True)
    classes = tuple(map(str, used.tolist()))
    notes = []
    if used[0] != 0 or used[-1] != len(used) - 1:
        gaps = "" if used[-1] - used[0] == len(used) - 1 else ", with gaps"
        notes.append(
            f"labels are numbers from {used[0]} to {used[-1]}{gaps}: {len(used)} classes, which a "
            f"network's outputs 0 to {len(used) - 1} stand for in this order"
        )
    return Labels(classes, numbers.astype(np.int64), tuple(notes))


def _worded(values: Sequence[Any], where: Callable[[int], str], key: str) -> Labels:
    """Classes that are named by words."""
    for index, value in enumerate(values):
        if isinstance(value, float) and not value.is_integer():
            raise UserError(
                f"the label {value!r} is no class ({where(index)})",
                key=key,
                allowed="whole numbers or words",
            )
    spellings: dict[str, dict[str, None]] = {}
    looks = {text: look(text) for text in set(map(_text, values))}
    for value in values:
        spellings.setdefault(looks[_text(value)], {})[_text(value).strip()] = None
    position = {name: number for number, name in enumerate(sorted(spellings))}
    classes = (unicodedata.normalize("NFC", next(iter(spellings[name]))) for name in position)
    alike = (list(same) for same in spellings.values() if len(same) > 1)
    numbers = np.array([position[looks[_text(value)]] for value in values], dtype=np.int64)
    return Labels(tuple(classes), numbers, tuple(map(note_alike, alike)))


def _in_use(labels: Labels, key: str) -> Labels:
    """The classes that have an image."""
    used, numbers = np.unique(labels.numbers, return_inverse=True)
    if len(used) < 2:
        raise UserError(
            f"all {len(numbers):,} images are of the class {labels.classes[used[0]]!r}: there are "
            "no classes to tell apart",
            key=key,
        )
    if len(used) == len(labels.classes):
        return labels
    unused = [name for n, name in enumerate(labels.classes) if n not in set(used.tolist())]
    note = f"{len(unused):,} classes have no image and are left out: {first_few(unused, 3)}"
    classes = tuple(labels.classes[number] for number in used.tolist())
    return Labels(classes, numbers.astype(np.int64), (*labels.notes, note))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _whole(value: Any) -> int | None:
    """A whole number, also as text; None for all else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else None
    text = str(value).strip()
    return int(text) if _WHOLE.fullmatch(text) else None
