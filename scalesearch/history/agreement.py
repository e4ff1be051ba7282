"""How well predicted latencies agree with measured ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from scalesearch.units import format_latency

Pair = tuple[float, float]  # predicted, measured


@dataclass(frozen=True, slots=True)
class Agreement:
    """Predictions held against measurements.

    Attributes:
        count: networks that have both.
        rank: Spearman's correlation of their ranks, from -1 to 1: whether the faster of two
            networks is also predicted to be the faster one.
        error: mean absolute difference in seconds.
    """

    count: int
    rank: float
    error: float

    def __str__(self) -> str:
        """`Spearman's rank correlation 0.97 (n = 24), mean absolute error 0.41 ms`."""
        return (
            f"Spearman's rank correlation {self.rank:.3f} (n = {self.count}), "
            f"mean absolute error {format_latency(self.error)}"
        )


def agreement(pairs: Sequence[Pair]) -> Agreement | None:
    """How predicted and measured seconds agree; None where ranks say nothing.

    That is with fewer than two networks, or where one side is the same for all of them.
    """
    if not pairs:
        return None
    predicted, measured = (_ranks(values) for values in zip(*pairs, strict=True))
    middle = (len(pairs) + 1) / 2
    spread = math.sqrt(_moment(predicted, predicted, middle) * _moment(measured, measured, middle))
    if not spread:
        return None
    rank = _moment(predicted, measured, middle) / spread
    return Agreement(len(pairs), rank, fmean(abs(a - b) for a, b in pairs))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the middle of theirs."""
    ordered = sorted(values)
    first = {value: index for index, value in reversed(list(enumerate(ordered, 1)))}
    last = {value: index for index, value in enumerate(ordered, 1)}
    return [(first[value] + last[value]) / 2 for value in values]


def _moment(a: Sequence[float], b: Sequence[float], middle: float) -> float:
    return math.fsum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True))
