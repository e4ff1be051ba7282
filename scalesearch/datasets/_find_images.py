"""The image files that annotations name, also where their paths are of another machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from scalesearch.datasets._listing import LeftOutFiles, first_few, list_images
from scalesearch.errors import UserError
from scalesearch.files.paths import is_dir, is_file
from scalesearch.text import look


class ImageFinder:
    """Finds the files of one folder by the names that annotations give them.

    A name is a path below the folder. One that is none may be a path of another system or machine,
    or lack its folders or its ending: then it is the one file that shares most of its last parts.

    Attributes:
        folder: of the images.
        key: of the option that names it.
        left_out: takes the files of the folder that are not asked for.
        annotations: the ending of files of annotations that may lie among the images.
    """

    def __init__(self, folder: Path, key: str, left_out: LeftOutFiles, annotations: str) -> None:
        self._folder, self._key, self._left_out = folder, key, left_out
        self._annotations = annotations
        self._total = 0
        self._listed: list[str] | None = None
        self._by_stem: dict[str, list[str]] = {}
        self._named: set[str] = set()
        self._elsewhere: list[str] = []
        self._missing: list[str] = []

    def find(self, *names: str) -> str:
        """The file of the first of these names that has one; it may be missing (see `check`)."""
        self._total += 1
        found = next((path for name in names if (path := self._direct(name))), None)
        if found is None:
            found = next((path for name in names if (path := self._alike(name))), None)
            if found is not None:
                self._elsewhere.append(f"{names[0]} as {Path(found).relative_to(self._folder)}")
        if found is None:
            self._missing.append(str(self._folder / names[0]))
            return self._missing[-1]
        self._named.add(found)
        return found

    def check(self) -> None:
        """Raises `UserError` if files are missing, and counts those that were not asked for."""
        if self._missing:
            missing = self._missing
            others = f"{len(self._listing()):,} images lie in {self._folder}"
            raise UserError(
                f"{len(missing):,} of {self._total:,} images are missing: {first_few(missing)}",
                key=self._key,
                hint=f"are the file names relative to this folder? {others}",
            )
        for path in self._listing():
            if path not in self._named:
                self._left_out.add("that no annotation in use names", path)

    def notes(self) -> list[str]:
        """What was found under another name."""
        count = len(self._elsewhere)
        few = first_few(self._elsewhere, 2)
        return [f"{count:,} images are found by the end of their names: {few}"] if count else []

    def _direct(self, name: str) -> str | None:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return None
        path = self._folder / name
        return str(path) if is_file(path) else None

    def _alike(self, name: str) -> str | None:
        """The one file whose path ends most like a name."""
        wanted = _parts(name)
        if not wanted:
            return None
        matches = [
            (_shared_end(wanted, _parts(str(Path(path).relative_to(self._folder)))), path)
            for path in self._of_stem(wanted[-1])
        ]
        best = max((shared for shared, _ in matches), default=0)
        paths = [path for shared, path in matches if shared == best]
        return paths[0] if len(paths) == 1 else None

    def _of_stem(self, name: str) -> Iterable[str]:
        if not self._by_stem:
            for path in self._listing():
                last = _parts(Path(path).name)[-1]
                # Under its name, and under its name without the ending.
                for key in {last, last.rpartition(".")[0]}:
                    self._by_stem.setdefault(key, []).append(path)
        return self._by_stem.get(name, ())

    def _listing(self) -> list[str]:
        if self._listed is None:
            self._listed = []
            if is_dir(self._folder):
                self._listed = list_images(self._folder, self._left_out, self._annotations)
        return self._listed


def _parts(name: str) -> list[str]:
    """The parts of a path of any system, as they look, in lower case."""
    return [look(part).casefold() for part in re.split(r"[/\\]+", name) if part not in ("", ".")]


def _shared_end(one: list[str], other: list[str]) -> int:
    """How many parts two paths share, from the end; the last is known to be the same."""
    shared = 1
    for a, b in zip(one[-2::-1], other[-2::-1], strict=False):
        if a != b:
            break
        shared += 1
    return shared
