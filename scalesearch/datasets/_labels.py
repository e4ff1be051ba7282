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

    With `names` of the classes a label is one of them, or its position from 0. Without, whole
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
    """Labels that are names, or else positions of names."""
    position = {look(name): number for number, name in enumerate(names)}
    named = [position.get(look(str(value))) for value in values]
    unknown = [index for index, number in enumerate(named) if number is None]
    if unknown and all(_whole(value) is not None for value in values):
        named = [_whole(value) for value in values]
        unknown = [n for n, number in enumerate(named) if not 0 <= (number or 0) < len(names)]
        lowest = min(number or 0 for number in named)
        hint = "they seem to count from 1: name what is 0, too" if lowest == 1 else ""
        allowed = f"0 to {len(names) - 1}, as `classes` has {len(names)} names, or one of these"
    elif unknown:
        hint = nearest(str(values[unknown[0]]), names)
        allowed = first_few(names, 12)
    if unknown:
        raise UserError(
            f"{len(unknown):,} of {len(values):,} labels are none of the classes, such as "
            f"{quoted(values[unknown[0]])} ({where(unknown[0])})",
            key=key,
            allowed=allowed,
            hint=hint,
        )
    classes = tuple(unicodedata.normalize("NFC", name) for name in names)
    return Labels(classes, np.array(named, dtype=np.int64))


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
