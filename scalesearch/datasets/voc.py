"""Pascal VOC: a folder with JPEGImages and Annotations, an XML file for each image."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from scalesearch.datasets._box_images import (
    Annotated,
    BoxObject,
    box_data,
    own_split,
    read_box_files,
    split_files,
)
from scalesearch.datasets._boxes import VOC, BoxCheck
from scalesearch.datasets._class_folders import note_alike, parts_of
from scalesearch.datasets._find_images import ImageFinder
from scalesearch.datasets._listing import LeftOutFiles, first_few, sub_folders
from scalesearch.datasets._pixels import Levels, check_levels
from scalesearch.datasets._split import check_split
from scalesearch.errors import UserError
from scalesearch.files.paths import is_dir, is_file
from scalesearch.interfaces import BoxData
from scalesearch.text import look

_ANSWER = re.compile(r"\s+(1|-1|0)$")  # lists of one class say whether it is in the image


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images with boxes in Pascal VOC's format; objects marked as difficult count as crowd.

    Attributes:
        path: a folder such as VOC2012, with Annotations and JPEGImages; one where XML files and
            images lie together; or one with two of these, `train` and one of `val`, `valid`,
            `validation` and `test`, which are then the split.
        train, val: names of lists in ImageSets/Main, such as train and val; without them all
            images are taken and a share is drawn.
        validation: that share, 0.2 by default.
        limit: at most so many training, and so many validation images; null takes all.
        flip: whether objects may be mirrored.
        levels: the values that become black and white in images of more than 8 bits a pixel; by
            default 0 and 65535, or those that the images use if that is less than half of it.
    """

    task: ClassVar[str] = "detection"

    path: Path
    train: str | None = None
    val: str | None = None
    validation: float | None = None
    limit: int | None = None
    flip: bool = True
    levels: Levels | None = None

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit)
        check_levels(self.levels)
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
        left_out = LeftOutFiles(self.path)
        reader = _Reader(left_out)
        counts = [reader.read(folder, names) for folder, names in self._parts()]
        for finder in reader.finders.values():
            finder.check()
        classes, names = _classes(reader.spellings)
        labels = {name: label for label, name in enumerate(classes)}
        files = read_box_files(
            reader.images,
            {spelling: labels[name] for spelling, name in names.items()},
            check=BoxCheck(VOC, key=""),
            channels=3,
            levels=self.levels,
        )
        if len(counts) == 2:
            split = own_split(files, counts[0], self.limit, seed, left_out)
        else:
            split = split_files(files, self.validation, self.limit, seed, left_out)
        return box_data(
            files,
            split,
            categories=dict(enumerate(classes, start=1)),
            flip=self.flip,
            notes=reader.notes(),
            left_out=left_out,
        )

    def _parts(self) -> list[tuple[Path, list[str] | None]]:
        """Folders with the names to read in each, or all; two of them are the split."""
        if self.train is not None and self.val is not None:
            train, val = self._listed(self.train, "train"), self._listed(self.val, "val")
            return [(self.path, train), (self.path, val)]
        if is_dir(self.path) and not _xml_files(self.path):
            train_folders, others = parts_of(sub_folders(self.path, LeftOutFiles(self.path)))
            if len(train_folders) == len(others) == 1:
                if self.validation is not None:
                    raise UserError(
                        f"{self.path} holds its own split, {train_folders[0].name} and "
                        f"{others[0].name}",
                        key="validation",
                        hint="leave it out, or set path to one of them to split that part alone",
                    )
                return [(train_folders[0], None), (others[0], None)]
        return [(self.path, None)]

    def _listed(self, name: str, key: str) -> list[str]:
        file = self.path / "ImageSets" / "Main" / f"{name}.txt"
        if not is_file(file):
            raise UserError(f"there is no {file}", key=key)
        # A name in another encoding becomes that of a missing file, which the error then names.
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [_ANSWER.sub("", line.strip()) for line in lines if line.strip()]
        return list(dict.fromkeys(names))


