"""Predicts the results of networks from those of others that somebody has trained."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scalesearch.errors import TrialError, UserError
from scalesearch.evaluators._results import (
    Direction,
    LooksUp,
    Results,
    check_metric,
    read_results,
)
from scalesearch.evaluators.table import LookUp
from scalesearch.history.jobs import Score
from scalesearch.interfaces import Space
from scalesearch.prediction.regression import MOST_FITTED, Quality, Regression, cross_validated

_FEWEST = 10


@dataclass(frozen=True, kw_only=True)
class Evaluator(LooksUp):
    """Looks up what a table has, and predicts the rest of the space by a Gaussian process.

    How well it predicts is said before the search: rank correlation and R² of networks that were
    left out of the fit. Nothing is built or trained, so that a study needs no data set.

    Attributes:
        path: of a CSV, JSON or Parquet file, also one in the folder `$SCALESEARCH_DATA`.
        metric: a column, as in the evaluator `table`.
        noise: `none` takes means of results and predictions; `seed` draws among several results,
            and adds to predictions what they are uncertain by from training to training.
        direction: `minimize` for a metric of which less is better; its sign is changed.
        folds: of the cross-validation.
    """

    path: Path
    metric: str
    noise: Literal["seed", "none"] = "none"
    direction: Direction | None = None
    folds: int = 5

    def __post_init__(self) -> None:
        check_metric(self.metric, self.direction)
        if self.folds < 2:
            raise UserError(f"{self.folds} folds", key="folds", allowed="at least 2")

    @property
    def minimizes(self) -> bool:
        """Whether less of the metric is better."""
        return self.direction == "minimize"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The name of the score."""
        return (self.metric,)

    def bound(self, space: Space) -> Prediction:
        """The evaluator for this space, fitted.

        Raises:
            UserError: the table has too few networks to be fitted.
        """
        results = read_results(self.path, self.metric, space, self.direction)
        if len(results.networks) < max(_FEWEST, self.folds):
            raise UserError(
                f"{len(results.networks)} networks are too few to predict others",
                key="path",
                allowed=f"at least {max(_FEWEST, self.folds)}",
                hint="the evaluator `table` searches among those that it has",
            )
        rows, values = _rows_and_means(space, results)
        quality = cross_validated(space, self.workload, rows, values, self.folds)
        known = LookUp(
            metric=self.metric,
            draws=self.noise == "seed",
            values=results.values,
            seconds=None,
            positions=results.by_digest(space),
            sentences=results.notes,
        )
        regression = Regression.fit(space, self.workload, rows, values)
        return Prediction(
            metric=self.metric,
            draws=self.noise == "seed",
            known=known,
            space=space,
            regression=regression,
            quality=quality,
        )


@dataclass(frozen=True, kw_only=True)
class Prediction(LooksUp):
    """The fitted evaluator of one space."""

    metric: str
    draws: bool
    known: LookUp
    space: Space
    regression: Regression
    quality: Quality

    def notes_on(self, architectures: Sequence[Any]) -> Sequence[str]:
        """How well it predicts, and what the table holds."""
        of_all = len(self.known.values)
        some = f"; fitted to {MOST_FITTED:,} of them" if of_all > MOST_FITTED else ""
        return [f"surrogate of {self.metric!r}: {self.quality}{some}", *self.known.sentences]

    def evaluate(
        self, model: object, architecture: Any, data: object, seed: int
    ) -> Generator[Score, None, None]:
        """Yields the result, and whether it was looked up (1) or predicted (0)."""
        if self.known.has(architecture):
            yield from self.known.evaluate(model, architecture, data, seed)
            return
        try:
            parameters = self.space.encode(architecture)
        except UserError as error:
            raise TrialError(f"it cannot be predicted: {error.problem}") from None
        row = np.array([self.space.locate(parameters)], np.intp)
        value = float(self.regression.predict(row)[0])
        if self.draws:
            value += self.regression.noise * float(np.random.default_rng(seed).standard_normal())
        scores: Mapping[str, float] = {self.metric: value, "looked_up": 0.0}
        yield Score(1, scores)


def _rows_and_means(space: Space, results: Results) -> tuple[np.ndarray, np.ndarray]:
    names = tuple(space.parameters)
    rows = [space.locate(dict(zip(names, each, strict=True))) for each in results.networks]
    return np.array(rows, np.intp), np.array([np.mean(values) for values in results.values])
