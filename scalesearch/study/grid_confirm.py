"""The phase `grid_confirm`: whether a grid's ranking holds for longer trainings and larger phi."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from scalesearch import plugins
from scalesearch.arch.detector import Architecture
from scalesearch.history.drift import Drift, drift
from scalesearch.interfaces import Evaluator
from scalesearch.scaling.detector import COEFFICIENT_NAMES, Scaling
from scalesearch.scaling.family import members
from scalesearch.scaling.realise import Unrealised
from scalesearch.scaling.scale import scale
from scalesearch.spaces.conditions import ConditionSpace
from scalesearch.study.context import Context
from scalesearch.study.estimate import total_seconds
from scalesearch.study.inputs import budget_measure
from scalesearch.units import format_seconds


def confirm_grid(
    context: Context, network: Architecture, leaders: Sequence[Scaling]
) -> Drift | None:
    """Trains the leaders, the best first, and single dimensions under each condition asked for.

    None if the study does not ask. The networks were within the grid's limits, or are what one
    gets for the same FLOPs: they have none here.
    """
    grid = context.study.grid
    settings = None if grid is None else grid.confirm
    if grid is None or settings is None:
        return None
    networks = confirmed_networks(context.study, network, leaders[: settings.top])
    asked = {(words(each), phi) for each in leaders[: settings.top] for phi in settings.phi}
    for way, phi in sorted(asked - {*networks}):
        context.watch.note(f"grid_confirm: no {way} at phi {phi:g}: its steps are too coarse there")
    if not networks:
        return None
    space = ConditionSpace(networks=networks, lengths=settings.lengths, repeats=settings.seeds)
    evaluator: Evaluator = grid.evaluator.make()
    every = [*networks.values()]
    seconds = total_seconds(context, every, evaluator)
    times = settings.seeds * sum(settings.lengths)
    about = "" if seconds is None else f", about {format_seconds(seconds * times)}"
    context.watch.note(f"grid_confirm: {grid_confirm_words(settings, len(networks))}{about}")
    plan = context.plan(
        "grid_confirm",
        space,
        plugins.load("samplers", "grid")(),
        evaluator,
        repeats=True,
        length=lambda parameters: float(parameters["length"]),
    )
    trials = context.carry_out(plan, evaluator, every, total=space.size)
    found = drift(trials, context.study.objective.metric, grid.phi)
    for sentence in found.sentences if found is not None else ():
        context.watch.note(f"grid_confirm: {sentence}")
    return found


def grid_confirm_words(settings: Any, networks: int) -> str:
    """`12 networks, each trained 1 and 3 times as long, 24 trainings`."""
    lengths = " and ".join(f"{length:g}" for length in settings.lengths)
    trainings = networks * len(settings.lengths) * settings.seeds
    return f"{networks} networks, each trained {lengths} times as long, {trainings} trainings"


def confirmed_networks(
    study: Any, baseline: Architecture, leaders: Sequence[Scaling]
) -> dict[tuple[str, float], Architecture]:
    """The networks of a study's confirmation by the way they are scaled in, and phi.

    Other strategies have the FLOPs of the first leader as nearly as their steps allow, or what
    else the grid's budget is of. What is too coarse to be realised at a phi is left out.
    """
    settings = study.grid.confirm
    cost_name = getattr(leaders[0], "budget_cost", "flops")  # detectors' have none
    measure = budget_measure(study, cost_name, study.grid.evaluator)
    networks: dict[tuple[str, float], Architecture] = {}
    for phi in settings.phi:
        for leader in leaders:
            with suppress(Unrealised):
                networks[words(leader), phi] = scale(baseline, leader, phi, measure)
        with suppress(Unrealised):
            for member in members(baseline, leaders[0], (phi,), settings.strategies, measure):
                networks[f"{member.strategy} alone", phi] = member.architecture
    return networks


def words(coefficients: Scaling) -> str:
    """`1.2, 1.1, 1.15`: coefficients in a table's cell, in the order of their names."""
    given = asdict(coefficients).items()
    return ", ".join(f"{value:.4g}" for name, value in given if name in COEFFICIENT_NAMES)
