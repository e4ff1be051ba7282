"""Tables of results that somebody has, read as evidence for a response surface."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scalesearch.errors import UserError, nearest
from scalesearch.files.results_table import find_table, read_table
from scalesearch.scaling.evidence import DIMENSIONS, Evidence

if TYPE_CHECKING:
    import pandas as pd

COSTS = ("flops", "latency", "nominal")
# Names of columns, in lower case, without what is no letter or digit: those that are taken first,
# and parts of a name that mean the same.
_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "depth": (("depth", "layers", "blocks", "alpha"), ("depth",)),
    "width": (("width", "channels", "beta"), ("width",)),
    "resolution": (("resolution", "imagesize", "inputsize", "pixels", "gamma"), ("resolution",)),
    "accuracy": (("accuracy", "top1", "top1accuracy", "acc", "acc1", "ap", "map"), ("acc", "top")),
    "error": (("error", "top1error", "err"), ("err",)),
    "flops": (("flops", "macs"), ("flop", "mac", "madd", "multadd", "multiplyadd")),
    "latency": (("latency", "seconds", "ms"), ("latency", "seconds")),
    "weight": (("weight", "weights"), ()),
}
_FALLS = -0.5  # rank correlation of accuracy with size from which the metric is taken for an error


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a table.

    Attributes:
        base: size of each dimension of the base, as the table counts it.
        budget: what the cost may be multiplied with.
        where: the values that rows must have, by column.
        metric: the column of accuracy or error; by its name if None.
        minimize: whether the metric is an error; by its name if None.
        cost: `flops`, `latency` or `nominal`; if None `flops` where all rows have them.
        noise: standard deviation over seeds in points, if it is known.
    """

    base: Mapping[str, float]
    budget: float = 2.0
    where: Mapping[str, str] | None = None
    metric: str | None = None
    minimize: bool | None = None
    cost: str | None = None
    noise: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class TableEvidence:
    """Evidence from a table.

    Attributes:
        evidence: for `respond`.
        lines: of each row of it in the file, from 1.
        base: size of each dimension that varies.
        notes: what was assumed or left out.
    """

    evidence: Evidence
    lines: tuple[int, ...]
    base: Mapping[str, float]
    notes: tuple[str, ...]


def table_evidence(path: Path, request: Request) -> TableEvidence:
    """The results of a CSV, JSON or Parquet file that are asked for.

    Raises:
        UserError: with the file, and the line and column of what cannot be used.
    """
    file = find_table(path)
    try:
        return _read(file, request)
    except UserError as error:
        raise error.at(file=str(file)) from None


def _read(file: Path, request: Request) -> TableEvidence:
    import pandas as pd

    frame = read_table(file)
    frame.index = pd.RangeIndex(2, len(frame) + 2)  # the line of each row below the header
    frame = _selected(frame, request.where or {})
    request = replace(request, base=_by_dimension(frame, request.base))
    metric, minimize = _metric(frame, request)
    notes = _mixtures(frame)
    missing = frame[metric].isna()
    if missing.any():
        notes.append(f"{missing.sum()} rows without {metric} are left out")
        frame = frame[~missing]
    sizes, constant = _sizes(frame, request.base)
    notes += [f"{column} is {value:g} in all rows: it stays" for column, value in constant.items()]
    errors = _errors(frame, metric, minimize)
    logs = np.log(np.stack([sizes[name] / request.base[name] for name in sizes], axis=1))
    cost, growth = _growth(frame, request, logs, tuple(sizes), notes)
    weights = _find(frame, "weight")
    try:
        evidence = Evidence.of(
            errors,
            {name: np.exp(column) for name, column in zip(sizes, logs.T, strict=True)},
            budget=request.budget,
            weights=None if weights is None else _positive(frame, weights),
            growth=growth,
            fitted_cost=growth is not None,
            cost=cost,
            noise=None if request.noise is None else request.noise / 100,
        )
    except UserError as error:
        raise error.moved(metric) if error.key == "errors" else error from None
    if request.minimize is None:
        _check_sign(evidence, metric, minimize)
    return TableEvidence(
        evidence=evidence,
        lines=tuple(int(line) for line in frame.index),
        base={name: request.base[name] for name in sizes},
        notes=tuple(notes),
    )


def _selected(frame: pd.DataFrame, where: Mapping[str, str]) -> pd.DataFrame:
    for column, value in where.items():
        _require(frame, column, "where")
        words = frame[column].map(
            lambda cell: f"{cell:g}" if isinstance(cell, float) else str(cell)
        )
        kept = frame[words.str.strip() == value]
        if kept.empty:
            seen = list(dict.fromkeys(words))
            raise UserError(
                f"no row has {value!r}",
                key=f"where.{column}",
                allowed=", ".join(seen[:8]) + (", …" if len(seen) > 8 else ""),
                hint=nearest(value, seen),
            )
        frame = kept
    return frame


