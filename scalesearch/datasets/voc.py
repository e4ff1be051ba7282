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
    read_box_files,
    readable,
    split_files,
)
from scalesearch.datasets._boxes import VOC, BoxCheck, voc_form
from scalesearch.datasets._checked_files import check_files, check_skip
from scalesearch.datasets._class_folders import leave_out_folder, note_alike, parts_of
from scalesearch.datasets._find_images import ImageFinder
from scalesearch.datasets._listing import LeftOutFiles, endings, first_few, sub_folders
from scalesearch.datasets._own_parts import assign, require_share
from scalesearch.datasets._pixels import Levels, check_levels
from scalesearch.datasets._split import TestImages, check_split, shares_of
from scalesearch.errors import UserError
from scalesearch.files.paths import is_dir, is_file
from scalesearch.interfaces import BoxData
from scalesearch.text import look

_ANSWER = re.compile(r"\s+(1|-1|0)$")  # lists of one class say whether it is in the image
_FOLDERS = ("annotations", "jpegimages", "images")
_Place = tuple[Path, Path, list[str] | None]
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding=["']([\w.:-]+)["'][^>]*\?>""")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images with boxes in Pascal VOC's format; objects marked as difficult count as crowd.

    Attributes:
        path: a folder such as VOC2012, with Annotations and JPEGImages; one where XML files and
            images lie together; or one with `train`, `val` (or `valid`, `validation`) and `test`,
            or two of these, which are then the split: `test` is kept for the end where something
            else validates.
        train, val: names of lists in ImageSets/Main, such as train and val; without them all
            images are taken and a share is drawn. Without `val`, and with a list for `test`, a
            share of those in `train` validates.
        validation: that share, 0.2 by default.
        test: share of the images that no phase sees, on which the networks that are reported are
            scored once at the end; or the name of a list, or of one of the folders, of such images.
        limit: at most so many images of each part; null takes all.
        flip: whether objects may be mirrored.
        levels: the values that become black and white in images of more than 8 bits a pixel; by
            default 0 and 65535, or those that the images use if that is less than half of it.
        skip_unreadable: so many files that are no images are left out; more are an error.
    """

    task: ClassVar[str] = "detection"

    path: Path
    train: str | None = None
    val: str | None = None
    validation: float | None = None
    test: TestImages = None
    limit: int | None = None
    flip: bool = True
    levels: Levels | None = None
    skip_unreadable: int = 0

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit, self.test)
        check_levels(self.levels)
        check_skip(self.skip_unreadable)
        lists = {"train": self.train, "val": self.val}
        if self.train is not None and isinstance(self.test, str):
            lists["test"] = self.test
        if (self.train is None or "test" not in lists) and (self.train is None) != (
            self.val is None
        ):
            raise UserError(
                "train and val are given together or not at all",
                key="val" if self.val is None else "train",
                hint="" if self.train is None else "or name a list of test images: `test: test`",
            )
        if self.validation is not None and self.val is not None:
            raise UserError(
                "train and val are given already",
                key="validation",
                hint="leave it out, or leave both lists out",
            )

    def load(self, seed: int) -> BoxData:
        """Reads every annotation, opens the images that no earlier start opened, and splits."""
        left_out = LeftOutFiles(self.path)
        reader = _Reader(left_out)
        notes: list[str] = []
        counts = {part: reader.read(*place) for part, place in self._parts(left_out, notes).items()}
        for finder in reader.finders.values():
            finder.check()
        classes, names = _classes(reader.spellings)
        labels = {name: label for label, name in enumerate(classes)}
        sources = [each.source() for each in reader.finders.values()]
        checked = check_files(sources, left_out, self.skip_unreadable)
        images, counts = readable(reader.images, counts, checked)
        files = read_box_files(
            images,
            {spelling: labels[name] for spelling, name in names.items()},
            checked,
            check=BoxCheck(reader.form, key=""),
            channels=3,
            levels=self.levels,
        )
        shares = shares_of(self.validation, self.test)
        split = split_files(files, counts, shares, self.limit, seed, left_out)
        return box_data(
            files,
            split,
            categories=dict(enumerate(classes, start=1)),
            flip=self.flip,
            notes=(*notes, *reader.notes()),
            left_out=left_out,
        )

    def _parts(self, left_out: LeftOutFiles, notes: list[str]) -> dict[str, _Place]:
        """Of each part the folders of annotations and of images, and the names to read or all.

        What is to be said of the split is added to the notes.
        """
        whole = _places(self.path)
        if self.train is not None:
            lists = {"train": self.train, "val": self.val, "test": self.test}
            return {
                "validation" if key == "val" else key: (*whole, self._listed(name, key))
                for key, name in lists.items()
                if isinstance(name, str)
            }
        named = self._named_parts(whole)
        if not named:
            require_share(self.test, self.path)
            return {"train": (*whole, None)}
        # Parts with both kinds of files in each, or both kinds with the parts in each.
        parts = [assign(each, self.validation, self.test, self.path) for each in named]
        notes += parts[0][1]
        for folder, (each, _) in zip(dict.fromkeys(whole), parts, strict=True):
            for one in sub_folders(folder, LeftOutFiles(folder)):
                if one not in each.values():
                    leave_out_folder(one, left_out)
        first, last = parts[0][0], parts[-1][0]
        if len(parts) == 1:
            return {part: (*_places(place), None) for part, place in first.items()}
        return {part: (place, last[part], None) for part, place in first.items()}

    def _named_parts(self, whole: tuple[Path, Path]) -> list[dict[str, Path]]:
        """The folders of a split by their names: in one folder, or in each of both; or none."""
        if not is_dir(self.path) or _xml_files(whole[0]):
            return []
        found = []
        for place in dict.fromkeys(whole):
            candidates = parts_of(sub_folders(place, LeftOutFiles(place)))
            if len(candidates["validation"]) > 1:
                return []
            found.append({part: each[0] for part, each in candidates.items() if len(each) == 1})
        shared = [part for part in found[0] if all(part in each for each in found)]
        if "test" in shared and "validation" in shared:
            place = found[0]["test"]  # pictures alone may lie there, to be predicted
            if not _xml_files(_places(place)[0] if len(found) == 1 else place):
                shared.remove("test")
        if "train" not in shared or len(shared) < 2:
            return []
        return [{part: each[part] for part in shared} for each in found]

    def _listed(self, name: str, key: str) -> list[str]:
        file = self.path / "ImageSets" / "Main" / f"{name.removesuffix('.txt')}.txt"
        if not is_file(file):
            raise UserError(f"there is no {file}", key=key)
        # A name in another encoding becomes that of a missing file, which the error then names.
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        names = [_listed_name(line.strip()) for line in lines if line.strip()]
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
        fit_as_sides: boxes that lie within their images if the second corner is width and height.
        renamed: pages that name another picture than that of their own name, which is taken.
    """

    left_out: LeftOutFiles
    images: list[Annotated] = field(default_factory=list)
    finders: dict[Path, ImageFinder] = field(default_factory=dict)
    spellings: Counter[str] = field(default_factory=Counter)
    swapped: int = 0
    fit_as_sides: int = 0
    renamed: list[str] = field(default_factory=list)

    def read(self, annotations: Path, place: Path, names: Sequence[str] | None) -> int:
        """Reads the annotations of these names, or all; how many images they are."""
        if names is None:
            names = sorted(file.stem for file in _xml_files(annotations))
            if not names:
                raise UserError(
                    f"there is no .xml file in {annotations}, nor in a folder Annotations of it",
                    key="path",
                    hint=_hint(annotations),
                )
        pages = [_read(annotations / f"{name}.xml") for name in names]
        # Copied pages all name the picture of the first: their own names tell them apart.
        uses = Counter(page.file_name for page in pages)
        if place not in self.finders:
            self.finders[place] = ImageFinder(place, "path", self.left_out, ".xml")
        finder = self.finders[place]
        finder.announce(names)
        for name, page in zip(names, pages, strict=True):
            # Renamed pictures may not have their new names inside of the pages.
            own = [page.file_name] if page.file_name and uses[page.file_name] == 1 else []
            path = finder.find(name, Path(name).name, *own)
            self.spellings.update(str(one.category) for one in page.objects)
            self.swapped += page.swapped
            self.fit_as_sides += page.fit_as_sides
            if own and look(Path(path).stem) != look(_stem_of(page.file_name)):
                self.renamed.append(f"{name}.xml names {page.file_name}")
            self.images.append(
                Annotated(
                    id=len(self.images) + 1,
                    path=path,
                    size=page.size,
                    objects=page.objects,
                )
            )
        return len(pages)

    @property
    def form(self) -> str:
        """How the boxes are written.

        Raises:
            UserError: most have their corners in another order and fit as width and height.
        """
        boxes = [one.box for image in self.images for one in image.objects]
        if self.swapped > len(boxes) / 2 and self.fit_as_sides > 0.9 * len(boxes):
            raise UserError(
                f"{self.swapped:,} of {len(boxes):,} boxes have xmax below xmin, or ymax below "
                "ymin: are these widths and heights?",
                key="path",
                allowed="corners of boxes in pixels",
                hint="mend the annotations",
            )
        return voc_form(boxes)

    def notes(self) -> list[str]:
        """What was read in another form than Pascal VOC's, in sentences."""
        alike: dict[str, list[str]] = {}
        for spelling in self.spellings:
            alike.setdefault(look(spelling), []).append(spelling)
        notes = [note_alike(sorted(names)) for names in alike.values() if len(names) > 1]
        if self.swapped:
            notes.append(f"{self.swapped:,} boxes have their corners in another order")
        if self.renamed:
            few = first_few(self.renamed, 2)
            notes.append(
                f"{len(self.renamed):,} annotations name another picture than their own names, "
                f"which are taken: {few}"
            )
        if self.images and self.form != VOC:
            notes.append("corners are counted from 0, not from 1: some lie below 1")
        return [*notes, *(note for each in self.finders.values() for note in each.notes())]


@dataclass(frozen=True)
class _Page:
    """One XML file; `size` is height and width, or None where it does not say."""

    file_name: str
    size: tuple[int, int] | None
    objects: list[BoxObject]
    swapped: int
    fit_as_sides: int


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
    meant = [str(one) for one in inner if _xml_files(_places(one)[0])]
    return f"is one of these meant: {first_few(meant)}?" if meant else ""


def _places(folder: Path) -> tuple[Path, Path]:
    """The folders of annotations and of images, named in any case, or the folder itself."""
    inner = {one.name.lower(): one for one in folder.iterdir()} if is_dir(folder) else {}
    folders = {name: one for name in _FOLDERS if (one := inner.get(name)) and one.is_dir()}
    annotations = folders.pop("annotations", folder)
    return annotations, next(iter(folders.values()), folder)


def _xml_files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.[xX][mM][lL]") if not file.name.startswith(".")]


def _listed_name(line: str) -> str:
    """The name in a line of a list, which may give paths of the image, the annotation or both."""
    words = line.split()
    if len(words) > 1 and words[-1].lower().endswith(".xml"):
        line = words[-1]
    parts = re.split(r"[/\\]+", _ANSWER.sub("", line))
    known = [index for index, part in enumerate(parts) if part.lower() in _FOLDERS]
    path = "/".join(parts[known[-1] + 1 :] if known else parts)
    return _without_ending(path)


def _stem_of(name: str) -> str:
    return _without_ending(re.split(r"[/\\]", name)[-1])


def _without_ending(path: str) -> str:
    """A path without the ending of an image or an annotation: names may hold other points."""
    start, point, ending = path.rpartition(".")
    return start if start and point + ending.lower() in (*endings(), ".xml") else path


def _read_xml(file: Path) -> ElementTree.Element:
    content = file.read_bytes()
    try:
        return ElementTree.fromstring(content)
    except ValueError:  # an encoding that the parser does not know, and Python may
        declared = _ENCODING.match(content)
        if declared is None:
            raise
        return ElementTree.fromstring(content[declared.end() :].decode(declared[1].decode()))


def _read(file: Path) -> _Page:
    """One XML file; its corners count pixels from 1, the last included."""
    if not is_file(file):
        raise UserError("there is no such file", file=str(file), key="Annotations")
    try:
        root = _read_xml(file)
        if root.tag != "annotation":
            raise ValueError(f"it begins with <{root.tag[:80]}>, not with <annotation>")
        height, width = (_side(root, f"size/{key}") for key in ("height", "width"))
        objects: list[BoxObject] = []
        swapped = fit_as_sides = 0
        for entry in root.iter("object"):
            x0, y0, x1, y1 = (
                _number(entry, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")
            )
            fit_as_sides += x0 + x1 <= width + 1 and y0 + y1 <= height + 1
            # Beyond rounding: corners one apart are those of a box without area.
            if x0 > x1 + 1 or y0 > y1 + 1:
                swapped += 1
                x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
            objects.append(
                BoxObject((x0, y0, x1, y1), _text(entry, "name"), _is_true(entry, "difficult"))
            )
        return _Page(
            file_name=(root.findtext("filename") or "").strip(),
            size=(height, width) if height and width else None,
            objects=objects,
            swapped=swapped,
            fit_as_sides=fit_as_sides,
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
