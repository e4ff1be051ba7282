"""How well predicted latencies agree with measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.units import format_latency

Pair = tuple[float, float]  # predicted, measured


@dataclass(frozen=True, slots=True)
class Agreement:
    """Predictions compared with measurements.

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
    if len(pairs) < 2:
        return None
    import pandas as pd

    times = pd.DataFrame(pairs, columns=["predicted", "measured"])
    if times.nunique().min() < 2:
        return None
    ranks = times.rank()
    rank = ranks["predicted"].corr(ranks["measured"])
    error = (times["predicted"] - times["measured"]).abs().mean()
    return Agreement(len(times), float(rank), float(error))
