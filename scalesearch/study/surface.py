"""The response surface of a grid: what all of its trainings say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.history.points import Point, evidence, points
from scalesearch.history.trials import Trial

if TYPE_CHECKING:
    from scalesearch.scaling.response import Response

_SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "ap")  # metrics of which 1 is the most
_LEAST = 2  # dimensions; with one there is nothing to choose at one budget
_EDGE = 1e-6  # errors are shares strictly between 0 and 1


@dataclass(frozen=True)
class Axis:
    """How one coefficient multiplies one dimension at the grid's phi.

    Attributes:
        name: of the coefficient.
        times: from its value to the multiplier.
        value: back again.
    """

    name: str
    times: Callable[[float], float]
    value: Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class GridSurface:
    """A fitted surface, or why there is none.

    Attributes:
        response: the surface with its optimum and intervals; None if it could not be fitted.
        reason: why not.
        axes: of the dimensions that vary, by their names.
    """

    response: Response | None = None
    reason: str = ""
    axes: Mapping[str, Axis] = field(default_factory=dict)

    def predict(self, point: Point) -> float:
        """The metric that the surface gives a point of the grid."""
        assert self.response is not None
        logs = [_log(axis, point) for axis in self.axes.values()]
        return 1 - float(self.response.surface.errors(np.array([logs]))[0])

    @property
    def optimum(self) -> dict[str, float]:
        """The best coefficients for each phi, between the points of the grid."""
        assert self.response is not None
        best = zip(self.axes.values(), self.response.best.values(), strict=True)
        return {axis.name: axis.value(times) for axis, times in best}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each coefficient."""
        assert self.response is not None
        ends = zip(self.axes.values(), self.response.intervals.values(), strict=True)
        return {axis.name: (axis.value(each.low), axis.value(each.high)) for axis, each in ends}

    @property
    def lines(self) -> tuple[str, ...]:
        """What can be concluded, a sentence each."""
        if self.response is None:
            return (f"no surface: {self.reason}; the best mean counts",)
        names = [axis.name for axis in self.axes.values()]
        if set(names) <= {"alpha", "beta", "gamma"}:
            return self.response.lines
        words = zip(self.response.best, names, strict=True)
        renamed = ", ".join(f"{letter} is what {name} multiplies" for letter, name in words)
        others = [line for line in self.response.lines if "the paper's coefficients" not in line]
        return (f"in what follows {renamed}", *others)


def surface_of(
    grid: Mapping[str, Any], metric: str, baseline: Architecture, trials: Sequence[Trial]
) -> GridSurface:
    """The surface of a grid's trials; `grid` are its settings as they are written in YAML."""
    from scalesearch.scaling.fit_surface import fit_surface

    found, phi, budget = points(trials, metric), grid["phi"], grid["budget"]
    if metric.partition("/")[0] not in _SHARES:
        return GridSurface(reason=f"{metric} is no share of what is right")
    if not budget:
        return GridSurface(reason="the grid has no budget that its points share")
    try:
        axes = _axes(found, baseline, phi)
        flops = counts(baseline).flops
        rows = evidence(found, metric, flops)
        equal_flops = grid.get("budget_cost", "flops") == "flops"
        given: dict[str, Any] = {
            dimension: np.array([axis.times(value) for value in rows.parameters[axis.name]])
            for dimension, axis in axes.items()
        }
        response = fit_surface(
            np.clip(rows.errors, _EDGE, 1 - _EDGE),
            budget=budget**phi,
            networks=rows.networks,
            weights=rows.weights,
            growth=rows.growth if equal_flops else None,
            **given,
        )
    except UserError as error:
        return GridSurface(reason=error.problem)
    return GridSurface(response=response, axes=axes)


def best_point(found: Sequence[Point], surface: GridSurface) -> Point:
    """The point with the best value on the surface; without one that with the best mean."""
    if surface.response is None:
        return found[0]
    return max(found, key=surface.predict)  # the first, which has the better mean, of equals


def _axes(found: Sequence[Point], baseline: Architecture, phi: float) -> dict[str, Axis]:
    """One coefficient for each dimension that varies."""
    varied = [
        name
        for name in (found[0].parameters[0] if found else ())
        if len({given[name] for point in found for given in point.parameters}) > 1
    ]
    axes: dict[str, Axis] = {}
    for dimension, names in _NAMES.items():
        own = [name for name in names if name in varied]
        if len(own) > 1:
            raise UserError(f"{' and '.join(own)} both vary, and a surface has one {dimension}")
        if own:
            axes[dimension] = _axis(own[0], baseline, phi)
    if len(axes) < _LEAST:
        raise UserError("it needs two dimensions at least that vary within the budget")
    return axes


# The coefficients that scale each dimension, of classifiers and of detectors.
_NAMES = {
    "depth": ("alpha", "neck_depth", "head_depth"),
    "width": ("beta", "neck_width"),
    "resolution": ("gamma", "resolution"),
}


def _axis(name: str, baseline: Architecture, phi: float) -> Axis:
    """A factor to the power of phi; of layers and pixels that are added, the sum over the start."""
    start = 0.0
    if isinstance(baseline, Detector):
        added = {
            "neck_depth": baseline.neck.depth,
            "head_depth": baseline.heads.depth,
            "resolution": baseline.resolution,
        }
        start = float(added.get(name, 0))
    if start:
        return Axis(name, lambda v: 1 + v * phi / start, lambda times: (times - 1) * start / phi)
    return Axis(name, lambda value: value**phi, lambda times: times ** (1 / phi))


def _log(axis: Axis, point: Point) -> float:
    return float(np.mean([np.log(axis.times(given[axis.name])) for given in point.parameters]))
