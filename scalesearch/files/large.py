"""Large files written piece by piece, whole or not at all; and one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from scalesearch.errors import UserError
from scalesearch.files.write import UNSUPPORTED
from scalesearch.units import format_bytes

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TAKEN = (errno.EAGAIN, errno.EACCES)  # of a lock that another process holds
_ELSEWHERE = "free some space, or write to another disk"


@dataclass(frozen=True)
class LargeFile:
    """A file that is being written.

    Attributes:
        path: the name that it will have.
        size: about how many bytes that takes.
        descriptor: of the open file.
    """

    path: Path
    size: int
    descriptor: int

    def write(self, content: memoryview | bytes, place: int) -> None:
        """Writes all of `content` from a place in the file on; `UserError` as of `large_file`."""
        view = memoryview(content).cast("B")
        with _placing(self.path, self.size):
            while view:
                written = os.pwrite(self.descriptor, view, place)
                view, place = view[written:], place + written


@contextmanager
def large_file(path: Path, size: int) -> Iterator[LargeFile]:
    """A file that has the name `path` once the block has ended without an error.

    Until then it lies beside it under a name of its own, which is removed whatever happens; what a
    killed process left there is removed by the next one that writes to `path`.

    Args:
        path: in a folder that is made.
        size: about how many bytes will be written, for which there must be space.

    Raises:
        UserError: the disk is full, or the place cannot be written.
    """
    beside = _beside(path)
    try:
        with _placing(path, size):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(path.parent, glob.escape(path.name))
            _require_space(path, size)
            file = _locked(beside)
        with file:
            yield LargeFile(path, size, file.fileno())
            with _placing(path, size):
                _flush(file.fileno())
                beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def require_writable(path: Path) -> None:
    """Tries whether a file can be made there, before long work; nothing stays of it.

    Raises:
        UserError: it cannot be made.
    """
    with _placing(path, 0):
        folder = next(each for each in path.absolute().parents if each.exists())
        probe = folder / _beside(path).name
        probe.open("xb").close()
        probe.unlink()


@contextmanager
def one_at_a_time(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Waits until no other process is in such a block of the same path; a killed one is in none.

    Where files cannot be locked, nothing waits.

    Args:
        path: of the file that is locked, in a folder that is made.
        waiting: called once if there is such a process.

    Raises:
        UserError: the place cannot be written.
    """
    with _placing(path, 0):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        with _placing(path, 0):
            _lock(file.fileno(), waiting)
        yield  # the lock goes when the file is closed


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Removes what killed processes left of files whose names match: what is written is locked."""
    for part in folder.glob(f".{pattern}.*.part"):
        # Opened for writing, as NFS locks no other files.
        with contextlib.suppress(OSError), part.open("r+b") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _beside(path: Path) -> Path:
    """A name that the file has while it is written."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextmanager
def _placing(path: Path, size: int) -> Iterator[None]:
    """Errors of the disk in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                "the disk is full, or a quota is used up",
                file=str(path),
                hint=f"{format_bytes(size)} are needed: {_ELSEWHERE}",
            ) from error
        raise UserError(f"cannot be written: {error.strerror or error}", file=str(path)) from error


def _require_space(path: Path, size: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise UserError(
            f"{format_bytes(size)} are needed and {format_bytes(free)} are free",
            file=str(path),
            hint=_ELSEWHERE,
        )


def _locked(path: Path) -> BinaryIO:
    """A new file that is open and locked."""
    while True:
        file = path.open("xb")
        try:
            _lock(file.fileno())
            if path.exists():
                return file
        except OSError:
            file.close()
            raise
        file.close()  # before it was locked, another process took it for an abandoned one


def _lock(descriptor: int, waiting: Callable[[], None] = lambda: None) -> None:
    """Waits for a lock that is held until the file is closed; `waiting` is called if it must."""
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
