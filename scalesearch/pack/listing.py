"""A digest of the files that a data set is read from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from scalesearch.errors import UserError
from scalesearch.interfaces import Data, hook
from scalesearch.pack.manifest import parts_of

_AT_ONCE, _IN_A_ROW = 16, 512  # files that are looked at: disks may be far away


def listing(data: Data, *, times: bool = False) -> str:
    """A digest of the names and sizes of a data set's files; nothing if some images have none.

    With `times` also of when they were changed. Names are relative to the folder that holds all.
    """
    parts = [_files(images) for images in parts_of(data).values()]
    if any(paths is None for paths in parts):
        return ""
    every = list(dict.fromkeys(path for paths in parts if paths for path in paths))
    root = os.path.commonpath([os.path.dirname(path) for path in every])  # noqa: PTH120

    def look(start: int) -> str:
        return "".join(_line(path, root, times) for path in every[start : start + _IN_A_ROW])

    digest = hashlib.blake2b(digest_size=8)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for lines in pool.map(look, range(0, len(every), _IN_A_ROW)):
            digest.update(lines.encode(errors="surrogateescape"))
    return digest.hexdigest()


def has_files(images: Any) -> bool:
    """Whether files stand for the images of a part."""
    return _files(images) is not None


def _files(images: Any) -> Sequence[str] | None:
    """The files that images lie in; None of those in memory, whose files may be gone."""
    if hook(images, "in_memory"):
        return None
    paths: Sequence[str] | None = hook(images, "paths")
    return hook(images, "containers") if paths is None else paths


def _line(path: str, root: str, times: bool) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116  a million of them
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", key="dataset") from error
    changed = f" {status.st_mtime_ns}" if times else ""
    return f"{os.path.relpath(path, root)}\0{status.st_size}{changed}\n"