def _by_dimension(frame: pd.DataFrame, base: Mapping[str, float]) -> dict[str, float]:
    """The base's sizes, which may be named as their columns are."""
    names = {_find(frame, name): name for name in DIMENSIONS}
    return {names.get(name, name): size for name, size in base.items()}


def _mixtures(frame: pd.DataFrame) -> list[str]:
    """A note on each column of words that splits the rows: their results may not be comparable."""
    notes = []
    for column in frame.columns:
        words = [cell for cell in frame[column].dropna().unique() if isinstance(cell, str)]
        if 1 < len(words) <= len(frame) / 2 and not any(map(_is_number, words)):
            shown = ", ".join(words[:4]) + (", …" if len(words) > 4 else "")
            notes.append(
                f"rows of several {column} are taken together ({shown}): "
                f"--where {column}={words[0]} takes one"
            )
    return notes


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _metric(frame: pd.DataFrame, request: Request) -> tuple[str, bool]:
    """The column of the metric, and whether it is an error."""
    column = request.metric
    if column is None:
        column = _find(frame, "accuracy", "err") or _find(frame, "error")
    if column is None:
        plain = {_plain(name): name for name in frame.columns}
        close = difflib.get_close_matches("accuracy", plain, 1) or difflib.get_close_matches(
            "error", plain, 1
        )
        hint = f"did you mean --metric {plain[close[0]]}?" if close else "name it with --metric"
        raise UserError("no column is an accuracy or an error", allowed=_columns(frame), hint=hint)
    _require(frame, column, "metric")
    minimize = request.minimize
    if minimize is None:
        minimize = "err" in _plain(column) or "loss" in _plain(column)
    return column, minimize


