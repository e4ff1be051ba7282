"""A fit to many results of a space, and how well it predicts what it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from scalesearch.cost.cost import Workload
from scalesearch.population.tables import Rows
from scalesearch.prediction.encoding import Described, Encoding, Points
from scalesearch.prediction.process import Process, Weights, fit_weights

MOST_FITTED = 5000  # results: a few seconds, and some hundred megabytes
_WEIGHED = 500  # of them, to which weights are fitted


@dataclass(frozen=True, slots=True)
class Quality:
    """How well networks are predicted that were left out of the fit.

    Attributes:
        networks: how many there are.
        folds: parts, each of which was predicted from the others.
        tau: Kendall's rank correlation of predictions and results, from -1 to 1.
        r2: share of the results' variance that is predicted.
    """

    networks: int
    folds: int
    tau: float
    r2: float

    def __str__(self) -> str:
        """`Kendall's tau 0.931, R² 0.984 (5-fold cross-validation of 4,100 networks)`."""
        return (
            f"Kendall's tau {self.tau:.3f}, R² {self.r2:.3f} ({self.folds}-fold cross-validation "
            f"of {self.networks:,} networks)"
        )


@dataclass(frozen=True, eq=False)
class Regression:
    """The mean of a Gaussian process of many results, in their unit.

    Attributes:
        encoding: of the space.
        points: the networks of the fit.
        weights: of similarities and noise.
        back: the inverse covariance times the scaled results, float [points].
        mean, deviation: of the results.
    """

    encoding: Encoding
    points: Points
    weights: Weights
    back: np.ndarray
    mean: float
    deviation: float

    @classmethod
    def fit(
        cls, space: Described, workload: Workload, rows: Rows, values: np.ndarray
    ) -> Regression:
        """The fit to these results, or to `MOST_FITTED` of them; weights are those of fewer."""
        encoding = Encoding(space, workload)
        kept = np.random.default_rng(0).permutation(len(values))[:MOST_FITTED]
        points, values = encoding.encode(rows[kept]), values[kept]
        mean, deviation = float(values.mean()), float(values.std()) or 1.0
        scaled = (values - mean) / deviation
        weights = fit_weights(encoding, points[:_WEIGHED], scaled[:_WEIGHED])
        back = Process.given(encoding, points, scaled, weights).back
        return cls(encoding, points, weights, back, mean, deviation)

    def predict(self, rows: Rows) -> np.ndarray:
        """The expected results of networks, float [n]."""
        new = self.encoding.encode(rows)
        expected = self.back @ self.encoding.covariance(self.weights.kinds, self.points, new)
        return self.mean + self.deviation * expected

    @property
    def noise(self) -> float:
        """The standard deviation from training to training."""
        return self.deviation * self.weights.noise**0.5


def cross_validated(
    space: Described, workload: Workload, rows: Rows, values: np.ndarray, folds: int
) -> Quality:
    """How well each part of the results is predicted from the others."""
    fold = np.random.default_rng(0).permutation(len(values)) % folds
    predicted = np.empty(len(values))
    for number in range(folds):
        out = fold == number
        fitted = Regression.fit(space, workload, rows[~out], values[~out])
        predicted[out] = fitted.predict(rows[out])
    tau = float(kendalltau(predicted, values).statistic)
    r2 = 1 - float(((values - predicted) ** 2).sum() / ((values - values.mean()) ** 2).sum())
    return Quality(len(values), folds, tau, r2)
