"""Where a budget can go: points at one growth of FLOPs, by the share of each dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import COEFFICIENTS
from scalesearch.scaling.evidence import Evidence

_STEPS = {1: 1, 2: 401, 3: 61}  # points along each free share
_REFINED = (9, 5)  # points along each, and how often the best one's surroundings are searched


@dataclass(frozen=True, eq=False, kw_only=True)
class Budget:
    """All coefficients within a budget and limits.

    Attributes:
        exponents: the power of each coefficient with which the cost grows, float [dimensions].
        log_growth: the logarithm of what the cost is multiplied with.
        low, high: limits of the share of log growth that goes to each dimension.
    """

    exponents: np.ndarray
    log_growth: float
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, evidence: Evidence, limits: Mapping[str, tuple[float, float]]) -> Budget:
        """The budget of evidence, its coefficients within limits such as `{"beta": (1, 1.3)}`.

        No dimension shrinks while FLOPs grow, nor the other way round.

        Raises:
            UserError: limits that nothing meets.
        """
        growth, exponents = evidence.log_budget, evidence.exponents
        low, high = np.zeros(len(exponents)), np.ones(len(exponents))
        names = [COEFFICIENTS[name] for name in evidence.dimensions]
        for name, (least, most) in limits.items():
            if name not in names:
                raise UserError(
                    "this coefficient does not vary", key=f"limits.{name}", allowed=", ".join(names)
                )
            if not 0 < least <= most:
                raise UserError(f"{least:g} to {most:g} holds nothing", key=f"limits.{name}")
            place = names.index(name)
            ends = sorted(np.log([least, most]) * exponents[place] / growth)
            low[place], high[place] = max(low[place], ends[0]), min(high[place], ends[1])
        budget = cls(exponents=exponents, log_growth=growth, low=low, high=high)
        if (low > high + 1e-9).any() or low.sum() > 1 + 1e-9 or high.sum() < 1 - 1e-9:
            reach = np.exp(growth * np.sort([low.sum(), high.sum()]))
            raise UserError(
                f"no coefficients within the limits multiply FLOPs by {np.exp(growth):g}: "
                f"they reach {min(reach):.3g} to {max(reach):.3g}, each at "
                f"{'least' if growth > 0 else 'most'} 1",
                key="limits",
            )
        return budget

    def logs(self, shares: np.ndarray) -> np.ndarray:
        """Logarithms of coefficients [points, dimensions] of shares of growth."""
        return shares * self.log_growth / self.exponents

    def points(self) -> np.ndarray:
        """Shares of growth everywhere within the limits, float [points, dimensions]."""
        dimensions = len(self.low)
        return self._shares(self.low, self.high, _STEPS[dimensions])

    def around(self, shares: np.ndarray, width: float) -> np.ndarray:
        """Shares within `width` of some, float [points, dimensions]."""
        low, high = np.maximum(self.low, shares - width), np.minimum(self.high, shares + width)
        return self._shares(low, high, _REFINED[0])

    def _shares(self, low: np.ndarray, high: np.ndarray, steps: int) -> np.ndarray:
        """A grid over shares that sum to 1; the last one follows from the others."""
        if len(low) == 1:
            return np.ones((1, 1))
        ends = [
            (max(low[i], 1 - high.sum() + high[i]), min(high[i], 1 - low.sum() + low[i]))
            for i in range(len(low))
        ]
        if len(low) == 2:
            first = np.linspace(*ends[0], steps)
            return np.column_stack([first, 1 - first])
        rows = []
        for share in np.linspace(*ends[0], steps):
            least = max(low[1], 1 - share - high[2])
            most = min(high[1], 1 - share - low[2])
            count = max(1, round(steps * (most - least) / max(ends[1][1] - ends[1][0], 1e-12)))
            second = np.linspace(least, max(least, most), count)
            rows.append(np.column_stack([np.full(count, share), second, 1 - share - second]))
        return np.vstack(rows)


def refinements() -> int:
    """How often the surroundings of the best point are searched."""
    return _REFINED[1]
