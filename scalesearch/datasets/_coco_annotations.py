"""COCO annotation files: images, categories and boxes, checked once when they are read."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated as Typed
from typing import Any

from pydantic import BaseModel, BeforeValidator, FailFast, ValidationError

from scalesearch.datasets._box_images import Annotated, BoxObject
from scalesearch.datasets._find_images import ImageFinder
from scalesearch.datasets._listing import first_few
from scalesearch.errors import UserError
from scalesearch.files.paths import is_file
from scalesearch.text import look, odd_characters

# Below it every reader of JSON takes whole numbers as they are (RFC 8259).
_LIMIT = 2**53
# Without control characters and halves of characters, which no system has in a file's name.
_TEXT = re.compile(r"(?=.*\S)[^\x00-\x1f\ud800-\udfff]+")
_WHOLE = re.compile(r"[+-]?\d{1,15}(\.0*)?")
_LARGE = re.compile(r"[+-]?\d{16,40}")
_FOUR = "[x, y, width, height] in pixels"


def _whole(value: Any) -> int | None:
    """A whole number in any form that programs write: 7, 7.0, "7"."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LIMIT
    return value if is_whole else None


def _id(value: Any) -> int | str:
    number = _whole(value)
    if number is not None:
        return number
    if isinstance(value, int) and not isinstance(value, bool) and _LARGE.fullmatch(str(value)):
        return str(value)  # numbered as a text is: not every reader of JSON takes it as it is
    if isinstance(value, str) and _TEXT.fullmatch(value):
        return value.strip()
    raise ValueError("a whole number, or some text")


def _side(value: Any) -> int | None:
    number = -1 if value is None else _whole(value)
    if number is None:
        raise ValueError("a number of pixels, or nothing")
    return number if number > 0 else None


def _number(value: Any) -> float:
    try:
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            number = float(value)
            if math.isfinite(number):
                return number
    except (ValueError, OverflowError):
        pass
    raise ValueError("a number")


def _area(value: Any) -> float:
    return 0.0 if value is None else max(0.0, _number(value))


def _crowd(value: Any) -> bool:
    number = int(value) if isinstance(value, bool) else 0 if value is None else _whole(value)
    if number not in (0, 1):
        raise ValueError("0 or 1")
    return bool(number)


def _name(value: Any) -> str:
    if isinstance(value, str) and _TEXT.fullmatch(value):
        return value
    raise ValueError("some text")


_Id = Typed[Any, BeforeValidator(_id)]
_Number = Typed[Any, BeforeValidator(_number)]
_Name = Typed[str, BeforeValidator(_name)]


class _Image(BaseModel):
    id: _Id
    file_name: _Name
    height: Typed[Any, BeforeValidator(_side)] = None
    width: Typed[Any, BeforeValidator(_side)] = None


class _Box(BaseModel):
    image_id: _Id
    category_id: _Id
    bbox: tuple[_Number, _Number, _Number, _Number]
    iscrowd: Typed[Any, BeforeValidator(_crowd)] = False
    area: Typed[Any, BeforeValidator(_area)] = 0.0


class _Category(BaseModel):
    id: _Id
    name: _Name
    supercategory: Any = None


class _Content(BaseModel):
    images: Typed[list[_Image], FailFast()]
    annotations: Typed[list[_Box], FailFast()]
    categories: Typed[list[_Category], FailFast()]


# What would have been right, where pydantic's own words would not help.
_ALLOWED = dict.fromkeys(("tuple_type", "too_long", "missing"), _FOUR)
_ALLOWED |= {"model_type": "an object with fields"}


@dataclass(frozen=True)
class Source:
    """A file of annotations, where its images are, and the option that names the file."""

    path: Path
    finder: ImageFinder
    key: str = "annotations"


