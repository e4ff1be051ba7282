"""Tables of networks that somebody has trained: CSV, JSON or Parquet, one row for each result."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.errors import UserError, nearest
from scalesearch.files.paths import is_file
from scalesearch.text import shortened

if TYPE_CHECKING:
    import pandas as pd

FORMS = (".csv", ".csv.gz", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
DATA = "SCALESEARCH_DATA"  # the environment variable that names the folder of such files
_MOST_SHOWN = 12
# A number with a decimal mark and perhaps a unit; and one whose mark may be that of thousands.
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+(?:[eE][+-]?\d+)?\s*[A-Za-z\u00b5\u00d7%]{0,8}")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}\s*[A-Za-z\u00b5\u00d7%]{0,8}")
# Words that stand for a number that is missing; as a choice they are words like others.
_NONE = ("", "nan", "NaN", "NA", "N/A", "null", "None")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table, in a unit of its own.

    Attributes:
        column: its name.
        times: what its values are multiplied by: 0.001 for milliseconds where seconds are wanted.
    """

    column: str
    times: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.times < math.inf:
            raise UserError(f"{self.times!r} is no factor", key="times", allowed="more than 0")


def find_table(path: Path) -> Path:
    """The file at a path, or of that name in the folder that `$SCALESEARCH_DATA` names.

    Raises:
        UserError: neither is there.
    """
    if is_file(path):
        return path
    folder = os.environ.get(DATA)
    if folder and is_file(Path(folder) / path.name):
        return Path(folder) / path.name
    there = f"nor {path.name} in ${DATA} ({folder})" if folder else f"and ${DATA} is not set"
    raise UserError(
        f"there is no file {path}, {there}",
        hint=f"give the file's path, or set {DATA} to the folder that holds it",
    )


def read_table(path: Path) -> pd.DataFrame:
    """The rows of a table, with columns as they are named in it.

    Raises:
        UserError: there is no such file, it cannot be read, or it has no rows.
    """
    import pandas as pd

    file = find_table(path)

    def csv(file: Path) -> pd.DataFrame:
        separator = _separator(file)
        frame = pd.read_csv(file, sep=separator, keep_default_na=False, na_values=[""])
        return _with_decimal_points(frame) if separator == ";" else frame

    readers: dict[str, Any] = {
        ".csv": csv,
        ".gz": csv,
        ".tsv": csv,
        ".json": partial(pd.read_json, dtype=False),
        ".jsonl": partial(pd.read_json, dtype=False, lines=True),
        ".ndjson": partial(pd.read_json, dtype=False, lines=True),
        ".parquet": pd.read_parquet,
    }
    if not file.name.lower().endswith(FORMS):
        raise UserError(f"{file.name} is no table", file=str(file), allowed=", ".join(FORMS))
    try:
        frame: pd.DataFrame = readers[file.suffix.lower()](file)
    except UserError as error:
        raise error.at(file=str(file)) from None
    except Exception as error:  # whatever a reader meets in a file that is none of its own
        reason = shortened(f"{type(error).__name__}: {error}")
        raise UserError(f"cannot be read as a table: {reason}", file=str(file)) from error
    frame.columns = [str(name).strip() for name in frame.columns]
    twice = sorted({name for name in frame.columns if list(frame.columns).count(name) > 1})
    if twice:
        raise UserError(f"two columns are named {twice[0]!r}", file=str(file))
    if frame.empty:
        raise UserError("the table has no rows", file=str(file))
    return frame


def _separator(file: Path) -> str:
    """What separates the columns of a CSV file: what its first line has most of."""
    import gzip

    opened = gzip.open if file.suffix.lower() == ".gz" else open
    with opened(file, "rb") as lines:
        head = next((line for line in lines if line.strip()), b"")
    bare = re.sub(rb'"[^"]*"', b"", head)
    return max(",;\t", key=lambda mark: bare.count(mark.encode()))


