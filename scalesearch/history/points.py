"""The points of a grid by their trainings: whole ones, repeats, and those that were stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from scalesearch.history.confidence import confidence
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.history.trials import Trial, overall

_LEAST_WEIGHT = 0.01  # of a result that foretells next to nothing
REPEAT = "repeat"  # the parameter that says which training of a point a trial is


@dataclass(frozen=True, kw_only=True)
class Point:
    """One network of a grid.

    Attributes:
        first: its first trial; of points that round to one network the first one's.
        parameters: of each point that rounds to this network, without the repeat.
        trainings: those that were trained to their end, in order.
        stopped: those that were not, and the step at which they were stopped is the last of their
            curve.
        mean: of the metric over whole trainings; NaN without one.
        error: standard error of the mean; None with fewer than two trainings.
        probability: of being the best of those with two trainings or more.
    """

    first: Trial
    parameters: tuple[Mapping[str, Any], ...]
    trainings: tuple[Trial, ...]
    stopped: tuple[Trial, ...]
    mean: float = math.nan
    error: float | None = None
    probability: float | None = None

    @property
    def scores(self) -> dict[str, float]:
        """The mean of each score over whole trainings."""
        every = [overall(trial.scores) for trial in self.trainings]
        names = [n for n in every[0] if all(n in scores for scores in every)] if every else []
        return {name: fmean(scores[name] for scores in every) for name in names}


def points(trials: Sequence[Trial], metric: str) -> tuple[Point, ...]:
    """The networks of a grid that gave anything, the best first.

    Whole trainings rank by their mean, those that were stopped behind them by how far they came and
    their score there; fewer FLOPs break ties.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.digest, []).append(trial)
    found = []
    for each in groups.values():
        own = [trial for trial in each if trial.source is None]
        whole = tuple(trial for trial in own if trial.state == "assessed")
        cut = tuple(trial for trial in own if trial.state == "stopped" and trial.curve)
        if whole or cut:
            given = dict.fromkeys(tuple(_coefficients(trial).items()) for trial in each)
            parameters = tuple(map(dict, given))
            found.append(Point(first=own[0], parameters=parameters, trainings=whole, stopped=cut))
    sure = confidence(
        [[trial.scores[metric] for trial in point.trainings] for point in found],
        [point.first.cost.flops for point in found],
    )
    known = zip(found, sure.means, sure.errors, sure.probabilities, strict=True)
    ranked = [
        replace(point, mean=mean, error=error, probability=probability)
        for point, mean, error, probability in known
    ]
    return tuple(sorted(ranked, key=_order))


def spent(trials: Sequence[Trial], epochs: int, schedule: Schedule = WHOLE_EPOCHS) -> float:
    """Whole trainings that a grid's epochs add up to, by the work of each."""
    own = [trial for trial in trials if trial.source is None]
    whole = sum(trial.state == "assessed" for trial in own) * schedule.work(epochs)
    ended = [max(t.curve, default=0) for t in own if t.state in ("stopped", "failed")]
    return (whole + sum(map(schedule.work, ended))) / epochs


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Results of a grid as a surface takes them, a row each.

    Attributes:
        parameters: of each row; of points that round to one network their geometric mean.
        errors: 1 - the metric, at the end of a training.
        weights: 1 for a whole training; less for one that was stopped, the less the shorter
            trainings foretell of whole ones.
        networks: an identity of the network of each row.
        growth: FLOPs over the baseline's.
        rows: the trial of each row, and the epoch of a rung.
    """

    parameters: Mapping[str, np.ndarray]
    errors: np.ndarray
    weights: np.ndarray
    networks: tuple[str, ...]
    growth: np.ndarray
    rows: tuple[str, ...]


def evidence(
    found: Sequence[Point], metric: str, flops: int, schedule: Schedule = WHOLE_EPOCHS
) -> Evidence:
    """What whole trainings say, and what every first training said at each rung.

    An error at a rung is turned into one at the end by the factor between the two, the geometric
    mean over trainings that were not selected by it: repeats, as far as there are two. Networks
    that went on count at the rungs that they passed, too: only together are those that were stopped
    there no selection of the unlucky. A row of a rung weighs as much as the spread of its factor
    leaves of it beside the noise of whole trainings, of which repeats say how large it is; without
    them it weighs the share of a training's work that was done by then.
    """
    whole = [trial for point in found for trial in point.trainings]
    repeats = [trial for trial in whole if trial.parameters.get(REPEAT, 0) > 0]
    unselected = repeats if len(repeats) > 1 else whole
    last = max((max(trial.curve, default=1) for trial in whole), default=1)
    noise = _noise(found, metric)
    rungs = {max(trial.curve) for point in found for trial in point.stopped}
    rows = [
        (p, 1 - trial.scores[metric], 1.0, f"trial {trial.number}")
        for p in found
        for trial in p.trainings
    ]
    for rung in sorted(rungs):
        logs = _log_factors(unselected, rung, metric)
        if not logs:
            continue
        weight = schedule.work(rung) / schedule.work(last)
        if noise is not None and len(logs) > 2 and np.std(logs) > 0:
            weight = noise / (noise + float(np.var(logs, ddof=1)))
        factor = float(np.exp(np.mean(logs)))
        rows += [
            (
                point,
                (1 - trial.curve[rung]) * factor,
                max(weight, _LEAST_WEIGHT),
                f"trial {trial.number} at epoch {rung}",
            )
            for point in found
            for trial in (*point.trainings, *point.stopped)
            if rung in trial.curve and not trial.parameters.get(REPEAT, 0)
        ]
    names = list(found[0].parameters[0]) if found else []
    return Evidence(
        parameters={
            name: np.array([_middle([p[name] for p in point.parameters]) for point, *_ in rows])
            for name in names
        },
        errors=np.array([error for _, error, _, _ in rows]),
        weights=np.array([weight for _, _, weight, _ in rows]),
        networks=tuple(point.first.digest for point, *_ in rows),
        growth=np.array([point.first.cost.flops / flops for point, *_ in rows]),
        rows=tuple(name for *_, name in rows),
    )


def _log_factors(whole: Sequence[Trial], step: int, metric: str) -> list[float]:
    """By how much errors shrink from a step to the end, in logs, of trainings that have both."""
    return [
        math.log((1 - trial.scores[metric]) / (1 - trial.curve[step]))
        for trial in whole
        if step in trial.curve and max(trial.curve[step], trial.scores[metric]) < 1
    ]


def _noise(found: Sequence[Point], metric: str) -> float | None:
    """The variance of the log error of one whole training, pooled over networks with several."""
    squares, freedom = 0.0, 0
    for point in found:
        logs = [math.log(1 - s) for t in point.trainings if (s := t.scores[metric]) < 1]
        if len(logs) > 1:
            squares += float(np.var(logs)) * len(logs)
            freedom += len(logs) - 1
    return squares / freedom if squares else None


def _middle(values: Sequence[float]) -> float:
    """The geometric mean of numbers above 0, the mean of others."""
    return float(np.exp(np.mean(np.log(values)))) if min(values) > 0 else fmean(values)


def _coefficients(trial: Trial) -> dict[str, Any]:
    return {name: value for name, value in trial.parameters.items() if name != REPEAT}


def _order(point: Point) -> tuple[float, ...]:
    flops, number = point.first.cost.flops, point.first.number
    if point.trainings:
        return (0, 0, -point.mean, flops, number)
    step, value = max((max(t.curve), t.curve[max(t.curve)]) for t in point.stopped)
    return (1, -step, -value, flops, number)
