"""The COCO files of a run folder: validation images with their objects, and what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalesearch.errors import UserError

Floats = NDArray[np.float64]


class Boxes(NamedTuple):
    """Boxes of one image, true or found.

    Attributes:
        corners: [M, 4] as x0, y0, x1, y1 in pixels of the image.
        classes: [M], category ids.
        scores: [M]; of what is true 1, of a crowd 0.
    """

    corners: Floats
    classes: NDArray[np.int64]
    scores: Floats


@dataclass(frozen=True)
class Picture:
    """A validation image.

    Attributes:
        number: COCO id.
        file: of the image.
        size: width and height in pixels.
        true: its objects and crowds.
    """

    number: int
    file: Path
    size: tuple[int, int]
    true: Boxes

    @property
    def objects(self) -> int:
        """How many objects are to be found."""
        return int((self.true.scores > 0).sum())


def read_truth(file: Path) -> tuple[list[Picture], dict[int, str]]:
    """The validation images by ascending id, and the name of each category id."""
    content = _content(file)
    objects: dict[int, list[tuple[Any, ...]]] = {}
    for entry in content["annotations"]:
        row = (entry["bbox"], entry["category_id"], 1 - bool(entry.get("iscrowd")))
        objects.setdefault(entry["image_id"], []).append(row)
    pictures = [
        Picture(
            entry["id"],
            Path(entry["file_name"]),
            (entry["width"], entry["height"]),
            _boxes(objects.get(entry["id"], [])),
        )
        for entry in content["images"]
    ]
    names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
    return sorted(pictures, key=lambda picture: picture.number), names


def read_found(file: Path) -> Mapping[int, Boxes]:
    """What was found in each image that anything was found in, best first."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    for entry in _content(file):
        row = (entry["bbox"], entry["category_id"], entry["score"])
        found.setdefault(entry["image_id"], []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: -row[2])
    return {number: _boxes(rows) for number, rows in found.items()}


def _boxes(rows: list[tuple[Any, ...]]) -> Boxes:
    corners = np.array([row[0] for row in rows], np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    classes = np.array([row[1] for row in rows], np.int64)
    return Boxes(corners, classes, np.array([row[2] for row in rows], np.float64))


def _content(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        hint = "delete it, and the report is drawn without it"
        raise UserError(f"is no JSON: {error}", file=str(file), hint=hint) from error
