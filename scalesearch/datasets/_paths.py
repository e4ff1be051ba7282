"""The paths of many files, small to keep, quick to pickle, and shared by processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np


class Paths(Sequence[str]):
    """Paths as one text in two arrays, which pickle as such: a million are not a million objects.

    Attributes:
        text: uint8, what the file system calls them, a zero byte behind each.
        ends: int64 [N], of each path its zero byte.
    """

    __slots__ = ("ends", "text")

    def __init__(self, paths: Iterable[str]) -> None:
        joined = "\0".join([*paths, ""])
        self.text = np.frombuffer(os.fsencode(joined), np.uint8)
        self.ends = np.flatnonzero(self.text == 0)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        place = range(len(self))[index]
        start = self.ends[place - 1] + 1 if place else 0
        return os.fsdecode(self.text[start : self.ends[place]].tobytes())

    def __iter__(self) -> Iterator[str]:
        return iter(os.fsdecode(self.text.tobytes()).split("\0")[:-1])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Paths):
            return np.array_equal(self.text, other.text)
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # arrays have none either

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self[:3])}, … {len(self):,} in all)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.text, self.ends)

    def choose(self, indices: np.ndarray) -> Paths:
        """Some of the paths, in the order of the indices."""
        every = list(self)
        return Paths([every[index] for index in indices.tolist()])


def _restore(text: np.ndarray, ends: np.ndarray) -> Paths:
    paths = Paths.__new__(Paths)
    paths.text, paths.ends = text, ends
    return paths
