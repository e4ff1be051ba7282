"""A model of measured values: fitted to results, asked about other networks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from scalesearch.prediction.encoding import Encoding, Points
from scalesearch.prediction.process import Process, Weights, fit_weights
from scalesearch.prediction.values import Scale

# Of more results, those that a model is made of: solving takes the cube of their number.
MOST_RESULTS = 300
# Weights are fitted anew when there are so many times more results than at the last fit.
_GROWTH = 1.15
_FEWEST = 2
_KEPT_FITS = 64


@dataclass(frozen=True, eq=False)
class Model:
    """Values of networks, given those of some; larger or smaller ones are better.

    Attributes:
        process: of the transformed values.
        scale: that transformed them.
    """

    process: Process
    scale: Scale

    def predict(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the networks' transformed values, float [points]."""
        return self.process.predict(points)

    def in_units(self, mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, ...]:
        """Median, and the 2.5 and 97.5 % quantiles, in the unit of the values."""
        ends = (mean, mean - 1.96 * deviation, mean + 1.96 * deviation)
        return tuple(self.scale.backward(each) for each in ends)


@dataclass(frozen=True, eq=False)
class Learner:
    """Makes models of one space.

    A model follows from the results alone: weights are fitted to the first so many of them, at
    numbers that grow by a seventh, and what was fitted once is kept.
    """

    encoding: Encoding
    _fits: dict[bytes, Weights] = field(default_factory=dict)

    def learn(self, points: Points, values: np.ndarray) -> Model:
        """The model of these values, in the order in which they were measured."""
        return self._made(points, values, self._weights(points, values))

    def with_weights(self, points: Points, values: np.ndarray, other: Model) -> Model:
        """The model of these values under the weights of another one."""
        return self._made(points, values, other.process.weights)

    def _made(self, points: Points, values: np.ndarray, weights: Weights) -> Model:
        kept = chosen_results(values)
        scale = Scale.of(values[kept])
        process = Process.given(self.encoding, points[kept], scale.forward(values[kept]), weights)
        return Model(process, scale)

    def _weights(self, points: Points, values: np.ndarray) -> Weights:
        number = fitted_number(len(values))
        points, values = points[:number], values[:number]
        content = points.choices.tobytes() + points.costs.tobytes() + values.tobytes()
        key = hashlib.blake2b(content, digest_size=16).digest()
        if key not in self._fits:
            if len(self._fits) >= _KEPT_FITS:
                self._fits.pop(next(iter(self._fits)))
            kept = chosen_results(values)
            scale = Scale.of(values[kept])
            transformed = scale.forward(values[kept])
            self._fits[key] = fit_weights(self.encoding, points[kept], transformed)
        return self._fits[key]


def fitted_number(results: int) -> int:
    """To how many of the first results weights are fitted when there are so many."""
    number = _FEWEST
    while (following := max(number + 1, int(number * _GROWTH))) <= results:
        number = following
    return min(number, results)


def chosen_results(values: np.ndarray) -> np.ndarray:
    """The positions of the results that a model is made of, ascending.

    All if they are few; else the best half of `MOST_RESULTS`, and others evenly from the rest.
    """
    if len(values) <= MOST_RESULTS:
        return np.arange(len(values))
    order = np.argsort(-values, kind="stable")
    half = MOST_RESULTS // 2
    rest = np.sort(order[half:])
    even = rest[np.linspace(0, len(rest) - 1, MOST_RESULTS - half).astype(np.intp)]
    return np.sort(np.concatenate([order[:half], even]))
