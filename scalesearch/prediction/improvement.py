"""What a network is expected to add to the best that is known."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

_ROOT = (2 * np.pi) ** 0.5


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: np.ndarray) -> np.ndarray:
    """E[max(0, value - best)] of values that are normal (Jones et al. 1998, eq. 15).

    Arguments are arrays that broadcast.
    """
    z = (mean - best) / deviation
    return np.maximum(deviation * (z * ndtr(z) + np.exp(-z * z / 2) / _ROOT), 0)


def expected_growth(
    mean: np.ndarray,
    deviation: np.ndarray,
    cost: np.ndarray,
    front: np.ndarray,
    worst: tuple[float, float],
) -> np.ndarray:
    """The expected growth of the hypervolume of a front by networks of known cost.

    With the cost known, the area that a network adds is a sum over the steps of the front: the
    width of each step beyond the network's cost times its improvement on the step's value.

    Args:
        mean: of the networks' values, which are maximised, float [n].
        deviation: of these values, float [n].
        cost: which is minimised, float [n].
        front: value and cost of the best networks so far, float [m, 2].
        worst: the value and the cost that bound the area.
    """
    order = np.argsort(front[:, 1], kind="stable")
    values = np.append(worst[0], np.maximum.accumulate(np.maximum(front[order, 0], worst[0])))
    starts = np.append(-np.inf, front[order, 1])
    ends = np.minimum(np.append(starts[1:], worst[1]), worst[1])
    widths = np.maximum(ends - np.maximum(starts, cost[:, None]), 0)
    improvement = expected_improvement(mean[:, None], deviation[:, None], values)
    total: np.ndarray = (widths * improvement).sum(axis=1)
    return total


def log_probability(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The logarithm of the probability that normal values are at most 0."""
    probability: np.ndarray = log_ndtr(-mean / deviation)
    return probability