def _sizes(
    frame: pd.DataFrame, base: Mapping[str, float]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Sizes of the dimensions that vary, and the columns of those that do not."""
    columns = {name: _find(frame, name) for name in DIMENSIONS}
    for name, size in base.items():
        if name not in DIMENSIONS:
            raise UserError(
                f"{name!r} is no dimension",
                key="base",
                allowed=", ".join(DIMENSIONS),
                hint=nearest(name, DIMENSIONS),
            )
        if columns[name] is None:
            raise UserError(
                f"the table has no column {name!r}",
                key=f"base.{name}",
                allowed=_columns(frame),
                hint=nearest(name, list(frame.columns)),
            )
        if not 0 < size < 1e9:
            raise UserError(f"{size:g} cannot be a size", key=f"base.{name}", allowed="above 0")
    sizes, constant, unnamed = {}, {}, []
    for name, column in columns.items():
        if column is None:
            continue
        values = _positive(frame, column)
        if np.ptp(values) > 1e-9 * values.max():
            sizes[name] = values
            if name not in base:
                unnamed.append(f"{name}={np.median(values):g}")
        elif name in base and base[name] == values[0]:
            raise UserError(
                f"there is one distinct value, {values[0]:g}: what {name} does cannot be seen",
                key=column,
                hint=f"leave {name} out of --base, or add rows in which it differs",
            )
        elif name in base:
            raise UserError(
                f"there is one distinct value, {values[0]:g}, and the base has {base[name]:g}",
                key=column,
                allowed="rows of several sizes",
            )
        else:
            constant[column] = float(values[0])
    if not sizes:
        raise UserError("no column of depth, width or resolution varies", allowed=_columns(frame))
    if unnamed:
        raise UserError(
            f"the base has no {' and '.join(each.partition('=')[0] for each in unnamed)}, "
            "which the rows differ in",
            key="base",
            hint=f"such as --base {','.join([*(f'{k}={v:g}' for k, v in base.items()), *unnamed])}",
        )
    return sizes, constant


def _errors(frame: pd.DataFrame, metric: str, minimize: bool) -> np.ndarray:
    """Errors as shares, of percent or shares of accuracy or error."""
    values = _numbers(frame, metric)
    lines = frame.index.to_numpy()
    named = "%" in metric or "percent" in metric.lower()
    percent = (values > 1) | named
    if percent.any() and not percent.all():
        most = percent.mean() > 0.5
        odd, usual = int(np.argmax(percent != most)), int(np.argmax(percent == most))
        raise UserError(
            f"{values[odd]:g} beside {values[usual]:g} in line {lines[usual]}: "
            "percent and shares are mixed",
            key=metric,
            line=int(lines[odd]),
            allowed="all in percent, or all as shares of 1",
            hint="a column with % or percent in its name is read as percent",
        )
    shares = values / 100 if percent.any() else values
    wrong = (shares <= 0) | (shares >= 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{values[row]:g} cannot be used",
            key=metric,
            line=int(lines[row]),
            allowed="between 0 and 100 %",
        )
    if np.ptp(shares) < 1e-9:
        raise UserError(f"all rows have {values[0]:g}: nothing can be learnt of them", key=metric)
    return shares if minimize else 1 - shares


def _growth(
    frame: pd.DataFrame,
    request: Request,
    logs: np.ndarray,
    dimensions: Sequence[str],
    notes: list[str],
) -> tuple[str, np.ndarray | None]:
    """The cost in words, and its growth over the base's; None for the nominal one."""
    if request.cost not in (None, *COSTS):
        raise UserError(
            f"{request.cost!r} is not known",
            key="cost",
            allowed=", ".join(COSTS),
            hint=nearest(str(request.cost), COSTS),
        )
    if request.cost == "nominal":
        return "FLOPs", None
    column = _find(frame, "latency" if request.cost == "latency" else "flops")
    if request.cost is None and (column is None or frame[column].isna().any()):
        if column is not None and not frame[column].isna().all():
            notes.append(f"{column} is missing in some rows: the cost is the nominal one")
        return "FLOPs", None
    if column is None:
        raise UserError(f"no column is of {request.cost}", key="cost", allowed=_columns(frame))
    if frame[column].isna().all():
        raise UserError("is empty in all rows", key=column, hint="take --cost nominal")
    values = np.log(_positive(frame, column))
    at_base = np.abs(logs).max(axis=1) < 1e-6
    if at_base.any():
        base = values[at_base].mean()
    else:
        nominal = [{"depth": 1, "width": 2, "resolution": 2}[name] for name in dimensions]
        base = float(np.mean(values - logs @ nominal))
    return ("latency" if request.cost == "latency" else "FLOPs"), np.exp(values - base)


def _check_sign(evidence: Evidence, metric: str, minimize: bool) -> None:
    """Refuses an error that is taken for an accuracy, or the other way round."""
    from scipy.stats import spearmanr

    size = evidence.logs.sum(axis=1)
    if len(size) < 4 or evidence.at_one_budget or np.ptp(size) < 1e-9:
        return
    if spearmanr(size, 1 - evidence.errors).statistic < _FALLS:
        word, other = ("error", "maximize") if minimize else ("accuracy", "minimize")
        raise UserError(
            f"this {word} {'rises' if minimize else 'falls'} as networks grow: is it "
            f"{'an accuracy' if minimize else 'an error'}?",
            key=metric,
            hint=f"say so with --direction {other}; or --direction "
            f"{'minimize' if minimize else 'maximize'} if it is as it should be",
        )


def _find(frame: pd.DataFrame, kind: str, but: str = "-") -> str | None:
    """The column of a kind by its name, or None.

    Raises:
        UserError: several could be it, and none is taken first.
    """
    plain = {_plain(name): name for name in reversed(list(frame.columns))}
    first, parts = _NAMES[kind]
    for word in first:
        if word in plain:
            return plain[word]
    close = [name for word, name in plain.items() if any(part in word for part in parts)]
    close = [name for name in close if but not in _plain(name)]
    if len(close) > 1:
        raise UserError(
            f"several columns could be the {kind}: {', '.join(reversed(close))}",
            hint="name one with --metric"
            if kind in ("accuracy", "error")
            else f"name one of them {kind!r}",
        )
    return close[0] if close else None


def _plain(name: str) -> str:
    return "".join(mark for mark in name.lower() if mark.isalnum())


def _numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column of numbers, float [rows]."""
    values = []
    for line, cell in frame[column].items():
        try:
            value = float(cell)
        except (TypeError, ValueError):
            value = float("nan")
        if not np.isfinite(value):
            missing = cell is None or cell != cell
            raise UserError(
                "the cell is empty" if missing else f"{str(cell)!r} is no number",
                key=column,
                line=int(str(line)),
            )
        values.append(value)
    return np.array(values)


def _positive(frame: pd.DataFrame, column: str) -> np.ndarray:
    values = _numbers(frame, column)
    if (values <= 0).any():
        row = int(np.argmax(values <= 0))
        raise UserError(
            f"{values[row]:g} cannot be used",
            key=column,
            line=int(frame.index[row]),
            allowed="above 0",
        )
    return values


def _require(frame: pd.DataFrame, column: str, key: str) -> None:
    if column not in frame.columns:
        raise UserError(
            f"the table has no column {column!r}",
            key=key,
            allowed=_columns(frame),
            hint=nearest(column, list(frame.columns)),
        )


def _columns(frame: pd.DataFrame) -> str:
    return ", ".join(frame.columns[:12]) + (", …" if len(frame.columns) > 12 else "")
