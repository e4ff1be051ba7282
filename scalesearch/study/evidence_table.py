"""Tables of results that somebody has, read as evidence for a response surface."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scalesearch.errors import UserError, nearest
from scalesearch.files.results_table import find_table, read_table
from scalesearch.scaling.evidence import Evidence
from scalesearch.study.table_cells import error_shares, is_missing, is_number, numbers, positive
from scalesearch.study.table_names import (
    dimension_columns,
    find,
    is_measured,
    plain_name,
    require,
    shown,
)

if TYPE_CHECKING:
    import pandas as pd

COSTS = ("flops", "latency", "nominal")
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
    columns, base = dimension_columns(frame, request.base)
    metric, minimize = _metric(frame, request)
    notes: list[str] = []
    frame = _with_metric(frame, metric, notes)
    errors = error_shares(frame, metric, minimize, notes)
    frame, errors = frame[np.isfinite(errors)], errors[np.isfinite(errors)]
    sizes, constant = _sizes(frame, columns, base)
    notes += [f"{column} is {value:g} in all rows: it stays" for column, value in constant.items()]
    logs = np.log(np.stack([sizes[name] / base[name] for name in sizes], axis=1))
    cost, growth = _growth(frame, request, logs, tuple(sizes), notes)
    weights = find(frame, "weight")
    used = {*columns.values(), metric, weights}
    notes = [*_mixtures(frame, used), *notes, *_unused(frame, used, logs)]
    try:
        evidence = Evidence.of(
            errors,
            {name: np.exp(column) for name, column in zip(sizes, logs.T, strict=True)},
            budget=request.budget,
            weights=None if weights is None else positive(frame, weights, "weight"),
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
        base={name: base[name] for name in sizes},
        notes=tuple(notes),
    )


def _selected(frame: pd.DataFrame, where: Mapping[str, str]) -> pd.DataFrame:
    for column, value in where.items():
        require(frame, column, "where")
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


def _with_metric(frame: pd.DataFrame, metric: str, notes: list[str]) -> pd.DataFrame:
    """The rows that have a result."""
    missing = frame[metric].map(is_missing).to_numpy(bool)
    if missing.all():
        raise UserError("is empty in all rows", key=metric)
    if missing.any():
        count = int(missing.sum())
        are = "row without {} is" if count == 1 else "rows without {} are"
        notes.append(f"{count} {are.format(metric)} left out")
    return frame[~missing]


def _mixtures(frame: pd.DataFrame, used: Collection[str | None]) -> list[str]:
    """A note on each column of words that splits the rows: their results may not be comparable."""
    notes = []
    for column in frame.columns:
        if column in used:
            continue
        words = [cell for cell in frame[column].unique() if isinstance(cell, str)]
        words = [word for word in words if not is_missing(word)]
        if 1 < len(words) <= len(frame) / 2 and not any(map(is_number, words)):
            shown_words = ", ".join(words[:4]) + (", …" if len(words) > 4 else "")
            notes.append(
                f"rows of several {column} are taken together ({shown_words}): "
                f"--where {column}={words[0]} takes one"
            )
    return notes


def _unused(frame: pd.DataFrame, used: Collection[str | None], logs: np.ndarray) -> list[str]:
    """A note on numbers that differ between rows which are taken for one network."""
    import pandas as pd

    networks = np.unique(logs.round(9), axis=0, return_inverse=True)[1].reshape(-1)
    if networks.max() + 1 == len(networks):
        return []
    differ = []
    for column in frame.columns:
        if column in used or is_measured(column):
            continue
        try:
            values = numbers(frame, column, "resolution")
        except UserError:  # words, of which another note speaks
            continue
        groups = pd.Series(values).groupby(networks)
        if (groups.max() > groups.min()).any():
            differ.append(column)
    if not differ:
        return []
    one = len(differ) == 1
    return [
        f"{'column' if one else 'columns'} {' and '.join(differ)} {'is' if one else 'are'} not "
        f"used: rows that differ in {'it' if one else 'them'} count as trainings of one network; "
        f"rename {'it' if one else 'one'} to depth, width or resolution if it is one"
    ]


def _metric(frame: pd.DataFrame, request: Request) -> tuple[str, bool]:
    """The column of the metric, and whether it is an error."""
    column = request.metric
    if column is None:
        column = find(frame, "accuracy", "err") or find(frame, "error")
    if column is None:
        plain = {plain_name(name): name for name in frame.columns}
        close = difflib.get_close_matches("accuracy", plain, 1) or difflib.get_close_matches(
            "error", plain, 1
        )
        hint = f"did you mean --metric {plain[close[0]]}?" if close else "name it with --metric"
        raise UserError("no column is an accuracy or an error", allowed=shown(frame), hint=hint)
    require(frame, column, "metric")
    minimize = request.minimize
    if minimize is None:
        minimize = "err" in plain_name(column) or "loss" in plain_name(column)
    return column, minimize


def _sizes(
    frame: pd.DataFrame, columns: Mapping[str, str], base: Mapping[str, float]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Sizes of the dimensions that vary, and the columns of those that do not."""
    sizes, constant, unnamed = {}, {}, []
    for name, column in columns.items():
        values = positive(frame, column, name)
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
        raise UserError("no column of depth, width or resolution varies", allowed=shown(frame))
    if unnamed:
        raise UserError(
            f"the base has no {' and '.join(each.partition('=')[0] for each in unnamed)}, "
            "which the rows differ in",
            key="base",
            hint=f"such as --base {','.join([*(f'{k}={v:g}' for k, v in base.items()), *unnamed])}",
        )
    return sizes, constant


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
    kind = "latency" if request.cost == "latency" else "flops"
    column = find(frame, kind)
    missing = None if column is None else frame[column].map(is_missing)
    if request.cost is None and (missing is None or missing.any()):
        if missing is not None and not missing.all():
            notes.append(f"{column} is missing in some rows: the cost is the nominal one")
        return "FLOPs", None
    if column is None or missing is None:
        raise UserError(f"no column is of {request.cost}", key="cost", allowed=shown(frame))
    if missing.all():
        raise UserError("is empty in all rows", key=column, hint="take --cost nominal")
    values = np.log(positive(frame, column, kind))
    at_base = np.abs(logs).max(axis=1) < 1e-6
    if at_base.any():
        base = values[at_base].mean()
    else:
        nominal = [{"depth": 1, "width": 2, "resolution": 2}[name] for name in dimensions]
        base = float(np.mean(values - logs @ nominal))
    return ("latency" if kind == "latency" else "FLOPs"), np.exp(values - base)


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
