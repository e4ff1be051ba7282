"""Pascal VOC: a folder with JPEGImages and Annotations, an XML file for each image."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple
from xml.etree import ElementTree

from scalesearch.datasets._boxes import FolderBoxes, check_images, notes
from scalesearch.datasets._coco import Annotated, Thing, clip_box, make_targets
from scalesearch.datasets._split import check_limit, check_validation
from scalesearch.datasets.coco import box_data, limited_boxes, split_boxes
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData


class _Page(NamedTuple):
    """What one XML file says: the image's file name, height and width, and its objects by class."""

    file: str
    size: tuple[int, int]
    objects: list[tuple[str, Sequence[float], bool]]


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
        check_limit(self.limit)
        if (self.train is None) != (self.val is None):
            raise UserError(
                "train and val are given together or not at all",
                key="val" if self.val is None else "train",
            )
        if self.validation is not None:
            check_validation(self.validation)
            if self.val is not None:
                raise UserError(
                    "train and val are given already",
                    key="validation",
                    hint="leave it out, or leave both lists out",
                )

    def load(self, seed: int) -> BoxData:
        """Reads every annotation, opens each image once to see that it is one, and splits them."""
        if self.train is not None and self.val is not None:
            parts = [self._listed(self.train, "train"), self._listed(self.val, "val")]
        else:
            parts = [self._all()]
        odd: Counter[str] = Counter()
        pages = [[_read(self._annotation(name), odd) for name in part] for part in parts]
        classes = sorted({name for part in pages for page in part for name, _, _ in page.objects})
        images = self._images([page for part in pages for page in part], classes)
        if len(parts) == 2:
            first = len(parts[0])
            train = images.choose(range(first))
            validation = images.choose(range(first, len(images)))
        else:
            share = 0.2 if self.validation is None else self.validation
            train, validation = split_boxes(images, share, seed)
        given = Annotated((), (), (), (), dict(enumerate(classes, start=1)), odd)
        return box_data(
            limited_boxes(train, self.limit, seed),
            limited_boxes(validation, self.limit, seed),
            given,
            channels=3,
            flip=self.flip,
            odd=notes(odd),
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
        # Names in other encodings are those of files that are not there, which is told then.
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        return [_ANSWER.sub("", line.strip()) for line in lines if line.strip()]

    def _annotation(self, name: str) -> Path:
        return self.path / "Annotations" / f"{name}.xml"

    def _images(self, pages: list[_Page], classes: list[str]) -> FolderBoxes:
        labels = {name: label for label, name in enumerate(classes)}
        paths = [self.path / "JPEGImages" / Path(page.file).name for page in pages]
        sizes = tuple(page.size for page in pages)
        check_images(paths, sizes)
        things = [
            [
                Thing(box, labels[name], hard, (box[2] - box[0]) * (box[3] - box[1]))
                for name, box, hard in page.objects
            ]
            for page in pages
        ]
        return FolderBoxes(
            ids=tuple(range(1, len(pages) + 1)),
            paths=tuple(map(str, paths)),
            sizes=sizes,
            objects=tuple(map(make_targets, things)),
            channels=3,
        )


def _read(file: Path, odd: Counter[str]) -> _Page:
    """A page; VOC's corners count pixels from 1, the last included."""
    if not file.is_file():
        raise UserError("there is no such file", file=str(file), key="Annotations")
    try:
        root = ElementTree.parse(file).getroot()
        size = (int(_text(root, "size/height")), int(_text(root, "size/width")))
        found: list[tuple[str, Sequence[float], bool]] = []
        for entry in root.iter("object"):
            x0, y0, x1, y1 = (
                _number(entry, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")
            )
            box = clip_box((x0 - 1, y0 - 1, x1, y1), size, odd)
            if box is not None:
                hard = (entry.findtext("difficult") or "0").strip() == "1"
                found.append((_text(entry, "name"), box, hard))
        return _Page(_text(root, "filename"), size, found)
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise UserError(f"is no annotation of Pascal VOC: {error}", file=str(file)) from error


def _number(root: ElementTree.Element, path: str) -> float:
    text = _text(root, path)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"<{path}> is {text}")
    return value


def _text(root: ElementTree.Element, path: str) -> str:
    found = root.findtext(path)
    if not found or not found.strip():
        raise ValueError(f"<{path}> is missing")
    return found.strip()
