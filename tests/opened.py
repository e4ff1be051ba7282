"""Which files of a folder are opened, by any library: Python itself tells."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_watched: dict[str, list[str]] = {}  # folder to what was opened in it


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.fsdecode(arguments[0])
        for folder, names in _watched.items():
            # Folders are opened to be listed.
            if path.startswith(folder) and not Path(path).is_dir():
                names.append(path.removeprefix(folder))


sys.addaudithook(_note)  # there is no way to remove one: it rests while nothing is watched


@contextlib.contextmanager
def opened_in(folder: Path) -> Iterator[list[str]]:
    """The files of a folder that are opened within, relative to it."""
    root = str(folder) + os.sep
    names = _watched[root] = []
    try:
        yield names
    finally:
        del _watched[root]
