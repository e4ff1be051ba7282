"""Results of networks that somebody has trained, read from a table for one space."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from scalesearch.arch.plain import digest
from scalesearch.errors import UserError
from scalesearch.files.results_table import Column, plain_values, read_table, require_columns
from scalesearch.interfaces import Choice, Space

if TYPE_CHECKING:
    import pandas as pd

Direction = Literal["maximize", "minimize"]
# Words of columns whose smaller values are the better ones.
_SMALLER = re.compile(r"(^|_)(loss|err|error|errors|perplexity|rmse|mae|mse)($|_)", re.IGNORECASE)


@dataclass(frozen=True)
class Results:
    """What a table says of the networks of a space.

    Attributes:
        networks: a choice for each parameter of the space, each network once.
        values: of each network its results, one or several.
        latency: of each network in seconds, if the table has it.
        notes: what was left out or joined, in sentences.
    """

    networks: tuple[tuple[Choice, ...], ...]
    values: tuple[tuple[float, ...], ...]
    latency: tuple[float, ...] | None
    notes: tuple[str, ...]

    def by_digest(self, space: Space) -> Mapping[str, int]:
        """The position of each network by its digest."""
        names = tuple(space.parameters)
        return {
            digest(space.decode(dict(zip(names, choices, strict=True)))): position
            for position, choices in enumerate(self.networks)
        }


def check_direction(metric: str, direction: Direction | None) -> None:
    """Rejects a metric that looks like an error where nothing says which way is better."""
    if direction is None and _SMALLER.search(metric):
        raise UserError(
            f"{metric!r} sounds as if smaller were better, and an objective is maximised",
            key="direction",
            allowed="maximize, or minimize: the score is then the value with its sign changed",
        )


def read_results(
    path: Path,
    metric: str,
    space: Space,
    direction: Direction | None = None,
    latency: Column | None = None,
) -> Results:
    """The results of a space's networks in a table.

    Rows are one result each; columns `METRIC_seed1`, `METRIC_seed2`, … are several results of a
    row's network, if there is no column of the metric's own name.

    Raises:
        UserError: a column is missing, no row is of this space, or all results are the same.
    """
    frame, names = read_table(path), tuple(space.parameters)
    require_columns(frame, names, path, "path")
    metrics = _metric_columns(frame, metric, path)
    if latency is not None:
        require_columns(frame, [latency.column], path, "latency")
    rows = list(zip(*(plain_values(frame[name]) for name in names), strict=True))
    scores = frame[metrics].apply(_numbers, path=path).to_numpy(float)
    times = None if latency is None else _numbers(frame[latency.column], path=path).to_numpy(float)
    strange, unmeasured, untimed = 0, 0, 0
    example = ""
    found: dict[tuple[Choice, ...], list[float]] = {}
    seconds: dict[tuple[Choice, ...], float] = {}
    allowed = [frozenset(choices) for choices in space.parameters.values()]
    sign = -1.0 if direction == "minimize" else 1.0
    for number, (row, values) in enumerate(zip(rows, scores, strict=True)):
        wrong = [n for n, value in enumerate(row) if value not in allowed[n]]
        if wrong:
            strange += 1
            example = example or f"{names[wrong[0]]} {row[wrong[0]]!r}"
            continue
        measured = [sign * float(value) for value in values if np.isfinite(value)]
        if not measured:
            unmeasured += 1
            continue
        choices = _canonical(space, names, row)
        if times is not None:
            if not times[number] > 0:
                untimed += 1
                continue
            seconds.setdefault(choices, float(times[number]) * (latency.times if latency else 1))
        found.setdefault(choices, []).extend(measured)
    if not found:
        raise UserError(
            f"no row of {path.name} is a network of the space with a result",
            key="path",
            hint=f"{strange} rows have other choices, such as {example}" if strange else "",
        )
    every = [value for values in found.values() for value in values]
    if len(set(every)) == 1 and len(found) > 1:
        raise UserError(
            f"all results in {metric!r} are {every[0]:g}: they tell no network from another",
            key="metric",
        )
    several = sum(len(values) > 1 for values in found.values())
    notes = [
        f"{path.name}: {len(found):,} networks of the space, {len(every):,} results in {metric!r}"
    ]
    if several:
        notes.append(f"{several:,} networks have several results: they are taken as seeds")
    if strange:
        notes.append(f"{strange:,} rows are left out: other choices, such as {example}")
    if unmeasured:
        notes.append(f"{unmeasured:,} rows are left out: no number in {metric!r}")
    if untimed and latency is not None:
        notes.append(f"{untimed:,} rows are left out: no time in {latency.column!r}")
    return Results(
        tuple(found),
        tuple(tuple(values) for values in found.values()),
        tuple(seconds[choices] for choices in found) if times is not None else None,
        tuple(notes),
    )


def _metric_columns(frame: pd.DataFrame, metric: str, path: Path) -> list[str]:
    if metric in frame.columns:
        return [metric]
    seeds = re.compile(re.escape(metric) + r"_seed_?\d+")
    columns = [name for name in frame.columns if seeds.fullmatch(name)]
    if not columns:
        require_columns(frame, [metric], path, "metric")
    return columns


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    try:
        return column.astype(float)
    except (TypeError, ValueError):
        raise UserError(
            f"the column {column.name!r} of {path.name} holds something else than numbers",
            key="metric",
        ) from None


def _canonical(space: Space, names: Sequence[str], row: Sequence[Choice]) -> tuple[Choice, ...]:
    """The choices that stand for a network, where several give the same one."""
    located = np.array([space.locate(dict(zip(names, row, strict=True)))], np.intp)
    chosen = space.chosen(located)[0]
    return tuple(
        choices[position]
        for choices, position in zip(space.parameters.values(), chosen, strict=True)
    )
