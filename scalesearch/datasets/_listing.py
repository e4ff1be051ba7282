"""Which files of a folder are images of a data set, and why others are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from stat import S_ISREG

import numpy as np
from PIL import Image

from scalesearch.errors import UserError
from scalesearch.interfaces import FileAccount, LeftOut
from scalesearch.text import printable

# Formats that Pillow only identifies, has to hand to another program, or that hold no picture.
_NOT_READ = frozenset(
    ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PCD", "SPIDER", "WMF", "XVTHUMB")
)
# Folders of file systems and tools; others of theirs begin with a point or an @.
_TOOLS = frozenset(
    (
        *("#recycle", "#snapshot", "$recycle.bin", "__macosx", "__pycache__", "lost+found"),
        "system volume information",
    )
)
_LONGEST_LINK = 255  # bytes
_NAMES = 3  # shown of the files that are left out for one reason

IN_TOOLS_FOLDER = "in hidden or tools' folders"
HIDDEN = "hidden"
DEAD_LINK = "links to nothing"
TEXT_LINK = "links that lie here as text"  # as copies on disks without links have them
LINKED_TWICE = "folders not entered, as they are links to one that is listed already"
NO_FILE = "neither files nor folders"


@cache
def formats() -> tuple[str, ...]:
    """What Pillow reads, the usual formats first."""
    Image.init()
    usual = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO")
    others = sorted(set(Image.OPEN) - set(usual) - _NOT_READ)
    return (*(name for name in usual if name in Image.OPEN), *others)


@cache
def endings() -> frozenset[str]:
    """The endings of image files, in lower case, with their point."""
    Image.init()
    read = set(formats())
    return frozenset(end for end, name in Image.registered_extensions().items() if name in read)


@dataclass(frozen=True)
class Listing:
    """Files, and what their folders say of them.

    Attributes:
        paths: of each.
        stats: int64 [N, 2]: bytes, and nanoseconds since 1970 of the last change.
    """

    paths: Sequence[str]
    stats: np.ndarray

    @classmethod
    def of(cls, paths: Sequence[str]) -> Listing:
        """Files that are looked at one by one; those that cannot be are no file's size and time."""
        return cls(paths, np.array([_stat(path) for path in paths], np.int64).reshape(-1, 2))

    def choose(self, indices: np.ndarray) -> Listing:
        """Some of the files, in the order of the indices."""
        return Listing([self.paths[index] for index in indices.tolist()], self.stats[indices])


def joined(listings: Sequence[Listing]) -> Listing:
    """All files of several listings."""
    return Listing(
        [path for one in listings for path in one.paths],
        np.concatenate([np.empty((0, 2), np.int64), *(one.stats for one in listings)]),
    )


class LeftOutFiles:
    """Collects the files that are left out, by reason; names are shown relative to `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, reason: str, path: str, count: int = 1) -> None:
        """`count` files at a path."""
        self._counts[reason] = self._counts.get(reason, 0) + count
        names = self._names.setdefault(reason, [])
        if len(names) < _NAMES:
            names.append(printable(os.path.relpath(path, self._root)))

    def account(self, taken: Iterable[str]) -> FileAccount:
        """The whole account, the most frequent first."""
        by_count = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        ends: Counter[str] = Counter()
        for text, count in Counter([path.rpartition(".")[2] for path in taken]).items():
            ends[_ending(f"name.{text}")] += count
        return FileAccount(
            taken=dict(ends.most_common()),
            left_out=tuple(LeftOut(r, self._counts[r], tuple(self._names[r])) for r in by_count),
        )

    def add_rest(self, count: int) -> None:
        """The images that a limit leaves out, if it does."""
        if count:
            self.add("beyond the limit", str(self._root), count)

    def include(self, others: LeftOutFiles) -> None:
        """Adds what was left out below a folder of this one."""
        for reason, count in others._counts.items():
            for number, name in enumerate(others._names[reason]):
                path = str(others._root / name)
                self.add(reason, path, 1 if number else count - len(others._names[reason]) + 1)

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {reason}" for reason, count in self._counts.items())


def is_tools(name: str) -> bool:
    """Whether a folder of this name is hidden, or one of a file system or a tool."""
    return name.startswith((".", "@")) or name.lower() in _TOOLS


def sub_folders(folder: Path, left_out: LeftOutFiles) -> list[Path]:
    """The folders in a folder, sorted, links to folders included; what is not one is left out.

    Raises:
        UserError: it may not be read.
    """
    found = []
    for entry in _entries(str(folder)):
        if not _is_dir(entry):
            _leave_out(entry, left_out, "beside the folders of the classes")
        elif is_tools(entry.name):
            left_out.add(IN_TOOLS_FOLDER, entry.path, count_files(entry.path))
        else:
            found.append(Path(entry.path))
    return found


def inner_names(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted; errors as of `sub_folders`."""
    entries = _entries(str(folder))
    return [entry.name for entry in entries if _is_dir(entry) and not is_tools(entry.name)]


