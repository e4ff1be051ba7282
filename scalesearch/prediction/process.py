"""A Gaussian process over networks: what results of some say about others, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from scalesearch.prediction.encoding import Encoding, Points

# Weights of the kinds and of noise are variances of values whose variance is 1. What is likely of
# them before any result: the logarithm's mean and deviation.
_LIKELY_WEIGHT, _LIKELY_NOISE = np.log(0.1), np.log(0.05)
_WEIGHT_SPREAD, _NOISE_SPREAD = 1.0, 1.5
_FLOOR = 1e-3  # of noise: keeps equations solvable
_STEPS = 25
_SMALLEST = 1e-6  # of a variance that is predicted


@dataclass(frozen=True, eq=False, slots=True)
class Weights:
    """How much each kind of similarity matters, float [kinds], and the variance of noise."""

    kinds: np.ndarray
    noise: float


def fit_weights(encoding: Encoding, points: Points, values: np.ndarray) -> Weights:
    """The weights under which the values (mean 0, deviation 1) are the likeliest.

    The likelihood's gradient with respect to weights of fixed covariances is exact (Rasmussen and
    Williams 2006, eq. 5.9), so that a few steps of L-BFGS are enough.
    """
    n = len(values)
    similar = encoding.similarities(points, points).astype(float)
    eye = np.eye(n)
    count = len(similar)
    start = np.append(np.full(count, _LIKELY_WEIGHT), _LIKELY_NOISE)
    start[0] = 0.0  # the mean of all values
    spread = np.append(np.full(count, _WEIGHT_SPREAD), _NOISE_SPREAD)
    flat = similar.reshape(count, -1)

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        weights = np.exp(logs)
        covariance = (weights[:-1] @ flat).reshape(n, n) + (weights[-1] + _FLOOR) * eye
        factor = cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
        solved = cho_solve(factor, values, check_finite=False)
        inverse = cho_solve(factor, eye, check_finite=False)
        pull = np.outer(solved, solved) - inverse
        gradient = np.append(flat @ pull.ravel(), np.trace(pull)) * weights / -2
        off = (logs - start) / spread
        value = values @ solved / 2 + np.log(np.diag(factor[0])).sum() + (off**2).sum() / 2
        return float(value), gradient + off / spread

    bounds = [(-9.0, 6.0)] * (count + 1)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}
    )
    weights = np.exp(found.x)
    return Weights(weights[:-1], float(weights[-1]))


@dataclass(frozen=True, eq=False)
class Process:
    """Values of all networks of a space, given noisy ones of some."""

    encoding: Encoding
    points: Points
    values: np.ndarray
    weights: Weights
    _factor: np.ndarray
    _solved: np.ndarray

    @cached_property
    def _single(self) -> np.ndarray:
        """The factor in float32, for many networks at once."""
        return self._factor.astype(np.float32)

    @cached_property
    def back(self) -> np.ndarray:
        """The inverse covariance times the values, float [values]."""
        back: np.ndarray = solve_triangular(
            self._factor, self._solved, lower=True, trans="T", check_finite=False
        )
        return back

    @classmethod
    def given(
        cls, encoding: Encoding, points: Points, values: np.ndarray, weights: Weights
    ) -> Process:
        """The process that has given these values."""
        covariance = encoding.covariance(weights.kinds, points, points).astype(float)
        covariance[np.diag_indices(len(values))] += weights.noise + _FLOOR
        factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        solved = solve_triangular(factor, values, lower=True, check_finite=False)
        return cls(encoding, points, values, weights, factor, solved)

    def predict(self, points: Points, *, deviation: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the networks' true values, float [points] each.

        Without the deviation, which is then 0, it takes a fraction of the time.
        """
        shared = self.encoding.covariance(self.weights.kinds, self.points, points)
        mean = self.back @ shared
        part = solve_triangular(self._single, shared, lower=True, check_finite=False)
        own = self.weights.kinds @ self.encoding.own(points)
        variance = np.maximum(own - np.einsum("ij,ij->j", part, part), _SMALLEST)
        return mean, np.sqrt(variance)

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation that each value has by all others, float [values] each.

        In closed form (Rasmussen and Williams 2006, eq. 5.12), with the weights of all values.
        """
        inverse = cho_solve((self._factor, True), np.eye(len(self.values)), check_finite=False)
        solved = cho_solve((self._factor, True), self.values, check_finite=False)
        own = np.diag(inverse)
        return self.values - solved / own, np.sqrt(1 / own)
