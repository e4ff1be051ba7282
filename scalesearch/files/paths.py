"""Whether a path leads to something, also one that no file can have."""

from __future__ import annotations

from pathlib import Path

LONGEST_PATH = 4096  # characters: no system takes longer paths, and longer ones are slow to look at


def is_file(path: Path | str) -> bool:
    """Also of a name that is too long for a file, or holds what no name can."""
    try:
        return len(str(path)) <= LONGEST_PATH and Path(path).is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path | str) -> bool:
    """The same of files and folders."""
    try:
        return len(str(path)) <= LONGEST_PATH and Path(path).exists()
    except (OSError, ValueError):
        return False


def is_dir(path: Path | str) -> bool:
    """The same of folders."""
    try:
        return len(str(path)) <= LONGEST_PATH and Path(path).is_dir()
    except (OSError, ValueError):
        return False
