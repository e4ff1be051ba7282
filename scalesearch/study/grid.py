"""The phase `grid`: trains its points, fits a surface through them, and names the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from scalesearch import plugins
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import DIMENSIONS
from scalesearch.arch.plain import digest
from scalesearch.cost.closed_form import cost
from scalesearch.files.write import write_yaml
from scalesearch.history.points import REPEAT, Point, points, spent
from scalesearch.history.ranking import require_results
from scalesearch.history.trials import Trial
from scalesearch.interfaces import Evaluator, hook
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.realise import effective
from scalesearch.spaces.trainings import TrainingsSpace
from scalesearch.study.context import Context
from scalesearch.study.estimate import grid_seconds, grid_sentence
from scalesearch.study.feasible import require_feasible
from scalesearch.study.grid_confirm import confirm_grid
from scalesearch.study.inputs import GridOfNetworks, grid_of
from scalesearch.study.parts import plain_options
from scalesearch.study.rounds import Rounds
from scalesearch.study.surface import GridSurface, best_point, surface_of
from scalesearch.units import format_seconds

RUNNERS_UP = 9


def coefficients(context: Context, network: Architecture) -> Scaling | None:
    """The best coefficients of the grid, or those that the study names; None if it does neither.

    Writes `coefficients.yaml` with the winner, how sure it is, the runners-up and their scores.
    """
    file = context.folder.path / "coefficients.yaml"
    if (given := context.study.coefficients) is not None:
        write_yaml(file, given.file_entries())
        if doubt := getattr(given, "off_budget", ""):
            context.watch.note(f"coefficients: {doubt}")
        return given
    if context.study.grid is None:
        return None
    evaluator: Evaluator = context.study.grid.evaluator.make()
    grid = grid_of(context.study, network)
    trials = _trained(context, grid, evaluator)
    require_results(trials, "grid")
    metric = context.study.objective.metric
    found = [point for point in points(trials, metric) if point.trainings]
    settings = {
        key: getattr(context.study.grid, key)
        for key in ("budget", "phi", "budget_cost", "match")
        if hasattr(context.study.grid, key)
    }
    if (stopping := context.study.grid.stopping) is not None:
        settings["stopping"] = plain_options(stopping)
    surface = surface_of(settings, metric, network, trials)
    best = best_point(found, surface)
    chosen = grid.space.coefficients(best.parameters[0])
    grown = grid.space.decode(best.parameters[0])
    entries = _entries(context, network, grown, best, surface) | _spent(grid, trials, evaluator)
    others = [point for point in found if point is not best][:RUNNERS_UP]
    base = cost(network).flops
    entries["runners_up"] = [{**p.parameters[0], **_measures(p, metric, base)} for p in others]
    write_yaml(file, chosen.file_entries() | entries)
    for line in surface.lines:
        context.watch.note(f"grid: {line}")
    ordered = [best, *(point for point in found if point is not best)]
    leaders = [grid.space.coefficients(point.parameters[0]) for point in ordered]
    confirm_grid(context, network, leaders)
    return chosen


def _trained(context: Context, grid: GridOfNetworks, evaluator: Evaluator) -> list[Trial]:
    settings = context.study.grid
    assert settings is not None
    require_feasible(grid.space, settings.limits, evaluator.workload)
    seconds = grid_seconds(context, grid, evaluator)
    about = "" if seconds is None else f", about {format_seconds(seconds)}"
    context.watch.note(f"grid: {grid_sentence(grid)}{about}")
    sampler = plugins.load("samplers", "grid")()
    plan = context.plan(
        "grid", grid.space, sampler, evaluator, limits=settings.limits, schedule=settings.schedule
    )
    if grid.halving is None:
        return context.carry_out(plan, evaluator, grid.fitting)
    execution = context.study.execution
    if execution.executor.options.get("address", "local") != "local" and not execution.checkpoints:
        context.watch.note(
            "grid: a training that goes on in the next round begins anew on another machine, as no "
            "folder of checkpoints is shared: set `execution.checkpoints`"
        )
    rounds = partial(Rounds, halving=grid.halving, entrants=grid.entrants)
    space = TrainingsSpace(coefficients_of=grid.space)
    # Rounds depend on no worker's speed.
    plan = replace(plan, space=space, result_lag=0)
    return context.carry_out(plan, evaluator, grid.fitting, total=grid.total, make_loop=rounds)


def _entries(
    context: Context, network: Architecture, grown: Any, best: Point, surface: GridSurface
) -> dict[str, Any]:
    """What a `coefficients.yaml` says beside the coefficients; `grown` is their network."""
    data = context.study.dataset
    entries = _measures(best, context.study.objective.metric, cost(network).flops)
    entries["baseline_digest"] = digest(network)
    if not isinstance(network, Detector):
        really = effective(network, grown)
        entries["effective"] = {name: round(getattr(really, name), 4) for name in DIMENSIONS}
    if data is not None:
        entries["data"] = data.name
    if context.study.grid is not None and context.study.grid.schedule:
        entries["trained_on"] = context.study.grid.schedule.words
    response = surface.response
    if response is None:
        return entries | {"no_surface": surface.reason}
    entries["optimum"] = {name: round(value, 4) for name, value in surface.optimum.items()}
    entries["interval"] = _pairs(surface.intervals)
    known = response.file_entries()
    better = known["better_than"]
    for comparison in response.comparisons:
        values = surface.coefficients(comparison.coefficients)
        own = {name: round(value, 4) for name, value in values.items()}
        better[comparison.name]["coefficients"] = own
    if isinstance(network, Detector):  # another paper's
        better.pop("paper", None)
    within = {"within_0.1_points": _pairs(surface.ranges(response.region))}
    kept = ("flat", "better_than", "surface", "evidence")
    return entries | within | {key: known[key] for key in kept}


def _pairs(ranges: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {name: [round(low, 4), round(high, 4)] for name, (low, high) in ranges.items()}


def _spent(grid: GridOfNetworks, trials: Sequence[Trial], evaluator: Evaluator) -> dict[str, Any]:
    """What the trainings add up to, beside what every network trained to its end would take."""
    if grid.halving is None:
        return {}
    epochs = hook(evaluator, "epochs")
    schedule = grid.halving.schedule
    taken = round(spent(trials, epochs, schedule), 2)
    own = [trial for trial in trials if not trial.parameters[REPEAT]]
    without = len(grid.fitting) + grid.unused
    return {
        "trainings": taken,
        "repeats": round(taken - spent(own, epochs, schedule), 2),
        "trainings_without_halving": without,
    }


def _measures(point: Point, metric: str, base: int) -> dict[str, Any]:
    """Means of a point's scores, their error, and its costs."""
    known = point.first.cost.known()
    amounts: dict[str, Any] = {metric: point.mean} | point.scores
    amounts |= {name: known[name] for name in ("flops", "params", "latency") if name in known}
    measures = {name: round(value, 6) for name, value in amounts.items()}
    if len(point.trainings) > 1:
        measures["trained"] = len(point.trainings)
    if point.error is not None:
        measures["standard_error"] = round(point.error, 6)
    return measures | {"flops_ratio": round(point.first.cost.flops / base, 3)}
