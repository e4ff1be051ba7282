"""Cells of a table of results: numbers as people write them, with units, and what is missing."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from scalesearch.errors import UserError
from scalesearch.units import parse_amount, parse_seconds

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset(("", "nan", "na", "n/a", "null", "none", "-", "–", "—"))  # noqa: RUF001
_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
_TIMES = re.compile(rf"{_NUMBER}\s*[x×]", re.IGNORECASE)  # noqa: RUF001
_SIDE = re.compile(rf"{_NUMBER}\s*(?:px|pixels?)", re.IGNORECASE)
_SIDES = re.compile(r"(\d+)\s*(?:px)?\s*[x×*]\s*(\d+)\s*(?:px)?", re.IGNORECASE)  # noqa: RUF001
_PERCENT = re.compile(rf"{_NUMBER}\s*%")
# 24M, 0.39 GFLOPs, 1.8B: papers count FLOPs in billions.
_AMOUNT = re.compile(
    rf"{_NUMBER}\s*([kKMGTB]?)\s*(?:flops?|macs?|madds?|mult-?adds?)?", re.IGNORECASE
)
_COMMA = re.compile(r"[+-]?\d+,\d+\D*")
_EXAMPLES = {
    "depth": "such as 1.2 or 1.2x",
    "width": "such as 1.2 or 1.2x",
    "resolution": "such as 224, 224px or 224x224",
    "accuracy": "such as 76.3, 76.3% or 0.763",
    "flops": "such as 390, 390M or 0.39G",
    "latency": "such as 0.02, 20ms or 0.02s",
    "weight": "such as 2 or 50k",
}
_FEW = 0.2  # share of rows; as many that are unlike the others are no accidents
_FAILED = 0.01  # accuracy (share) up to which a training has failed


def is_missing(cell: object) -> bool:
    """Whether a cell is empty or says that there is no number."""
    import pandas as pd

    if isinstance(cell, str):
        return cell.strip().casefold() in MISSING
    return bool(pd.isna(cell))  # type: ignore[call-overload]


def is_number(word: str) -> bool:
    """Whether a word is a number, with or without a unit of any kind."""
    for kind in ("resolution", "accuracy", "flops", "latency"):
        with suppress(UserError):
            return bool(np.isfinite(_number(word, kind, "", 0)[0]))
    return False


def numbers(frame: pd.DataFrame, column: str, kind: str) -> np.ndarray:
    """A column of numbers, float [rows]; nan where there is none.

    Args:
        frame: with the lines of the file as its index.
        column: its name.
        kind: `depth`, `width`, `resolution`, `accuracy` (or error), `flops`, `latency` or
            `weight`: what units may stand behind the numbers. FLOPs come as single ones and
            latencies in seconds where they have units.

    Raises:
        UserError: with the line of a cell that is no number, or has no unit where others have.
    """
    pairs = [_number(cell, kind, column, int(str(line))) for line, cell in frame[column].items()]
    values = np.array([value for value, _ in pairs])
    united = np.array([unit for _, unit in pairs])
    known = np.isfinite(values)
    if kind in ("flops", "latency") and united.any() and not united[known].all():
        odd, usual = int(np.argmax(known & ~united)), int(np.argmax(united))
        raise UserError(
            f"{frame[column].iloc[odd]} has no unit, and {frame[column].iloc[usual]} "
            f"in line {frame.index[usual]} has one",
            key=column,
            line=int(frame.index[odd]),
            allowed="a unit in all rows, or in none",
        )
    return values


def positive(frame: pd.DataFrame, column: str, kind: str) -> np.ndarray:
    """A column of numbers above 0, none of them missing, float [rows]; see `numbers`."""
    values = numbers(frame, column, kind)
    wrong = ~(values > 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        cell = frame[column].iloc[row]
        empty = f"the cell is empty{f' ({cell!r})' if isinstance(cell, str) else ''}"
        raise UserError(
            empty if np.isnan(values[row]) else f"{values[row]:g} cannot be used",
            key=column,
            line=int(frame.index[row]),
            allowed="above 0",
        )
    return values


def error_shares(frame: pd.DataFrame, metric: str, minimize: bool, notes: list[str]) -> np.ndarray:
    """Errors as shares, of percent or shares of accuracy or error, float [rows].

    Few values below 1 among percent are percent. nan stands for a training that failed: a few that
    are right in 1 % of cases at most, whatever the classes are, would only pull a surface down.

    Raises:
        UserError: with the line of a value that cannot be used, or is mixed with others.
    """
    values, lines = numbers(frame, metric, "accuracy"), frame.index.to_numpy()
    signs = frame[metric].map(lambda cell: isinstance(cell, str) and "%" in cell).to_numpy(bool)
    percent, unlike = _in_percent(values, metric, signs, lines)
    shares = values / 100 if percent else values
    failed = (
        (shares >= 1 - _FAILED) & (shares <= 1) if minimize else (shares >= 0) & (shares <= _FAILED)
    )
    failed &= _few(failed) and not failed.all()
    if (unlike & ~failed).any():
        notes.append(
            f"{_where(values, lines, unlike & ~failed)}, read as percent as the others are"
        )
    if failed.any():
        notes.append(
            f"left out as failed trainings: {_where(values, lines, failed)}"
            + (", read as percent as the others are" if percent else "")
        )
    wrong = ((shares <= 0) | (shares >= 1)) & ~failed
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{values[row]:g} cannot be used",
            key=metric,
            line=int(lines[row]),
            allowed="between 0 and 100 %",
        )
    shares = np.where(failed, np.nan, shares)
    if len(shares) > 1 and np.nanmax(shares) - np.nanmin(shares) < 1e-9:
        value = values[~failed][0]
        raise UserError(f"all rows have {value:g}: nothing can be learnt of them", key=metric)
    return shares if minimize else 1 - shares


def _few(rows: np.ndarray) -> bool:
    """Whether so few rows are unlike the others that they are accidents."""
    return bool(rows.sum() < max(2, _FEW * len(rows)))


def _in_percent(
    values: np.ndarray,
    metric: str,
    signs: np.ndarray,
    lines: np.ndarray,
) -> tuple[bool, np.ndarray]:
    """Whether a metric is in percent, by its name, its cells' signs, or most of its values.

    And which rows look like shares all the same, bool [rows].
    """
    percent = signs | (values > 1)
    if signs.all() or "%" in metric or "percent" in metric.lower() or percent.all():
        return True, np.zeros(len(values), bool)
    if not percent.any():
        return False, percent
    most = bool(percent.mean() > 0.5)
    if most and _few(~percent):
        return True, ~percent
    odd, usual = int(np.argmax(percent != most)), int(np.argmax(percent == most))
    raise UserError(
        f"{values[odd]:g} beside {values[usual]:g} in line {lines[usual]}: "
        "percent and shares are mixed",
        key=metric,
        line=int(lines[odd]),
        allowed="all in percent, or all as shares of 1",
        hint="a column with % or percent in its name is read as percent",
    )


def _where(values: np.ndarray, lines: np.ndarray, rows: np.ndarray) -> str:
    """Values of rows, with their lines."""
    each = [f"{values[row]:g} in line {lines[row]}" for row in np.flatnonzero(rows)]
    return ", ".join(each[:6]) + (f" and {len(each) - 6} more" if len(each) > 6 else "")


def _number(cell: object, kind: str, column: str, line: int) -> tuple[float, bool]:
    """A cell's number, nan if it is missing, and whether it has a unit that others must have."""
    if is_missing(cell):
        return float("nan"), False
    try:
        value, unit = float(cell), False  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value, unit = float("nan"), True
    if unit and isinstance(cell, str):
        value = _with_unit(cell.strip(), kind, column, line)
    if not np.isfinite(value):
        comma = isinstance(cell, str) and _COMMA.fullmatch(cell.strip())
        raise UserError(
            f"{str(cell)!r} is no number",
            key=column,
            line=line,
            allowed=_EXAMPLES[kind],
            hint="a decimal comma is read where the columns are separated by ;" if comma else "",
        )
    return value, unit


def _with_unit(word: str, kind: str, column: str, line: int) -> float:
    """The number before a unit; nan if there is none that the kind of column may have."""
    if kind == "resolution" and (match := _SIDES.fullmatch(word)):
        if float(match[1]) != float(match[2]):
            raise UserError(
                f"{word} is not square",
                key=column,
                line=line,
                allowed="square images, such as 224 or 224x224",
                hint="leave the row out, or give the side of a square of as many pixels",
            )
        return float(match[1])
    patterns = {"depth": (_TIMES,), "width": (_TIMES,), "accuracy": (_PERCENT,)}
    for pattern in {**patterns, "resolution": (_TIMES, _SIDE)}.get(kind, ()):
        if match := pattern.fullmatch(word):
            return float(match[1])
    try:
        if kind == "latency":
            return parse_seconds(word)
        if kind in ("flops", "weight") and (match := _AMOUNT.fullmatch(word)):
            return parse_amount(match[1] + match[2].replace("B", "G"))
    except UserError:
        pass
    return float("nan")