@dataclass(frozen=True)
class Annotations:
    """What files of annotations hold.

    Attributes:
        images: in the order of the files; categories of their objects are ids of `categories`.
        counts: of the images of each file.
        categories: id to name, by ascending id; label k is the k-th of them.
        notes: what was read in another form than COCO's, in sentences.
    """

    images: tuple[Annotated, ...]
    counts: tuple[int, ...]
    categories: Mapping[int, str]
    notes: tuple[str, ...]

    @property
    def labels(self) -> Mapping[int, int]:
        """The label of each category's id."""
        return {number: label for label, number in enumerate(self.categories)}


_COUNTS = {2: "two", 3: "three"}


def read_annotations(sources: Sequence[Source]) -> Annotations:
    """The images and boxes of COCO `instances` files, whose categories are those of the first.

    Ids may be numbers or texts; those of categories may start anywhere and have gaps; ids of
    annotations are not read. Crowd boxes are kept as such. An image's size may be left out.

    Raises:
        UserError: no such file, not JSON, a missing key, a box of an unknown image or category, two
            categories of one name, a category of a later file that the first one does not have.
    """
    contents = [_read(source.path) for source in sources]
    used = [{box.category_id for box in content.annotations} for content in contents]
    used_names = {
        look(one.name)
        for content, ids in zip(contents, used, strict=True)
        for one in content.categories
        if one.id in ids
    }
    notes: list[str] = []
    # By the look of its name, the id in the data set of each category.
    path, first = sources[0].path, contents[0]
    names, ids = _categories(path, first.categories, used[0], used_names, notes)
    images: list[Annotated] = []
    for source, content in zip(sources, contents, strict=True):
        source.finder.announce(one.file_name for one in content.images)
    for source, content, of_file in zip(sources, contents, used, strict=True):
        numbers = _numbers(source.path, "categories", content.categories, notes)
        by_id = {}
        for one in content.categories:
            if look(one.name) in ids:
                by_id[one.id] = ids[look(one.name)]
            elif one.id in of_file:
                raise UserError(
                    f"the {_COUNTS[len(sources)]} files have different categories: {one.name!r} is "
                    "only in this one",
                    file=str(source.path),
                    key=source.key,
                )
        missing = set(names.values()) - {names[number] for number in by_id.values()}
        if missing:
            notes.append(f"{source.path.name} has no category {first_few(sorted(missing))}")
        if any(numbers[one] != by_id[one] for one in by_id):
            notes.append(f"{source.path.name}: categories are matched by name, not by id")
        images += _images(source, content, by_id, notes)
    counts = tuple(len(content.images) for content in contents)
    return Annotations(tuple(images), counts, names, tuple(dict.fromkeys(notes)))


def _images(
    source: Source,
    content: _Content,
    categories: Mapping[Any, int],
    notes: list[str],
) -> list[Annotated]:
    """The images of a file with their objects."""
    path = source.path
    numbers = _numbers(path, "images", content.images, notes)
    objects: dict[Any, list[BoxObject]] = {one.id: [] for one in content.images}
    for index, entry in enumerate(content.annotations):
        image, category = objects.get(entry.image_id), categories.get(entry.category_id)
        if image is None or category is None:
            kind = "image" if image is None else "category"
            problem = f"there is no {kind} with the id {getattr(entry, f'{kind}_id')!r}"
            raise UserError(problem, file=str(path), key=f"annotations[{index}].{kind}_id")
        image.append(BoxObject(entry.bbox, category, entry.iscrowd, entry.area))
    paths = [source.finder.find(one.file_name) for one in content.images]
    if repeated := len(paths) - len(set(paths)):
        notes.append(
            f"{repeated:,} images of {path.name} stand there before: each has boxes of its own"
        )
    return [
        Annotated(
            id=numbers[one.id],
            path=file,
            size=(one.height, one.width) if one.height and one.width else None,
            objects=objects[one.id],
        )
        for one, file in zip(content.images, paths, strict=True)
    ]


def _read(path: Path) -> _Content:
    if not is_file(path):
        raise UserError("there is no such file", file=str(path), key="annotations")
    try:
        plain = json.loads(path.read_bytes())
        _add_boxes(plain)
        return _Content.model_validate(plain)
    except OSError as error:
        raise UserError(f"cannot be read: {error}", file=str(path)) from error
    except ValidationError as error:
        raise _mistake(path, error) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not JSON: {error}", file=str(path)) from error


