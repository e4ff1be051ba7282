"""What a response surface with its intervals takes, and how often the intervals cover the truth.

`python -m tests.benchmarks.surface` from the repository prints the table.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import scalesearch as ss
from tests.scaling.tables import NOISE, best_of, bowl, power_laws, triples

POINTS, DRAWS, GOAL = 100, 1000, 5.0
SIMULATIONS = 100


def rows() -> list[dict[str, Any]]:
    """Seconds of fits of 100 points, and of 100 intervals how many cover the truth."""
    truth = power_laws(0.15, (0.05, 0.06, 0.07), (0.5, 1.2, 1.0))
    everywhere = np.random.default_rng(0).uniform(0, 0.7, (POINTS, 3))
    at_one = np.log(2) * np.random.default_rng(1).dirichlet([1, 1, 1], POINTS) / [1, 2, 2]
    fit(truth, everywhere, 0)  # what is imported at the first call is not of the fit
    found = [
        {"what": f"fit of {POINTS} points, {name}", "seconds": seconds(truth, logs), "goal": GOAL}
        for name, logs in (("of any FLOPs", everywhere), ("at one budget", at_one))
    ]
    for centre, curvature in (((0.35, 0.3, 0.35), 0.12), ((0.0, 0.5, 0.5), 0.12)):
        found.append(coverage(centre, curvature))
    return found


def seconds(truth: Any, logs: np.ndarray) -> float:
    """Of a fit with its draws."""
    start = time.perf_counter()
    fit(truth, logs, 0)
    return time.perf_counter() - start


def coverage(centre: tuple[float, float, float], curvature: float) -> dict[str, Any]:
    """Of 95 % intervals over simulated grids of 20 triples."""
    truth, logs = bowl(centre, curvature), triples()
    best, covered = best_of(truth), 0
    for seed in range(SIMULATIONS):
        intervals = fit(truth, logs, seed).intervals.values()
        pairs = zip(intervals, best, strict=True)
        covered += sum(e.low - 1e-3 <= value <= e.high + 1e-3 for e, value in pairs)
    share = covered / 3 / SIMULATIONS
    return {"what": f"coverage, best at growth {centre}", "share": share}


def fit(truth: Any, logs: np.ndarray, seed: int) -> Any:
    """The response to one set of simulated trainings."""
    errors = truth(logs) + np.random.default_rng(seed).normal(0, NOISE, len(logs))
    depth, width, resolution = np.exp(logs).T
    return ss.fit_surface(
        errors, depth=depth, width=width, resolution=resolution, draws=DRAWS, seed=seed
    )


if __name__ == "__main__":
    from tests.benchmarks.__main__ import table

    table("surface", rows())
