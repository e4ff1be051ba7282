"""The response surface of a grid: what all of its trainings say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.history.fidelity import WHOLE_EPOCHS
from scalesearch.history.points import REPEAT, Point, evidence, points
from scalesearch.history.stopping import Stopping
from scalesearch.history.trials import Trial
from scalesearch.scaling.coefficients import COEFFICIENTS, POWERS
from scalesearch.scaling.detector import FACTORS, DetectorCoefficients
from scalesearch.scaling.scale import scale

if TYPE_CHECKING:
    from scalesearch.scaling.response import Range, Response

_LEAST = 2  # dimensions; with one there is nothing to choose at one budget
_EDGE = 1e-6  # errors are shares strictly between 0 and 1
_LEAST_GROWTH = 0.02  # in logs, that is worth dividing
_NAMED = 5  # networks that are named
_SAMPLES = 33  # values of a coefficient whose FLOPs are counted
# The coefficients that scale each dimension, of classifiers and of detectors.
_NAMES = {
    "depth": ("alpha", "neck_depth", "head_depth"),
    "width": ("beta", "neck_width"),
    "resolution": ("gamma", "resolution"),
}


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
        equal: whether all points were made equal in the budget's cost.
        unknown: what the trainings cannot say, a sentence each.
        note: what the letters in the response's sentences stand for, if not coefficients.
    """

    response: Response | None = None
    reason: str = ""
    axes: Mapping[str, Axis] = field(default_factory=dict)
    equal: bool = False
    unknown: tuple[str, ...] = ()
    note: str = ""

    def predict(self, point: Point) -> float:
        """The metric that the surface gives a point of the grid."""
        assert self.response is not None
        logs = np.array([[_log(axis, point) for axis in self.axes.values()]])
        if self.equal:
            logs = _projected(logs, [*self.axes], self.response.evidence.log_budget)
        return 1 - float(self.response.surface.errors(logs)[0])

    @property
    def optimum(self) -> dict[str, float]:
        """The best coefficients for each phi, between the points of the grid."""
        assert self.response is not None
        return self.coefficients(self.response.best)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each coefficient."""
        assert self.response is not None
        return self.ranges(self.response.intervals)

    def coefficients(self, multipliers: Mapping[str, float]) -> dict[str, float]:
        """Coefficients for each phi from multipliers at the grid's, in the response's order."""
        pairs = zip(self.axes.values(), multipliers.values(), strict=True)
        return {axis.name: axis.value(times) for axis, times in pairs}

    def ranges(self, multipliers: Mapping[str, Range]) -> dict[str, tuple[float, float]]:
        """The same of both ends of ranges."""
        low = self.coefficients({name: each.low for name, each in multipliers.items()})
        high = self.coefficients({name: each.high for name, each in multipliers.items()})
        return {name: (low[name], high[name]) for name in low}

    @property
    def lines(self) -> tuple[str, ...]:
        """What can be concluded, a sentence each."""
        if self.response is None:
            return (f"no surface: {self.reason}; the best mean counts", *self.unknown)
        lines = (*self.response.lines, *self.unknown)
        if not self.note:
            return lines
        found = ", ".join(f"{name} {value:.4g}" for name, value in self.optimum.items())
        return (f"best for each phi: {found}; {self.note}", *lines)


def surface_of(
    grid: Mapping[str, Any], metric: str, baseline: Architecture, trials: Sequence[Trial]
) -> GridSurface:
    """The surface of a grid's trials; `grid` are its settings as they are written in YAML."""
    unknown = _unknown(trials, points(trials, metric))
    return replace(_surface(grid, metric, baseline, trials), unknown=unknown)


def _unknown(trials: Sequence[Trial], found: Sequence[Point]) -> tuple[str, ...]:
    """Which networks failed without a score, and whether all scores are the same."""
    known = {point.first.digest for point in found}
    failed = {t.digest: t.parameters for t in trials if t.state == "failed"}
    lost = [
        ", ".join(f"{value:g}" for name, value in given.items() if name != REPEAT)
        for digest, given in failed.items()
        if digest not in known
    ]
    lines = []
    if lost:
        names = "; ".join(lost[:_NAMED]) + "; …" * (len(lost) > _NAMED)
        lines.append(f"warning: nothing is known of {len(lost)} that failed: {names}")
    if len(found) > 1 and len({point.mean for point in found}) == 1:
        lines.append(
            "warning: all means are the same, and the first is taken: train for longer, on more "
            "images, or with another learning rate"
        )
    return tuple(lines)