def _add_boxes(plain: Any) -> None:
    """Gives annotations that have an outline and no box the box around it."""
    entries = plain.get("annotations") if isinstance(plain, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("bbox") in (None, [], [0, 0, 0, 0]):
            outline = entry.get("segmentation")
            parts = outline if isinstance(outline, list) else []
            points = list(chain.from_iterable(p for p in parts if isinstance(p, list)))
            if len(points) >= 6 and all(isinstance(v, int | float) for v in points):
                xs, ys = points[::2], points[1::2]
                entry["bbox"] = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _mistake(path: Path, error: ValidationError) -> UserError:
    """The first mistake that pydantic found, with its key in the file."""
    first = error.errors(include_url=False)[0]
    kind, location = first["type"], first["loc"]
    if len(location) < 2:
        return UserError(
            f"has no list {location[0] if location else 'images'!r}",
            file=str(path),
            allowed="a COCO file of instances: images, annotations, categories",
        )
    missing = kind == "missing"
    key = _key(location[:-1] if missing else location)
    if missing and isinstance(location[-1], str):
        return UserError(f"{location[-1]!r} is missing", file=str(path), key=key)
    words = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    problem = f"{reprlib.repr(first['input'])} cannot be used"
    return UserError(problem, file=str(path), key=key, allowed=_ALLOWED.get(kind, words))


def _key(location: Sequence[int | str]) -> str:
    """`annotations[2].bbox[1]`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).removeprefix(".")


def _numbers(path: Path, part: str, entries: Sequence[Any], notes: list[str]) -> dict[Any, int]:
    """A number for each id: the id itself, or its place in the file, from 1, if some are texts."""
    numbers: dict[Any, int] = {}
    texts = any(isinstance(entry.id, str) for entry in entries)  # or numbers of 2^53 and more
    for index, entry in enumerate(entries):
        if entry.id in numbers:
            key = f"{part}[{index}].id"
            raise UserError(f"the id {entry.id!r} is used twice", file=str(path), key=key)
        numbers[entry.id] = index + 1 if texts else entry.id
    if texts:
        notes.append(
            f"ids of {part} are texts or very large: they are numbered in the order of the file"
        )
    return numbers


def _categories(
    path: Path,
    entries: Sequence[_Category],
    used: set[Any],
    used_names: set[str],
    notes: list[str],
) -> tuple[dict[int, str], dict[str, int]]:
    """Names by ascending id, and ids by the look of a name, which is that of a metric.

    What no box shows is left out if it is the root of others, or has the name of another.
    """
    numbers = _numbers(path, "categories", entries, notes)
    if not entries:
        raise UserError("holds no category", file=str(path), key="categories")
    looks = Counter(look(one.name) for one in entries)
    roots = {
        look(one.supercategory)
        for one in entries
        if isinstance(one.supercategory, str) and look(one.supercategory) != look(one.name)
    }
    kept = []
    for one in entries:
        key = look(one.name)
        # One that shares its name is left out if it is not used and another one is.
        is_root = key in roots and key not in used_names
        is_copy = looks[key] > 1 and one.id not in used and key in used_names
        if is_root or is_copy:
            notes.append(f"the category {one.id!r}, {one.name!r}, has no box and is left out")
        else:
            kept.append(one)
    same = Counter(look(one.name) for one in kept)
    key, count = same.most_common(1)[0] if kept else ("", 0)
    if count > 1:
        alike = [one for one in kept if look(one.name) == key]
        ids = " and ".join(str(one.id) for one in alike)
        odd = odd_characters("".join(one.name for one in alike))
        raise UserError(
            f"{alike[0].name!r} is the name of the ids {ids}" + (f" (with {odd})" if odd else ""),
            file=str(path),
            key="categories",
            hint="give each its own name, or give the boxes of both the same id",
        )
    names = dict(sorted((numbers[one.id], one.name) for one in kept))
    return names, {look(name): number for number, name in names.items()}
