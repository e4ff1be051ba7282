"""A file as it is at a moment, to tell it from another one that takes its name later."""

from __future__ import annotations

import os
from typing import NamedTuple


class FileVersion(NamedTuple):
    """A file and what changes when it is replaced or written again.

    Attributes:
        path: as it was given.
        inode, size, mtime_ns: of it.
    """

    path: str
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str) -> FileVersion:
        """The version that lies there now; `OSError` if none can be seen."""
        status = os.stat(path)  # noqa: PTH116
        return cls(path, status.st_ino, status.st_size, status.st_mtime_ns)
