"""The files that a pattern names, and the parts of a split that their names say."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from scalesearch.datasets._listing import first_few
from scalesearch.datasets._parts import part_of
from scalesearch.errors import UserError
from scalesearch.files.paths import is_dir, is_file

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MOST_FILES = 100_000
_BETWEEN_WORDS = re.compile(r"[\W\d_]+")


def files_of(pattern: Path, ending: str, key: str) -> list[Path]:
    """The files at a path: one file, those of a folder that have an ending, or of a pattern.

    `train-{000..099}.tar` names a hundred files, all of which must be there, in their order;
    `{a,b}` two; `*`, `?` and `[0-9]` stand for characters of the names of files that are there.

    Raises:
        UserError: there is none, or some are missing.
    """
    if is_dir(pattern):
        files = sorted(
            file
            for file in pattern.iterdir()
            if file.name.endswith(ending) and not file.name.startswith(".") and is_file(file)
        )
        if files:
            return files
        near = sorted(file.name for file in pattern.glob(f"*{ending}.*"))[:3]
        inner = sorted({file.parent.name for file in pattern.glob(f"*/*{ending}")})
        raise UserError(
            f"there is no {ending} file in {pattern}",
            key=key,
            hint=f"is one of its folders meant, {first_few(inner)}?"
            if inner
            else (f"it holds {first_few(near)}" if near else ""),
        )
    if is_file(pattern):
        return [pattern]
    named = _expanded(str(pattern), key)
    found = [path for one in named for path in (_globbed(one) if _is_pattern(one) else [Path(one)])]
    missing = [str(path) for path in found if not is_file(path)]
    if missing or not found:
        raise UserError(
            f"{len(missing):,} of the {len(found):,} files that {pattern} names are missing: "
            f"{first_few(missing)}"
            if found and len(named) > 1
            else f"there is no file {pattern}",
            key=key,
            allowed=f"a file, a folder of {ending} files, or a pattern with * or {{000..099}}",
        )
    return list(dict.fromkeys(found))


def named_parts(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Part (`train`, `validation`, `test`) to its files, if these are named by more than one;
    nothing otherwise.

    Raises:
        UserError: some are named so, and others are not.
    """
    parts: dict[str, list[Path]] = {}
    others: list[str] = []
    for file in files:
        of_words = {part_of(word) for word in _BETWEEN_WORDS.split(file.name.split(".")[0])}
        of_words.discard(None)
        if len(of_words) == 1:
            parts.setdefault(str(of_words.pop()), []).append(file)
        else:
            others.append(file.name)
    if len(parts) < 2:
        return {}
    if others:
        raise UserError(
            f"some files are named as parts of a split ({', '.join(sorted(parts))}), and "
            f"{len(others):,} are not: {first_few(others, 3)}",
            key="path",
            hint="name those that are to train with a pattern",
        )
    return parts


def _is_pattern(path: str) -> bool:
    return any(mark in path for mark in "*?[")


def _globbed(pattern: str) -> list[Path]:
    return sorted(Path(path) for path in glob.glob(pattern))  # noqa: PTH207


def _expanded(pattern: str, key: str) -> list[str]:
    """A pattern for each combination of what stands in its braces."""
    pieces = _BRACES.split(pattern)
    choices = [[piece] if n % 2 == 0 else _choices(piece, key) for n, piece in enumerate(pieces)]
    if math.prod(map(len, choices)) > _MOST_FILES:
        raise UserError(f"{pattern} names more than {_MOST_FILES:,} files", key=key)
    return ["".join(one) for one in product(*choices)]


def _choices(text: str, key: str) -> list[str]:
    """`{000..002}` stands for 000, 001 and 002; `{a,b}` for a and b."""
    between = _RANGE.fullmatch(text)
    if between is None:
        return text.split(",") if "," in text else [f"{{{text}}}"]
    first, last = between.groups()
    if not int(first) <= int(last) <= int(first) + _MOST_FILES:
        raise UserError(
            f"{{{text}}} is not a range of files",
            key=key,
            allowed=f"two numbers that ascend, at most {_MOST_FILES:,} apart",
        )
    width = len(first) if first.startswith("0") else 0
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