def _with_decimal_points(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with points for decimal commas, as in `61,97`, `61,97%` or `0,39G`.

    Raises:
        UserError: both marks are there, or a comma may separate thousands.
    """
    import pandas as pd

    words = frame.select_dtypes(exclude="number")
    cells = [
        (column, place, cell)
        for column in words
        for place, cell in enumerate(words[column])
        if isinstance(cell, str) and _DECIMAL.fullmatch(cell.strip())
    ]
    commas = [each for each in cells if "," in each[2]]
    if not commas:
        return frame
    points = [each for each in cells if "." in each[2]]
    for column in frame.select_dtypes(include="float"):
        wholes = frame[column].dropna() % 1 == 0
        points += [(column, 0, f"{frame[column][place]:g}") for place in wholes[~wholes].index[:1]]
    column, place, cell = commas[0]
    if points:
        raise UserError(
            f"{cell!r} has a comma, and {points[0][2]!r} in {points[0][0]!r} a point",
            key=str(column),
            line=place + 2,
            allowed="one decimal mark in the whole table, and no marks of thousands",
            hint=f"or leave the column {points[0][0]!r} out, if it is no number",
        )
    if all(_THOUSANDS.fullmatch(each[2].strip()) for each in commas):
        raise UserError(
            f"{cell!r} may be {cell.replace(',', '')} or {cell.replace(',', '.')}",
            key=str(column),
            line=place + 2,
            hint="write decimal points, and no marks of thousands",
        )
    found = frame.copy()
    for column in {each[0] for each in commas}:
        plain = [
            cell.replace(",", ".")
            if isinstance(cell, str) and _DECIMAL.fullmatch(cell.strip())
            else cell
            for cell in frame[column]
        ]
        try:
            found[column] = pd.to_numeric(pd.Series(plain, index=frame.index))
        except (TypeError, ValueError):  # words or units are beside the numbers
            found[column] = pd.Series(plain, index=frame.index, dtype=object)
    return found


def require_columns(frame: pd.DataFrame, names: Sequence[str], path: Path, key: str = "") -> None:
    """Raises `UserError` for the first column that a table lacks, with those that it has."""
    for name in names:
        if name not in frame.columns:
            missing = sum(other not in frame.columns for other in names)
            more = f" (nor {missing - 1} others)" if missing > 1 else ""
            shown = ", ".join(frame.columns[:_MOST_SHOWN])
            raise UserError(
                f"the table {path.name} has no column {name!r}{more}",
                key=key,
                allowed=shown + (", …" if len(frame.columns) > _MOST_SHOWN else ""),
                hint=nearest(name, list(frame.columns)),
            )


def plain_values(column: pd.Series) -> list[Any]:
    """A column's values as Python's own: 3 for 3.0, None for what is missing.

    Raises:
        UserError: a value is no number, word or truth value.
    """
    import pandas as pd

    values = column.tolist()
    for value in values:
        if isinstance(value, list | dict) or not isinstance(pd.isna(value), bool | np.bool_):
            raise _no_choice(column.name, value)
    missing = pd.isna(column).tolist()
    return [
        None if gone else _plain(value, column.name)
        for value, gone in zip(values, missing, strict=True)
    ]


def numbers(column: pd.Series, path: Path, key: str) -> np.ndarray:
    """A column of numbers, float [rows]; nan where a cell is empty or says that there is none.

    Raises:
        UserError: a cell holds something else.
    """
    import pandas as pd

    words = column.map(lambda v: None if isinstance(v, str) and v.strip() in _NONE else v)
    try:
        found: np.ndarray = pd.to_numeric(words).astype(float).to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError):
        raise UserError(
            f"the column {column.name!r} of {path.name} holds something else than numbers", key=key
        ) from None
    return found


def _plain(value: Any, name: object) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, bool | int | float):
        raise _no_choice(name, value)
    return value


def _no_choice(name: object, value: Any) -> UserError:
    return UserError(
        f"the column {name!r} holds {shortened(repr(value))}",
        allowed="numbers, words, true or false",
    )
