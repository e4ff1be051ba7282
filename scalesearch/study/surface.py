"""The response surface of a grid: what all of its trainings say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.arch.detector import Architecture
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.history.points import Point, evidence, points
from scalesearch.history.trials import Trial

if TYPE_CHECKING:
    from scalesearch.scaling.response import Response

# The coefficients that multiply each dimension; a detector's resolution is in pixels.
_DIMENSIONS = {"alpha": "depth", "beta": "width", "gamma": "resolution"}
_SHARES = ("accuracy", "balanced_accuracy", "macro_f1")  # metrics of which 1 is the most


@dataclass(frozen=True, kw_only=True)
class GridSurface:
    """A fitted surface, or why there is none.

    Attributes:
        response: the surface with its optimum and intervals; None if it could not be fitted.
        reason: why not.
    """

    response: Response | None = None
    reason: str = ""

    def predict(self, point: Point) -> float:
        """The metric that the surface gives a point of the grid."""
        assert self.response is not None
        logs = [
            np.mean([np.log(given[name]) for given in point.parameters])
            for name, dimension in _DIMENSIONS.items()
            if dimension in self.response.evidence.dimensions
        ]
        return 1 - float(self.response.surface.errors(np.array([logs]))[0])


def grid_surface(
    found: Sequence[Point], metric: str, flops: int | None, budget: float, phi: float
) -> GridSurface:
    """The surface through the points of a grid of triples.

    Args:
        found: its points.
        metric: a share between 0 and 1, of which more is better.
        flops: of the baseline; None where the budget is of another cost than FLOPs.
        budget: what FLOPs are multiplied with for each phi.
        phi: at which the grid was tried; the surface is over multipliers at that phi.
    """
    from scalesearch.scaling.fit_surface import fit_surface

    if metric.partition("/")[0] not in _SHARES:
        return GridSurface(reason=f"{metric} is no share of images that are right")
    if not found or "gamma" not in found[0].parameters[0]:
        return GridSurface(reason="only triples of alpha, beta and gamma have one")
    rows = evidence(found, metric, flops or 1)
    given: dict[str, Any] = {}
    for name, dimension in _DIMENSIONS.items():
        values = rows.parameters[name] ** phi
        if len(values) and np.ptp(values) > 0:
            given[dimension] = values
    try:
        response = fit_surface(
            np.clip(rows.errors, 1e-6, 1 - 1e-6),
            budget=budget**phi,
            networks=rows.networks,
            weights=rows.weights,
            growth=None if flops is None else rows.growth,
            **given,
        )
    except UserError as error:
        return GridSurface(reason=error.problem)
    return GridSurface(response=response)


def surface_of(
    grid: Mapping[str, Any], metric: str, baseline: Architecture, trials: Sequence[Trial]
) -> GridSurface:
    """The surface of a grid's trials; `grid` are its settings as they are written in YAML."""
    if not grid["budget"]:
        return GridSurface(reason="the grid has no budget that its points share")
    equal_flops = grid.get("budget_cost", "flops") == "flops"
    flops = counts(baseline).flops if equal_flops else None
    return grid_surface(points(trials, metric), metric, flops, grid["budget"], grid["phi"])


def best_point(found: Sequence[Point], surface: GridSurface) -> Point:
    """The point with the best value on the surface; without one that with the best mean."""
    if surface.response is None:
        return found[0]
    return max(found, key=surface.predict)  # the first, which has the better mean, of equals


def optimum(response: Response, phi: float) -> Mapping[str, float]:
    """The best coefficients for each phi: the roots of the best multipliers at the grid's phi."""
    return {name: value ** (1 / phi) for name, value in response.best.items()}
