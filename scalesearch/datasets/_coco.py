"""COCO annotation files: images, categories and boxes, checked once when they are read."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scalesearch.errors import UserError
from scalesearch.interfaces import Targets

_LEAST = 1e-3  # pixels: a side below this is none
_LARGEST = 2**53  # below it every reader of JSON takes whole numbers as they are (RFC 8259)


class Thing(NamedTuple):
    """One object: its box as x0, y0, x1, y1, its label, whether it is a crowd, its pixels."""

    box: Sequence[float]
    label: int
    crowd: bool
    area: float


@dataclass(frozen=True)
class Annotated:
    """What a file of annotations holds.

    Attributes:
        ids, files, sizes: of each image: COCO id, path below the image folder, height and width.
        targets: its objects.
        categories: COCO id to name, by ascending id; label k is the k-th of them.
        odd: how many boxes were cut at the image's border, or left out as they are empty.
    """

    ids: tuple[int, ...]
    files: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    targets: tuple[Targets, ...]
    categories: Mapping[int, str]
    odd: Mapping[str, int]


def read_annotations(path: Path) -> Annotated:
    """The images and boxes of a COCO `instances` file.

    Category ids may start anywhere and have gaps; ids of annotations are not looked at. Crowd boxes
    are kept as such. A box that reaches over its image is cut, one without area is left out; both
    are counted.

    Raises:
        UserError: no such file, no JSON, a missing key, a box of an unknown image or category, two
            categories of one name.
    """
    file = _File(path, _content(path))
    categories = file.categories()
    labels = {key: label for label, key in enumerate(categories)}
    files, sizes = file.texts("images", "file_name"), file.sizes()
    things: dict[int, list[Thing]] = {key: [] for key in files}
    odd: Counter[str] = Counter()
    for index, entry in enumerate(file.content["annotations"]):
        image = file.known(index, entry, "image_id", files, "image")
        label = labels[file.known(index, entry, "category_id", labels, "category")]
        box = clip_box(file.box(index, entry), sizes[image], odd)
        if box is not None:
            area = file.area(index, entry) or (box[2] - box[0]) * (box[3] - box[1])
            things[image].append(Thing(box, label, file.crowd(index, entry), area))
    return Annotated(
        ids=tuple(files),
        files=tuple(files.values()),
        sizes=tuple(sizes.values()),
        targets=tuple(make_targets(found) for found in things.values()),
        categories=categories,
        odd=odd,
    )


def make_targets(things: Sequence[Thing]) -> Targets:
    """The objects of an image as arrays, also of no object at all."""
    return Targets(
        boxes=np.array([thing.box for thing in things], np.float32).reshape(-1, 4),
        labels=np.array([thing.label for thing in things], np.int64),
        crowd=np.array([thing.crowd for thing in things], bool),
        areas=np.array([thing.area for thing in things], np.float64),
    )


def clip_box(
    corners: Sequence[float], size: tuple[int, int], odd: Counter[str]
) -> list[float] | None:
    """x0, y0, x1, y1 cut to an image of height and width `size`; None if nothing is left.

    What was done is counted in `odd`; up to a pixel over the border is nobody's mistake.
    """
    height, width = size
    x0, y0, x1, y1 = corners
    if x1 - x0 < _LEAST or y1 - y0 < _LEAST:
        odd["empty"] += 1
        return None
    cut = [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]
    if cut[2] - cut[0] < _LEAST or cut[3] - cut[1] < _LEAST:
        odd["outside"] += 1
        return None
    if any(abs(a - b) > 1 for a, b in zip(cut, corners, strict=True)):
        odd["cut"] += 1
    return cut


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError("there is no such file", file=str(path), key="annotations")
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot be read: {error}", file=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"is no JSON: {error}", file=str(path)) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f"has no list {key!r}",
                file=str(path),
                allowed="a COCO file of instances: images, annotations, categories",
            )
    return content


class _File(NamedTuple):
    """A file's content; every mistake in it is named by its place."""

    path: Path
    content: dict[str, Any]

    def wrong(self, problem: str, key: str, allowed: str = "") -> UserError:
        return UserError(problem, file=str(self.path), key=key, allowed=allowed)

    def field(self, part: str, index: int, entry: Any, key: str) -> Any:
        if not isinstance(entry, Mapping) or key not in entry:
            raise self.wrong(f"{key!r} is missing", f"{part}[{index}]")
        return entry[key]

    def by_id(self, part: str, key: str) -> dict[int, Any]:
        """One field of each entry of `part` by the entry's id, in the order of the file."""
        found: dict[int, Any] = {}
        for index, entry in enumerate(self.content[part]):
            number = self.number(part, index, entry, "id")
            if number in found:
                raise self.wrong(f"the id {number} stands there twice", f"{part}[{index}].id")
            found[number] = self.field(part, index, entry, key)
        return found

    def number(self, part: str, index: int, entry: Any, key: str) -> int:
        """An id of an entry."""
        given = self.field(part, index, entry, key)
        if not _is_whole(given) or abs(given) >= _LARGEST:
            place = f"{part}[{index}].{key}"
            raise self.wrong(f"{given!r} is no id", place, "a whole number below 2^53")
        return int(given)

    def texts(self, part: str, key: str) -> dict[int, str]:
        """One field that is a text, of each entry of `part` by the entry's id."""
        found = self.by_id(part, key)
        for index, text in enumerate(found.values()):
            if not isinstance(text, str) or not text.strip() or any(map(_is_odd, text)):
                raise self.wrong(f"{text!r} is no name", f"{part}[{index}].{key}", "some text")
        return found

    def categories(self) -> dict[int, str]:
        """Names by ascending id; each is the name of a metric, so no two are the same."""
        names = self.texts("categories", "name")
        if not names:
            raise self.wrong("holds no category", "categories")
        twice = [name for name, count in Counter(names.values()).items() if count > 1]
        if twice:
            ids = " and ".join(str(key) for key, name in names.items() if name == twice[0])
            raise self.wrong(f"{twice[0]!r} is the name of the ids {ids}", "categories")
        return {key: names[key] for key in sorted(names)}

    def sizes(self) -> dict[int, tuple[int, int]]:
        """Height and width of each image by its id."""
        heights, widths = (self.by_id("images", key) for key in ("height", "width"))
        for index, sides in enumerate(zip(heights.values(), widths.values(), strict=True)):
            if not all(_is_whole(side) and 0 < side < _LARGEST for side in sides):
                raise self.wrong(f"{list(sides)!r} is no height and width", f"images[{index}]")
        return {number: (heights[number], widths[number]) for number in heights}

    def known(self, index: int, entry: Any, key: str, ids: Mapping[int, Any], what: str) -> int:
        value = self.number("annotations", index, entry, key)
        if value not in ids:
            problem = f"there is no {what} with the id {value!r}"
            raise self.wrong(problem, f"annotations[{index}].{key}")
        return value

    def box(self, index: int, entry: Any) -> tuple[float, float, float, float]:
        """The corners of a box that is given as x, y, width, height."""
        given = self.field("annotations", index, entry, "bbox")
        if not isinstance(given, list) or len(given) != 4 or not all(map(_is_number, given)):
            raise self.wrong(
                f"{given!r} is no box",
                f"annotations[{index}].bbox",
                "[x, y, width, height] in pixels",
            )
        x, y, width, height = map(float, given)
        return x, y, x + width, y + height

    def crowd(self, index: int, entry: Any) -> bool:
        """Whether an object is a crowd; one that does not say so is none."""
        given = entry.get("iscrowd")
        if given is not None and (not isinstance(given, int) or given not in (0, 1)):
            raise self.wrong(f"{given!r} cannot be used", f"annotations[{index}].iscrowd", "0 or 1")
        return bool(given)

    def area(self, index: int, entry: Any) -> float:
        """The object's own pixels; 0 where they are not given."""
        given = entry.get("area") or 0
        if not _is_number(given) or given < 0:
            raise self.wrong(f"{given!r} is no area", f"annotations[{index}].area")
        return float(given)


def _is_odd(character: str) -> bool:
    """Of no file's name on any system: control characters, and halves of characters."""
    return character < " " or "\ud800" <= character <= "\udfff"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """Also of numbers so large that they are no float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # false for what is no number
