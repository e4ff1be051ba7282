"""Results of networks that somebody has trained, read from a table for one space."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from scalesearch.arch.plain import digest
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.files.results_table import (
    Column,
    numbers,
    plain_values,
    read_table,
    require_columns,
)
from scalesearch.history.trials import RESERVED
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


class LooksUp:
    """What evaluators share that train nothing."""

    trains: ClassVar[bool] = False

    @property
    def workload(self) -> Workload:
        """Of a training as it is by default: a table does not say which it was."""
        return Workload()


def check_metric(metric: str, direction: Direction | None) -> None:
    """Rejects a metric that looks like an error where nothing says which way is better."""
    if metric in ("loss", *RESERVED):
        raise UserError(
            f"a score cannot be named {metric!r}", key="metric", hint="rename the table's column"
        )
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
    scores = [numbers(frame[name], path, "metric") for name in _metric_columns(frame, metric, path)]
    sign = -1.0 if direction == "minimize" else 1.0
    values = sign * np.stack(scores, axis=1)
    seconds = np.full(len(frame), np.nan)
    if latency is not None:
        require_columns(frame, [latency.column], path, "latency")
        seconds = latency.times * numbers(frame[latency.column], path, "latency")
    found: dict[tuple[Choice, ...], list[float]] = {}
    times: dict[tuple[Choice, ...], float] = {}
    left_out: dict[str, list[str]] = {}
    for number, row in enumerate(_choices(frame, space)):
        measured = [float(value) for value in values[number] if np.isfinite(value)]
        choices = _canonical(space, names, row)
        if not measured:
            reason, example = f"no number in {metric!r}", ""
        elif latency is not None and not 0 < seconds[number] < math.inf:
            reason, example = f"no time in {latency.column!r}", ""
        elif choices is None:
            reason, example = "other choices", _strange(space, row)
        else:
            found.setdefault(choices, []).extend(measured)
            times.setdefault(choices, float(seconds[number]))
            continue
        left_out.setdefault(reason, []).append(example)
    lines = [
        f"{len(examples):,} rows are left out: {reason}"
        + (f", such as {examples[0]}" if examples[0] else "")
        for reason, examples in left_out.items()
    ]
    if not found:
        raise UserError(
            f"no row of {path.name} is a network of the space with a result",
            key="path",
            hint="; ".join(lines),
        )
    _require_different(found, metric)
    return Results(
        tuple(found),
        tuple(map(tuple, found.values())),
        None if latency is None else tuple(times.values()),
        (*_summary(path, metric, found), *lines),
    )


def _summary(
    path: Path, metric: str, found: Mapping[tuple[Choice, ...], Sequence[float]]
) -> list[str]:
    count = sum(map(len, found.values()))
    notes = [f"{path.name}: {len(found):,} networks of the space, {count:,} results in {metric!r}"]
    if several := sum(len(values) > 1 for values in found.values()):
        notes.append(f"{several:,} networks have several results: they are taken as seeds")
    return notes


def _require_different(found: Mapping[tuple[Choice, ...], Sequence[float]], metric: str) -> None:
    means = {float(np.mean(values)) for values in found.values()}
    if len(means) == 1 and len(found) > 1:
        raise UserError(
            f"all results in {metric!r} are {means.pop():g}: they tell no network from another",
            key="metric",
        )


def _choices(frame: pd.DataFrame, space: Space) -> Iterator[tuple[Any, ...]]:
    """Each row's choices; a word that says the same as a choice of the space is that choice."""
    columns = []
    for name, choices in space.parameters.items():
        words = {str(choice): choice for choice in choices}
        values = plain_values(frame[name])
        columns.append([v if v in choices else words.get(str(v), v) for v in values])
    yield from zip(*columns, strict=True)


def _strange(space: Space, row: Sequence[Any]) -> str:
    """The first choice of a row that the space does not have, or that they are none together."""
    for (name, choices), value in zip(space.parameters.items(), row, strict=True):
        if value not in choices:
            return f"{name} {value!r}"
    return f"{dict(zip(space.parameters, row, strict=True))} together"


def _metric_columns(frame: pd.DataFrame, metric: str, path: Path) -> list[str]:
    if metric in frame.columns:
        return [metric]
    seeds = re.compile(re.escape(metric) + r"_seed_?\d+")
    columns = [name for name in frame.columns if seeds.fullmatch(name)]
    if not columns:
        require_columns(frame, [metric], path, "metric")
    return columns


def _canonical(space: Space, names: Sequence[str], row: Sequence[Any]) -> tuple[Choice, ...] | None:
    """The choices that stand for a network, where several give the same one; None if none has."""
    base: Space = getattr(space, "base", None) or space
    try:
        located = np.array([base.locate(dict(zip(names, row, strict=True)))], np.intp)
    except UserError:
        return None
    chosen = base.chosen(located)[0]
    own = zip(base.parameters.values(), chosen, strict=True)
    canonical = tuple(choices[position] for choices, position in own)
    listed = getattr(space, "listed", None)
    return canonical if listed is None or canonical in listed else None
