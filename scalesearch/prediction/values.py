"""Measured values as a model takes them: poor ones drawn together, good ones spread out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Scale:
    """A rising function of a value, and its inverse.

    Up to the median it is the logarithm of the distance, above it the distance: a network that
    learned nothing is as poor as one that learned little, and says nothing on good ones.

    Attributes:
        middle: the median of the values.
        spread: standard deviation of those above it.
        mean, deviation: of the transformed values.
    """

    middle: float
    spread: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        """The scale of these values; the transformed ones have mean 0 and deviation 1."""
        middle = float(np.median(values))
        spread = float(np.sqrt(np.mean((values[values >= middle] - middle) ** 2)))
        if spread < _TINY * max(1.0, abs(middle)):
            spread = float(values.std()) or 1.0
        bent = cls(middle, spread, 0.0, 1.0).forward(values)
        return cls(middle, spread, float(bent.mean()), float(bent.std()) or 1.0)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """The transformed values."""
        x = (values - self.middle) / self.spread
        bent = np.where(x >= 0, x, -np.log1p(np.maximum(-x, 0)))
        return (bent - self.mean) / self.deviation

    def backward(self, transformed: np.ndarray) -> np.ndarray:
        """The values of transformed ones."""
        bent = transformed * self.deviation + self.mean
        x = np.where(bent >= 0, bent, -np.expm1(np.maximum(-bent, 0)))
        return self.middle + self.spread * x
