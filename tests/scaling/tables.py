"""Published ImageNet results of networks scaled by hand, and made-up responses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

# Width, side in pixels, millions of multiply-adds, top-1 in percent: MobileNetV2's authors
# (tensorflow/models, research/slim/nets/mobilenet/README.md).
MOBILENET_V2 = np.loadtxt(
    Path(__file__).parents[2] / "studies" / "mobilenet_v2_imagenet.csv",
    delimiter=",",
    skiprows=1,
    usecols=(0, 1, 2, 3),
)
# The same of MobileNetV1, without multiply-adds (research/slim/nets/mobilenet_v1.md).
MOBILENET_V1 = np.array(
    [
        *((1.0, 224, 70.9), (1.0, 192, 70.0), (1.0, 160, 68.0), (1.0, 128, 65.2)),
        *((0.75, 224, 68.4), (0.75, 192, 67.2), (0.75, 160, 65.3), (0.75, 128, 62.1)),
        *((0.5, 224, 63.3), (0.5, 192, 61.7), (0.5, 160, 59.1), (0.5, 128, 56.3)),
        *((0.25, 224, 49.8), (0.25, 192, 47.7), (0.25, 160, 45.5), (0.25, 128, 41.5)),
    ]
)
# The power of each multiplier in FLOPs.
POWERS = np.array([1.0, 2.0, 2.0])
NOISE = 0.0031  # pooled over seeds of short ImageNet trainings, as a share

Response = Callable[[np.ndarray], np.ndarray]


def triples(step: float = 0.1, tolerance: float = 0.1) -> np.ndarray:
    """Logarithms of the triples that about double FLOPs, in steps, float [rows, 3]."""
    values = np.arange(0, 1 + 1e-9, step) + 1
    every = np.array(list(product(values, values[values < 1.45], values[values < 1.45])))
    growth = every[:, 0] * (every[:, 1] * every[:, 2]) ** 2
    return np.log(every[np.abs(growth - 2) <= tolerance])


def bowl(centre: tuple[float, float, float], curvature: float) -> Response:
    """Log error is quadratic in the shares of growth, and falls with growth."""

    def errors(logs: np.ndarray) -> np.ndarray:
        shares = logs * POWERS / np.log(2)
        total = shares.sum(axis=1, keepdims=True)
        away = ((shares - np.array(centre) * total) ** 2).sum(axis=1)
        return 0.3 * np.exp(-0.15 * (total[:, 0] - 1) + curvature * away)

    return errors


def power_laws(level: float, factors: tuple[float, ...], exponents: tuple[float, ...]) -> Response:
    """Error is a level and a power law of each multiplier."""
    return lambda logs: level + (np.array(factors) * np.exp(-np.array(exponents) * logs)).sum(1)


def best_of(errors: Response, budget: float = 2.0, steps: int = 400) -> np.ndarray:
    """The multipliers with the least error among all shares of a budget, float [3]."""
    first, second = (axis.ravel() for axis in np.mgrid[0 : steps + 1, 0 : steps + 1] / steps)
    shares = np.stack([first, second, 1 - first - second], axis=1)
    shares = shares[shares[:, 2] >= -1e-9]
    logs = np.maximum(shares, 0) * np.log(budget) / POWERS
    return np.exp(logs[errors(logs).argmin()])
