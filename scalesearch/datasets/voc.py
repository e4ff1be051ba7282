"""Pascal VOC: a folder with JPEGImages and Annotations, an XML file for each image."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from scalesearch.datasets._box_images import (
    BoxImage,
    BoxObject,
    FolderBoxes,
    box_data,
    check_images,
    clip_box,
    make_targets,
    notes_on,
)
from scalesearch.datasets._split import DEFAULT_VALIDATION, check_split
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData

_ANSWER = re.compile(r"\s+(1|-1|0)$")  # lists of one class say whether it is in the image


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images with boxes in Pascal VOC's format; objects marked as difficult count as crowd.

    Attributes:
        path: a folder such as VOC2012.
        train, val: names of lists in ImageSets/Main, such as train and val; without them all
            images are taken and a share is drawn.
        validation: that share, 0.2 by default.
        limit: at most so many training, and so many validation images; null takes all.
        flip: whether objects may be mirrored.
    """

    task: ClassVar[str] = "detection"

    path: Path
    train: str | None = None
    val: str | None = None
    validation: float | None = None
    limit: int | None = None
    flip: bool = True

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit)
        if (self.train is None) != (self.val is None):
            raise UserError(
                "train and val are given together or not at all",
                key="val" if self.val is None else "train",
            )
        if self.validation is not None and self.val is not None:
            raise UserError(
                "train and val are given already",
                key="validation",
                hint="leave it out, or leave both lists out",
            )

    def load(self, seed: int) -> BoxData:
        """Reads every annotation, opens each image once to check that it is one, and splits."""
        if self.train is not None and self.val is not None:
            names = self._listed(self.train, "train")
            train_count = len(names)
            names += self._listed(self.val, "val")
        else:
            names = self._all()
        odd_boxes: Counter[str] = Counter()
        annotations = [
            _read(self.path / "Annotations" / f"{name}.xml", odd_boxes) for name in names
        ]
        classes = sorted({str(each.category) for one in annotations for each in one.objects})
        images = self._images(annotations, classes)
        if self.train is not None:
            train = images.choose(range(train_count))
            validation = images.choose(range(train_count, len(images)))
        else:
            share = DEFAULT_VALIDATION if self.validation is None else self.validation
            train, validation = images.split(share, seed)
        return box_data(
            train.limited(self.limit, seed),
            validation.limited(self.limit, seed),
            categories=dict(enumerate(classes, start=1)),
            flip=self.flip,
            notes=notes_on(odd_boxes),
        )

    def _all(self) -> list[str]:
        folder = self.path / "Annotations"
        names = sorted(file.stem for file in folder.glob("*.xml"))
        if not names:
            raise UserError(f"there is no .xml file in {folder}", key="path")
        return names

    def _listed(self, name: str, key: str) -> list[str]:
        file = self.path / "ImageSets" / "Main" / f"{name}.txt"
        if not file.is_file():
            raise UserError(f"there is no {file}", key=key)
        # A name in another encoding becomes that of a missing file, which the error then names.
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        return [_ANSWER.sub("", line.strip()) for line in lines if line.strip()]

    def _images(self, annotations: list[_Annotation], classes: list[str]) -> FolderBoxes:
        labels = {name: label for label, name in enumerate(classes)}
        images = tuple(
            BoxImage(
                id=number,
                # Some tools write the path of the machine where the boxes were drawn.
                path=str(self.path / "JPEGImages" / Path(one.file_name).name),
                size=one.size,
                targets=make_targets(one.objects, labels),
            )
            for number, one in enumerate(annotations, start=1)
        )
        check_images(images)
        return FolderBoxes(images, channels=3)


@dataclass(frozen=True)
class _Annotation:
    """One XML file."""

    file_name: str
    size: tuple[int, int]
    objects: list[BoxObject]


def _read(file: Path, odd_boxes: Counter[str]) -> _Annotation:
    """One XML file; VOC's corners count pixels from 1, the last included."""
    if not file.is_file():
        raise UserError("there is no such file", file=str(file), key="Annotations")
    try:
        root = ElementTree.parse(file).getroot()
        size = (int(_text(root, "size/height")), int(_text(root, "size/width")))
        objects: list[BoxObject] = []
        for entry in root.iter("object"):
            x0, y0, x1, y1 = (
                _number(entry, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")
            )
            box = clip_box((x0 - 1, y0 - 1, x1, y1), size, odd_boxes)
            if box is not None:
                difficult = (entry.findtext("difficult") or "0").strip() == "1"
                objects.append(BoxObject(box, _text(entry, "name"), difficult))
        return _Annotation(_text(root, "filename"), size, objects)
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        problem = f"is not an annotation of Pascal VOC: {error}"
        raise UserError(problem, file=str(file)) from error


def _number(root: ElementTree.Element, path: str) -> float:
    text = _text(root, path)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"<{path}> is {text}")
    return value


def _text(root: ElementTree.Element, path: str) -> str:
    text = (root.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"<{path}> is missing")
    return text
