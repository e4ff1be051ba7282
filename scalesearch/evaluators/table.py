"""Looks up the results of networks that somebody has trained."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scalesearch.arch.plain import digest
from scalesearch.errors import TrialError
from scalesearch.evaluators._results import (
    Direction,
    LooksUp,
    Results,
    check_metric,
    read_results,
)
from scalesearch.files.results_table import Column
from scalesearch.history.jobs import Score
from scalesearch.interfaces import Choice, Space


@dataclass(frozen=True, kw_only=True)
class Evaluator(LooksUp):
    """Gives what a table says: the search is among the networks that it lists.

    Columns are named as the parameters of the space; a row is one result. Nothing is built or
    trained, so that a study needs no data set.

    Attributes:
        path: of a CSV, JSON or Parquet file, also one in the folder `$SCALESEARCH_DATA`.
        metric: a column, which names the score too; where there is none of its name, columns
            `METRIC_seed1`, `METRIC_seed2`, … are results of one network.
        noise: of several results of one network `seed` draws one by the trial's seed, as a
            training would; `none` takes their mean.
        direction: `minimize` for a metric of which less is better; its sign is changed.
        latency: the column of the latency in seconds, or a column and what makes seconds of it.
    """

    path: Path
    metric: str
    noise: Literal["seed", "none"] = "seed"
    direction: Direction | None = None
    latency: Column | str | None = None

    def __post_init__(self) -> None:
        check_metric(self.metric, self.direction)

    @property
    def minimizes(self) -> bool:
        """Whether less of the metric is better."""
        return self.direction == "minimize"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The name of the score."""
        return (self.metric,)

    @property
    def gives_latency(self) -> bool:
        """Whether the table has the latency of its networks."""
        return self.latency is not None

    def networks(self, space: Space) -> Sequence[tuple[Choice, ...]]:
        """The networks of the space that the table has."""
        return self._results(space).networks

    def bound(self, space: Space) -> LookUp:
        """The evaluator for this space, with its results."""
        results = self._results(space)
        return LookUp(
            metric=self.metric,
            draws=self.noise == "seed",
            values=results.values,
            seconds=results.latency,
            positions=results.by_digest(space),
            sentences=results.notes,
        )

    def _results(self, space: Space) -> Results:
        latency = self.latency
        if isinstance(latency, str):
            latency = Column(column=latency)
        return read_results(self.path, self.metric, space, self.direction, latency)


@dataclass(frozen=True, kw_only=True)
class LookUp(LooksUp):
    """The results of one space's networks, by their digests."""

    metric: str
    draws: bool
    values: tuple[tuple[float, ...], ...]
    seconds: tuple[float, ...] | None
    positions: Mapping[str, int]
    sentences: tuple[str, ...]

    def notes_on(self, architectures: Sequence[Any]) -> Sequence[str]:
        """What the table holds."""
        return self.sentences

    def latency_of(self, architecture: Any) -> float | None:
        """Seconds, if the table says."""
        if self.seconds is None:
            return None
        return self.seconds[self._position(architecture)]

    def evaluate(
        self, model: object, architecture: Any, data: object, seed: int
    ) -> Generator[Score, None, None]:
        """Yields the result, and that it was looked up."""
        yield Score(1, {self.metric: self.value(architecture, seed), "looked_up": 1.0})

    def value(self, architecture: Any, seed: int) -> float:
        """One result by the seed, or the mean of all."""
        results = self.values[self._position(architecture)]
        if self.draws:
            return results[int(np.random.default_rng(seed).integers(len(results)))]
        return float(np.mean(results))

    def has(self, architecture: Any) -> bool:
        """Whether the table has this network."""
        return digest(architecture) in self.positions

    def _position(self, architecture: Any) -> int:
        if not self.has(architecture):
            raise TrialError("the table has no result of this network")
        return self.positions[digest(architecture)]
