"""COCO annotation files: images, categories and boxes, checked once when they are read."""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, FailFast, Field, ValidationError

from scalesearch.datasets._box_images import BoxImage, BoxObject, clip_box, make_targets, notes_on
from scalesearch.errors import UserError

# Below it every reader of JSON takes whole numbers as they are (RFC 8259).
_LIMIT = 2**53
# Without control characters and halves of characters, which no system has in a file's name.
_TEXT = re.compile(r"(?=.*\S)[^\x00-\x1f\ud800-\udfff]+")


def _text(value: str) -> str:
    if not _TEXT.fullmatch(value):
        raise ValueError("some text")
    return value


_Id = Annotated[int, Field(strict=True, gt=-_LIMIT, lt=_LIMIT)]
_Side = Annotated[int, Field(strict=True, gt=0, lt=_LIMIT)]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Name = Annotated[str, Field(strict=True), AfterValidator(_text)]


class _Image(BaseModel):
    id: _Id
    file_name: _Name
    height: _Side
    width: _Side


class _Box(BaseModel):
    image_id: _Id
    category_id: _Id
    bbox: tuple[_Number, _Number, _Number, _Number]
    iscrowd: Literal[0, 1] | None = None
    area: Annotated[_Number, Field(ge=0)] | None = None


class _Category(BaseModel):
    id: _Id
    name: _Name


class _Content(BaseModel):
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Box], FailFast()]
    categories: Annotated[list[_Category], FailFast()]


# What would have been right, where pydantic's own words would not help.
_ALLOWED = dict.fromkeys(("tuple_type", "too_long", "missing"), "[x, y, width, height] in pixels")
_ALLOWED |= {"model_type": "an object with fields", "int_parsing_size": "0 or 1"}


@dataclass(frozen=True)
class Annotations:
    """What a file of annotations holds.

    Attributes:
        images: in the order of the file.
        categories: COCO id to name, by ascending id; label k is the k-th of them.
        notes: what was done about odd boxes, in words.
    """

    images: tuple[BoxImage, ...]
    categories: Mapping[int, str]
    notes: tuple[str, ...]


def read_annotations(path: Path, folder: Path) -> Annotations:
    """The images (of `folder`) and boxes of a COCO `instances` file.

    Category ids may start anywhere and have gaps; ids of annotations are not read. Crowd boxes are
    kept as such. A box that reaches over its image is clipped, one without area is left out; both
    are counted in the notes.

    Raises:
        UserError: no such file, not JSON, a missing key, a box of an unknown image or category, two
            categories of one name, an image outside of the folder.
    """
    content = _read(path)
    categories = _categories(path, content.categories)
    labels = {number: label for label, number in enumerate(categories)}
    images = _by_id(path, "images", content.images)
    objects: dict[int, list[BoxObject]] = {number: [] for number in images}
    odd_boxes: Counter[str] = Counter()
    for index, entry in enumerate(content.annotations):
        image = images.get(entry.image_id)
        if image is None or entry.category_id not in labels:
            kind = "image" if image is None else "category"
            problem = f"there is no {kind} with the id {getattr(entry, f'{kind}_id')}"
            raise UserError(problem, file=str(path), key=f"annotations[{index}].{kind}_id")
        x, y, width, height = entry.bbox
        corners = (x, y, x + width, y + height)
        box = clip_box(corners, (image.height, image.width), odd_boxes)
        if box is not None:
            one = BoxObject(box, entry.category_id, bool(entry.iscrowd), entry.area or 0.0)
            objects[image.id].append(one)
    return Annotations(
        images=tuple(
            BoxImage(
                id=number,
                path=_inside(path, folder, image.file_name),
                size=(image.height, image.width),
                targets=make_targets(objects[number], labels),
            )
            for number, image in images.items()
        ),
        categories=categories,
        notes=notes_on(odd_boxes),
    )


def _read(path: Path) -> _Content:
    if not path.is_file():
        raise UserError("there is no such file", file=str(path), key="annotations")
    try:
        return _Content.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise UserError(f"cannot be read: {error}", file=str(path)) from error
    except ValidationError as error:
        raise _mistake(path, error) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not JSON: {error}", file=str(path)) from error


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


def _by_id(path: Path, part: str, entries: Sequence[Any]) -> dict[int, Any]:
    by_id: dict[int, Any] = {}
    for index, entry in enumerate(entries):
        if entry.id in by_id:
            key = f"{part}[{index}].id"
            raise UserError(f"the id {entry.id} is used twice", file=str(path), key=key)
        by_id[entry.id] = entry
    return by_id


def _categories(path: Path, entries: Sequence[_Category]) -> dict[int, str]:
    """Names by ascending id; each is the name of a metric, so no two are the same."""
    categories = {number: one.name for number, one in _by_id(path, "categories", entries).items()}
    if not categories:
        raise UserError("holds no category", file=str(path), key="categories")
    name, count = Counter(categories.values()).most_common(1)[0]
    if count > 1:
        ids = " and ".join(str(number) for number in categories if categories[number] == name)
        problem = f"{name!r} is the name of the ids {ids}"
        raise UserError(problem, file=str(path), key="categories")
    return dict(sorted(categories.items()))


def _inside(path: Path, folder: Path, name: str) -> str:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{name!r} leads out of the folder {folder}", file=str(path), key="images")
    return str(folder / name)