@dataclass
class _Reader:
    """Collects the annotations of folders.

    Attributes:
        left_out: takes the images that nothing names.
        images: with their boxes, in the order of reading; categories are names as written.
        finders: of the images, by folder.
        spellings: how often each name of a class is written so.
        swapped: boxes whose corners are in another order.
    """

    left_out: LeftOutFiles
    images: list[Annotated] = field(default_factory=list)
    finders: dict[Path, ImageFinder] = field(default_factory=dict)
    spellings: Counter[str] = field(default_factory=Counter)
    swapped: int = 0

    def read(self, folder: Path, names: Sequence[str] | None) -> int:
        """Reads the annotations of these names, or all; how many images they are."""
        annotations = _sub_folder(folder, "annotations")
        if names is None:
            names = sorted(file.stem for file in _xml_files(folder))
            if not names:
                raise UserError(
                    f"there is no .xml file in {folder / 'Annotations'}, nor in {folder}",
                    key="path",
                    hint=_hint(folder),
                )
        pages = [_read(annotations / f"{name}.xml") for name in names]
        # Copied pages all name the picture of the first: their own names tell them apart.
        uses = Counter(page.file_name for page in pages)
        place = _sub_folder(folder, "jpegimages", "images")
        if place not in self.finders:
            self.finders[place] = ImageFinder(place, "path", self.left_out, ".xml")
        for name, page in zip(names, pages, strict=True):
            own = [page.file_name] if page.file_name and uses[page.file_name] == 1 else []
            self.spellings.update(str(one.category) for one in page.objects)
            self.swapped += page.swapped
            self.images.append(
                Annotated(
                    id=len(self.images) + 1,
                    path=self.finders[place].find(*own, Path(name).name),
                    size=page.size,
                    objects=page.objects,
                )
            )
        return len(pages)

    def notes(self) -> list[str]:
        """What was read in another form than Pascal VOC's, in sentences."""
        alike: dict[str, list[str]] = {}
        for spelling in self.spellings:
            alike.setdefault(look(spelling), []).append(spelling)
        notes = [note_alike(sorted(names)) for names in alike.values() if len(names) > 1]
        if self.swapped:
            notes.append(f"{self.swapped:,} boxes have their corners in another order")
        return [*notes, *(note for each in self.finders.values() for note in each.notes())]


@dataclass(frozen=True)
class _Page:
    """One XML file; `size` is height and width, or None where it does not say."""

    file_name: str
    size: tuple[int, int] | None
    objects: list[BoxObject]
    swapped: int


def _classes(spellings: Counter[str]) -> tuple[list[str], dict[str, str]]:
    """The names of the classes, sorted, and of each spelling that of its class."""
    by_look: dict[str, str] = {}
    # The spelling in use most often is the name.
    for spelling, _ in sorted(spellings.items(), key=lambda item: (-item[1], item[0])):
        by_look.setdefault(look(spelling), unicodedata.normalize("NFC", spelling))
    names = {spelling: by_look[look(spelling)] for spelling in spellings}
    return sorted(by_look.values()), names


def _hint(folder: Path) -> str:
    """Which sub-folder is perhaps meant."""
    inner = sub_folders(folder, LeftOutFiles(folder)) if is_dir(folder) else []
    meant = [str(one) for one in inner if _xml_files(one)]
    return f"is one of these meant: {first_few(meant)}?" if meant else ""


def _sub_folder(folder: Path, *names: str) -> Path:
    """The sub-folder of one of these names, in any case, or the folder itself."""
    inner = {one.name.lower(): one for one in folder.iterdir()} if is_dir(folder) else {}
    found = (inner[name] for name in names if name in inner and inner[name].is_dir())
    return next(found, folder)


def _xml_files(folder: Path) -> list[Path]:
    place = _sub_folder(folder, "annotations")
    return [file for file in place.glob("*.[xX][mM][lL]") if not file.name.startswith(".")]


def _read(file: Path) -> _Page:
    """One XML file; its corners count pixels from 1, the last included."""
    if not is_file(file):
        raise UserError("there is no such file", file=str(file), key="Annotations")
    try:
        root = ElementTree.parse(file).getroot()
        if root.tag != "annotation":
            raise ValueError(f"it begins with <{root.tag[:80]}>, not with <annotation>")
        objects: list[BoxObject] = []
        swapped = 0
        for entry in root.iter("object"):
            x0, y0, x1, y1 = (
                _number(entry, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")
            )
            # Beyond rounding: corners one apart are those of a box without area.
            if x0 > x1 + 1 or y0 > y1 + 1:
                swapped += 1
                x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
            objects.append(
                BoxObject((x0, y0, x1, y1), _text(entry, "name"), _is_true(entry, "difficult"))
            )
        height, width = (_side(root, f"size/{key}") for key in ("height", "width"))
        return _Page(
            file_name=(root.findtext("filename") or "").strip(),
            size=(height, width) if height and width else None,
            objects=objects,
            swapped=swapped,
        )
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        problem = f"is not an annotation of Pascal VOC: {error}"
        raise UserError(problem, file=str(file)) from error


def _side(root: ElementTree.Element, path: str) -> int:
    """A side in pixels; 0 where it is not said."""
    text = (root.findtext(path) or "").strip()
    value = _number(root, path) if text else 0.0
    if not value.is_integer():
        raise ValueError(f"<{path}> is {text[:80]}")
    return max(0, int(value))


def _is_true(root: ElementTree.Element, path: str) -> bool:
    return (root.findtext(path) or "").strip().lower() in ("1", "1.0", "true", "yes")


def _number(root: ElementTree.Element, path: str) -> float:
    text = _text(root, path)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"<{path}> is {text[:80]}")
    return value


def _text(root: ElementTree.Element, path: str) -> str:
    text = (root.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"<{path}> is missing")
    return text