def _surface(
    grid: Mapping[str, Any], metric: str, baseline: Architecture, trials: Sequence[Trial]
) -> GridSurface:
    from scalesearch.scaling.fit_surface import fit_surface

    stopping = Stopping.from_plain(grid.get("stopping"))
    schedule = WHOLE_EPOCHS if stopping is None else stopping.schedule
    found, phi, budget = points(trials, metric), grid["phi"], grid["budget"]
    scores = [trial.scores[metric] for point in found for trial in point.trainings]
    if len(scores) > 1 and len({*scores}) == 1:
        return GridSurface(reason=f"{metric} is {scores[0]:.4g} in every training")
    if not all(0 <= score <= 1 for score in scores):
        return GridSurface(reason=f"{metric} is no share between 0 and 1")
    if not budget:
        return GridSurface(reason="the grid has no budget that its points share")
    equal = isinstance(baseline, Detector) or grid.get("match", "measured") == "measured"
    budget_cost = grid.get("budget_cost", "flops")
    try:
        axes = _axes(found, baseline, phi)
        rows = evidence(found, metric, counts(baseline).flops, schedule)
        logs = np.stack(
            [
                [np.log(axis.times(value)) for value in rows.parameters[axis.name]]
                for axis in axes.values()
            ],
            axis=1,
        )
        total = budget**phi / _growth_of_constants(found, axes, baseline, phi)
        if abs(math.log(total)) < _LEAST_GROWTH:
            raise UserError("what is the same in all points takes the whole budget")
        if equal:  # in the cost that was made equal: the formula is off, the direction is not
            logs = _projected(logs, [*axes], math.log(total))
        given: dict[str, Any] = dict(zip(axes, np.exp(logs).T, strict=True))
        response = fit_surface(
            np.clip(rows.errors, _EDGE, 1 - _EDGE),
            budget=total,
            networks=rows.networks,
            weights=rows.weights,
            growth=rows.growth * total / budget**phi if budget_cost == "flops" else None,
            cost={"flops": "FLOPs", "latency": "latency"}.get(budget_cost, "training memory"),
            **given,
        )
    except UserError as error:
        return GridSurface(reason=error.problem)
    response = replace(response, rows=rows.rows)
    return GridSurface(response=response, axes=axes, equal=equal, note=_note(axes, baseline, phi))


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


def _axis(name: str, baseline: Architecture, phi: float) -> Axis:
    """A factor to the power of phi; of detectors what it does to FLOPs, as a multiplier would."""
    if not isinstance(baseline, Detector):
        return Axis(name, lambda value: value**phi, lambda times: times ** (1 / phi))
    dimension = next(each for each, names in _NAMES.items() if name in names)
    start = counts(baseline).flops

    def times(value: float) -> float:
        grown = scale(baseline, replace(_ALONE, **{name: value}), phi)
        growth: float = counts(grown).flops / start
        return float(growth ** (1 / POWERS[dimension]))

    def value(multiplier: float) -> float:
        least = 1.0 if name in FACTORS else 0.0
        most = _MOST[name]
        values = np.linspace(least, most, _SAMPLES)
        return float(np.interp(multiplier, [times(each) for each in values], values))

    return Axis(name, cache(times), value)


# Coefficients that change nothing, and the largest ones of detectors that are looked for.
_ALONE = DetectorCoefficients(
    alpha=1.0, beta=1.0, neck_width=1.0, neck_depth=0.0, head_depth=0.0, resolution=0.0
)
_MOST = {
    **{"alpha": 4.0, "beta": 3.0, "neck_width": 3.0},
    **{"neck_depth": 12.0, "head_depth": 12.0, "resolution": 1024.0},
}


def _growth_of_constants(
    found: Sequence[Point], axes: Mapping[str, Axis], baseline: Architecture, phi: float
) -> float:
    """What a detector's FLOPs grow by through the coefficients that are the same in all points."""
    if not isinstance(baseline, Detector):
        return 1.0
    varied = {axis.name for axis in axes.values()}
    given = found[0].parameters[0]
    constant = {name: value for name, value in given.items() if name not in varied}
    grown = scale(baseline, replace(_ALONE, **constant), phi)
    return counts(grown).flops / counts(baseline).flops


def _projected(logs: np.ndarray, dimensions: Sequence[str], log_budget: float) -> np.ndarray:
    """The same directions [points, dimensions] at the length that the budget gives nominally."""
    powers = np.array([POWERS[dimension] for dimension in dimensions])
    length = logs @ powers
    safe = np.where(np.abs(length) < 1e-9, log_budget, length)
    projected: np.ndarray = logs * (log_budget / safe)[:, None]
    return projected


def _note(axes: Mapping[str, Axis], baseline: Architecture, phi: float) -> str:
    """What the letters of the response stand for, where they are not coefficients of one phi."""
    notes = []
    if isinstance(baseline, Detector):
        pairs = ", ".join(
            f"{COEFFICIENTS[each]} what {axis.name} does" for each, axis in axes.items()
        )
        notes.append(f"below, {pairs} to FLOPs, as a multiplier of a classifier would")
    if phi != 1:
        notes.append(f"below, multipliers at phi {phi:g}")
    return "; ".join(notes)


def _log(axis: Axis, point: Point) -> float:
    return float(np.mean([np.log(axis.times(given[axis.name])) for given in point.parameters]))