def list_images(
    folder: Path,
    left_out: LeftOutFiles,
    beside: str = "",
    is_known: Callable[[str, os.stat_result], bool] = lambda path, status: False,
) -> Listing:
    """Every image file below a folder, sorted by path; links are followed, each folder once.

    Files that end in `beside` are not counted: they are read as what they are. `is_known` says
    whether a small file was opened before as it is now, and is no link that lies there as text.

    Raises:
        UserError: a folder may not be read.
    """
    paths: list[str] = []
    stats: list[int] = []
    entered: set[tuple[int, int]] = set()
    ends = endings()
    # Linked folders come last, so that a folder is listed under its own path.
    folders, linked = [str(folder)], list[str]()
    while folders or linked:
        path = folders.pop() if folders else linked.pop(0)
        place = Path(path).stat()
        if (identity := (place.st_dev, place.st_ino)) in entered:
            left_out.add(LINKED_TWICE, path)
            continue
        entered.add(identity)
        for entry in _entries(path):
            if (status := _image_status(entry, ends)) is not None:
                size = status.st_size
                if size > _LONGEST_LINK or is_known(entry.path, status) or not _link_text(entry):
                    paths.append(entry.path)
                    stats += (size, status.st_mtime_ns)
                else:
                    _leave_out(entry, left_out)
            elif _is_dir(entry):
                if is_tools(entry.name):
                    left_out.add(IN_TOOLS_FOLDER, entry.path, count_files(entry.path))
                else:
                    (linked if entry.is_symlink() else folders).append(entry.path)
            elif not (beside and entry.name.lower().endswith(beside) and _is_file(entry)):
                _leave_out(entry, left_out)
    listing = Listing(paths, np.array(stats, np.int64).reshape(-1, 2))
    if len(entered) == 1:
        return listing
    # As paths are ordered part by part: no name holds the character that sorts first.
    keys = [path.replace(os.sep, "\0") for path in paths]
    return listing.choose(np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64))


def _image_status(entry: os.DirEntry[str], ends: frozenset[str]) -> os.stat_result | None:
    """Size and times of a file that is an image by its name; None of all else.

    A million files pass here, each is asked for once.
    """
    name = entry.name
    if name[name.rfind(".") :].lower() not in ends or name.startswith("."):
        return None
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere, or back to itself
        return None
    return status if S_ISREG(status.st_mode) else None


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _ending(path: str) -> str:
    """As `Path.suffix`, in lower case."""
    name = path[path.rfind(os.sep) + 1 :]
    start = name.rfind(".")
    return name[start:].lower() if 0 < start < len(name) - 1 else ""


def _stat(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _link_text(entry: os.DirEntry[str]) -> str:
    """Where a link leads that a copy on a disk without links made a file of; else nothing.

    Of files of images and without an ending: text is what others are for.
    """
    if entry.stat().st_size > _LONGEST_LINK or _ending(entry.name) not in (*endings(), ""):
        return ""
    try:
        text = Path(entry.path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    return text if "/" in text and text.isprintable() and " " not in text else ""


def _leave_out(entry: os.DirEntry[str], left_out: LeftOutFiles, otherwise: str = "") -> None:
    """Counts a file that is no image of the data set under its reason."""
    if entry.is_symlink() and not Path(entry.path).exists():
        reason = DEAD_LINK
    elif not _is_file(entry):
        reason = NO_FILE
    elif entry.name.startswith("."):
        reason = HIDDEN
    elif link := _link_text(entry):
        reason = TEXT_LINK if (Path(entry.path).parent / link).exists() else DEAD_LINK
    elif otherwise:
        reason = otherwise
    else:
        ending = printable(_ending(entry.name))
        reason = f"ending in {ending}" if ending else "without an ending"
    left_out.add(reason, entry.path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=attrgetter("name"))
    except OSError as error:
        raise UserError(
            f"the folder {printable(folder)} cannot be read: {error.strerror}", key="path"
        ) from error


def count_files(folder: str) -> int:
    """How many files lie below a folder; links are not followed."""
    return max(1, sum(len(files) for _, _, files in os.walk(folder)))


def first_few(names: Iterable[str], count: int = 5) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = len(every) - count
    return ", ".join(map(printable, every[:count])) + (f" and {more:,} more" if more > 0 else "")
