"""What a search wants: one number, a reward, or a front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scalesearch.cost.cost import UNITS, Cost
from scalesearch.errors import UserError
from scalesearch.units import format_latency

# What networks of a task are ranked by where a study does not say.
METRICS = {"classification": "accuracy", "detection": "ap"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Values to be optimised, made of a trial's metric and its cost.

    Attributes:
        metric: a name among the evaluator's scores, always maximised.
        cost: a cost that the reward weighs or that is minimised beside the metric.
        target: T of the reward metric * (cost / T) ** exponent (MnasNet, Tan et al. 2019, eq. 2);
            with `cost` and no target the objective is the pair (metric, cost), a Pareto search.
        exponent: w of the reward; -0.07 in the MnasNet and EfficientNet papers.
    """

    metric: str = "accuracy"
    cost: str | None = None
    target: float | None = None
    exponent: float = -0.07

    def __post_init__(self) -> None:
        if self.cost is not None and self.cost not in UNITS:
            raise UserError(
                f"{self.cost!r} is not a cost", key="objective", allowed=", ".join(UNITS)
            )
        if self.target is not None and (self.cost is None or not self.target > 0):
            raise UserError(
                "a reward needs a cost and a target above 0",
                key="objective",
                allowed="{reward: accuracy, flops: 400M, exponent: -0.07}",
            )

    @property
    def directions(self) -> tuple[Literal["maximize", "minimize"], ...]:
        """`maximize` or `minimize` for each value."""
        return ("maximize", "minimize") if self._is_pair else ("maximize",)

    def values(self, scores: Mapping[str, float], cost: Cost) -> tuple[float, ...]:
        """One value, or two for a Pareto search; the cost must be known."""
        metric = scores[self.metric]
        if self.cost is None:
            return (metric,)
        spent = cost.known()[self.cost]
        if self.target is None:
            return (metric, float(spent))
        return (metric * (spent / self.target) ** self.exponent,)

    @property
    def label(self) -> str:
        """What is optimised, in words: `accuracy * (flops / 400,000,000) ^ -0.07`."""
        if self.target is not None:
            timed = self.cost is not None and UNITS[self.cost] == "seconds"
            target = format_latency(self.target) if timed else f"{self.target:,.0f}"
            return f"{self.metric} * ({self.cost} / {target}) ^ {self.exponent:g}"
        return f"{self.metric} against {self.cost}" if self.cost else self.metric

    @property
    def _is_pair(self) -> bool:
        return self.cost is not None and self.target is None
