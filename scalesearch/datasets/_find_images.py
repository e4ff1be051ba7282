"""The image files that annotations name, also where their paths are of another machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from scalesearch.datasets._checked_files import Source
from scalesearch.datasets._listing import (
    LeftOutFiles,
    Listing,
    endings,
    first_few,
    joined,
    list_images,
)
from scalesearch.datasets._manifest import Manifest, open_manifest
from scalesearch.errors import UserError
from scalesearch.files.paths import is_dir, is_file
from scalesearch.text import look


class ImageFinder:
    """Finds the files of one folder by the names that annotations give them.

    A name is a path below the folder. One that is none may be a path of another system or machine,
    or lack its folders or its ending: then it is the one file that shares most of its last parts,
    and that is no other name's.

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
        self._ends: dict[int, dict[str, list[str]]] = {}
        self._announced: set[str] = set()  # files that are some name's path
        self._named: dict[str, None] = {}  # files that were found, in their order
        self._elsewhere: dict[str, str] = {}  # file to the name under which it was found
        self._missing: list[str] = []

    def announce(self, names: Iterable[str]) -> None:
        """Names that will be asked for: the file of one is not taken for another's."""
        self._announced.update(path for name in names if (path := self._direct(name)))

    def find(self, *names: str) -> str:
        """The file of the first of these names that has one; it may be missing (see `check`)."""
        self._total += 1
        found = next((path for name in names if (path := self._direct(name))), None)
        if found is None:
            pairs = ((name, path) for name in names if (path := self._alike(name)))
            name, found = next(pairs, ("", None))
            # A file that was found under one name is missing under another.
            if found is not None and self._elsewhere.setdefault(found, name) != name:
                found = None
        if found is None:
            self._missing.append(str(self._folder / names[-1]))
            return self._missing[-1]
        self._named[found] = None
        return found

    def check(self) -> None:
        """Raises `UserError` if files are missing, and counts those that were not asked for."""
        if self._missing:
            missing = self._missing
            others = f"{len(self._listing.paths):,} images lie in {self._folder}"
            raise UserError(
                f"{len(missing):,} of {self._total:,} images are missing: {first_few(missing)}",
                key=self._key,
                hint=f"are the file names relative to this folder? {others}",
            )
        for path in self._listing.paths:
            if path not in self._named:
                self._left_out.add("that no annotation in use names", path)

    def source(self) -> Source:
        """The files that were found, and what is known of them."""
        paths = [path for path in self._named if path in self._places]
        listed = self._listing.choose(np.array([self._places[path] for path in paths], np.int64))
        others = Listing.of([path for path in self._named if path not in self._places])
        return Source(joined([listed, others]), self._manifest)

    def notes(self) -> list[str]:
        """What was found under another name."""
        if not self._elsewhere:
            return []
        pairs = [
            f"{name} as {Path(path).relative_to(self._folder)}"
            for path, name in self._elsewhere.items()
        ]
        few = first_few(pairs, 2)
        return [f"{len(pairs):,} images are found by the end of their names: {few}"]

    def _direct(self, name: str) -> str | None:
        """The file at this path, which may lack the ending of an image."""
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return None
        path = self._folder / name
        if str(path) in self._places or is_file(path):
            return str(path)
        if path.suffix.lower() in endings():
            return None
        parts = _parts(name)
        here = [path for path in self._ending_in(parts) if len(self._split[path]) == len(parts)]
        return here[0] if len(here) == 1 else None

    def _alike(self, name: str) -> str | None:
        """The one file whose path ends most like a name, with or without its ending."""
        parts = _parts(name)
        stem = parts[-1].rpartition(".")[0] if parts else ""
        for wanted in (parts, [*parts[:-1], stem] if stem else []):
            for count in range(min(len(wanted), self._deepest), 0, -1):
                paths = [p for p in self._ending_in(wanted[-count:]) if p not in self._announced]
                if paths:
                    return paths[0] if len(paths) == 1 else None
        return None

    def _ending_in(self, parts: Sequence[str]) -> Sequence[str]:
        """The files whose paths end in these parts, the last with its ending or without."""
        count = len(parts)
        if not 0 < count <= self._deepest:
            return ()
        if count not in self._ends:
            ends = self._ends[count] = {}
            for path, own in self._split.items():
                if len(own) >= count:
                    *folders, last = own[-count:]
                    for word in {last, last.rpartition(".")[0]}:
                        ends.setdefault("/".join([*folders, word]), []).append(path)
        return self._ends[count].get("/".join(parts), ())

    @cached_property
    def _split(self) -> dict[str, list[str]]:
        """Each file to the parts of its path below the folder."""
        root = self._folder
        return {path: _parts(str(Path(path).relative_to(root))) for path in self._listing.paths}

    @cached_property
    def _deepest(self) -> int:
        return max(map(len, self._split.values()), default=0)

    @cached_property
    def _manifest(self) -> Manifest:
        return open_manifest(self._folder)

    @cached_property
    def _listing(self) -> Listing:
        if not is_dir(self._folder):
            return Listing.of([])
        is_known = self._manifest.is_known
        return list_images(self._folder, self._left_out, self._annotations, is_known)

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each file stands in the listing."""
        return {path: place for place, path in enumerate(self._listing.paths)}


def _parts(name: str) -> list[str]:
    """The parts of a path of any system, as they look, in lower case."""
    return [look(part).casefold() for part in re.split(r"[/\\]+", name) if part not in ("", ".")]
