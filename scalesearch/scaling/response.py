"""The best coefficients that results of scaled networks speak for, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scalesearch.errors import UserError
from scalesearch.scaling import summary
from scalesearch.scaling.budget import Budget
from scalesearch.scaling.coefficients import COEFFICIENTS, Coefficients
from scalesearch.scaling.evidence import Evidence
from scalesearch.scaling.interval import Draws
from scalesearch.scaling.surface import Surface

FLAT = 0.1  # points within which coefficients are as good as each other
_HALF = 0.5  # share of what the budget allows; a region as wide is flat

Values = Sequence[float] | np.ndarray


@dataclass(frozen=True, kw_only=True)
class Range:
    """The ends of an interval or a region."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.2f} to {self.high:.2f}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The best coefficients against others at the same budget.

    Attributes:
        name: `paper` for 1.2, 1.1, 1.15 scaled to the budget, or a dimension that gets all of it.
        coefficients: of each dimension that varies.
        probability: that the best coefficients are better than these.
        covered: whether the others lie within the networks of the evidence, not beyond.
        gain: by how much, in points of accuracy.
        interval: 95 % of the drawn gains.
        same: whether the best coefficients are these.
    """

    name: str
    coefficients: Mapping[str, float]
    covered: bool
    probability: float
    gain: float
    interval: Range
    same: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Response:
    """What `fit_surface` returns.

    Attributes:
        surface: error as a function of multipliers.
        draws: surfaces that the evidence could as well have shown.
        budget: where the budget may go.
        shares: which share of the growth in FLOPs goes to each dimension that varies.
        intervals: 95 % intervals of alpha, beta and gamma, of those that vary.
        region: ranges of the coefficients that are within .1 points of the best, as the surface
            has it; each with the others adapted.
        comparisons: with the paper's coefficients and with each dimension alone.
        rows: what sentences call each row of the evidence; by default `result 3`.
    """

    surface: Surface
    draws: Draws
    budget: Budget
    shares: np.ndarray
    intervals: Mapping[str, Range]
    region: Mapping[str, Range]
    comparisons: tuple[Comparison, ...]
    rows: tuple[str, ...] = ()

    @property
    def evidence(self) -> Evidence:
        """What the surface was fitted to."""
        return self.surface.evidence

    @property
    def best(self) -> Mapping[str, float]:
        """alpha, beta or gamma of each dimension that varies, within the budget."""
        return named(self.evidence, self.budget.logs(self.shares))

    @property
    def lines(self) -> tuple[str, ...]:
        """What can and what cannot be concluded, a sentence each."""
        return summary.lines(self)

    def file_entries(self) -> dict[str, Any]:
        """As a `coefficients.yaml` holds it, which `Coefficients.load` reads."""
        return summary.file_entries(self)

    @property
    def coefficients(self) -> Coefficients:
        """The best coefficients; 1 for a dimension that does not vary."""
        values: dict[str, Any] = dict.fromkeys(COEFFICIENTS.values(), 1.0)
        values |= {name: round(value, 4) for name, value in self.best.items()}
        if self.evidence.growth is not None:
            values |= {"match": "measured", "budget": self.evidence.budget}
            if self.evidence.cost == "latency":
                values["budget_cost"] = "latency"
        return Coefficients(**values)

    @cached_property
    def accuracy(self) -> float:
        """Accuracy that the surface predicts of the best coefficients, as a share."""
        return 1 - float(self.surface.errors(self.budget.logs(self.shares)[None])[0])

    @property
    def flat(self) -> bool:
        """Whether coefficients over half of what the budget allows are within .1 points."""
        if len(self.shares) == 1:
            return False
        allowed = ranges(self.evidence, self.budget.logs(self.budget.points()))
        return any(
            np.log(own.high / own.low) >= _HALF * np.log(allowed[name].high / allowed[name].low)
            for name, own in self.region.items()
        )

    @property
    def outside(self) -> bool:
        """Whether the best coefficients lie beyond the networks of the evidence."""
        return not self.evidence.covers(self.budget.logs(self.shares))

    @property
    def base_outside(self) -> bool:
        """Whether the base itself lies beyond them, so that nothing is known of its growth."""
        one = self.evidence.at_one_budget
        return not one and not self.evidence.covers(np.zeros(len(self.shares)))

    def predict(self, **multipliers: Values) -> np.ndarray:
        """Accuracies (shares) at multipliers of the dimensions that vary, float [points].

        Raises:
            UserError: other dimensions than those that vary.
        """
        names = self.evidence.dimensions
        if set(multipliers) != set(names):
            raise UserError(
                f"multipliers of {', '.join(multipliers) or 'nothing'}", allowed=", ".join(names)
            )
        columns = [np.atleast_1d(np.asarray(multipliers[name], dtype=float)) for name in names]
        return 1 - self.surface.errors(np.log(np.stack(columns, axis=1)))


def named(evidence: Evidence, logs: np.ndarray) -> dict[str, float]:
    """The coefficients of logarithms of multipliers [dimensions]."""
    names = (COEFFICIENTS[name] for name in evidence.dimensions)
    return dict(zip(names, np.exp(logs).tolist(), strict=True))


def ranges(evidence: Evidence, logs: np.ndarray) -> dict[str, Range]:
    """The extremes of each coefficient over points [points, dimensions]."""
    low, high = named(evidence, logs.min(axis=0)), named(evidence, logs.max(axis=0))
    return {name: Range(low=low[name], high=high[name]) for name in low}
