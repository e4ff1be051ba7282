"""Tables of networks that somebody has trained: CSV, JSON or Parquet, one row for each result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.errors import UserError, nearest
from scalesearch.files.paths import is_file
from scalesearch.text import shortened

if TYPE_CHECKING:
    import pandas as pd

FORMS = (".csv", ".csv.gz", ".json", ".parquet")
DATA = "SCALESEARCH_DATA"  # the environment variable that names the folder of such files
_MOST_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table, in a unit of its own.

    Attributes:
        column: its name.
        times: what its values are multiplied by: 0.001 for milliseconds where seconds are wanted.
    """

    column: str
    times: float = 1.0


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
    readers: dict[str, Any] = {
        ".csv": pd.read_csv,
        ".gz": pd.read_csv,
        ".json": pd.read_json,
        ".parquet": pd.read_parquet,
    }
    if not file.name.lower().endswith(FORMS):
        raise UserError(f"{file.name} is no table", file=str(file), allowed=", ".join(FORMS))
    try:
        frame: pd.DataFrame = readers[file.suffix.lower()](file)
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
    """A column's values as Python's own: 3 for 3.0, None for what is missing."""
    return [_plain(value) for value in column.tolist()]


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.strip() if isinstance(value, str) else value
