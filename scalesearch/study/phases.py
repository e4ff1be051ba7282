"""The first phase and the last: search a baseline, train its family. Between them is `grid.py`.

Each reads files of the run folder and writes files there, so that any of them can be resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from scalesearch import plugins
from scalesearch.arch.detector import Architecture
from scalesearch.arch.factory import Factory
from scalesearch.cost.closed_form import cost
from scalesearch.cost.latency import machine, version
from scalesearch.cost.latency_table import predict
from scalesearch.errors import UserError
from scalesearch.files.architecture import save_architecture
from scalesearch.history.ranking import ranked, require_results
from scalesearch.history.trials import Trial, overall
from scalesearch.interfaces import Evaluator, Space
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.family import Member, left_out
from scalesearch.spaces.family import FamilySpace
from scalesearch.study.confirm import confirm
from scalesearch.study.context import Context
from scalesearch.study.doubt import doubt
from scalesearch.study.feasible import require_feasible
from scalesearch.study.inputs import (
    bound,
    compared_space,
    factory_notes,
    named_baseline,
    searched_space,
)
from scalesearch.study.latency import fitting_table
from scalesearch.study.load import resolved
from scalesearch.study.members import check_networks, members_of
from scalesearch.study.schema import Phase
from scalesearch.study.sides import check_sides, of_each_side
from scalesearch.units import format_count


def baseline(context: Context) -> Architecture:
    """The network to be scaled: the search's winner, or the one that the study names.

    Writes `baseline.yaml`.
    """
    if context.study.search is not None:
        return _search(context)
    network = named_baseline(context.study, context.data, context.anchors)
    check_networks(context.study, [network])
    for note in factory_notes(network):
        context.watch.note(note)
    about = {"flops": format_count(cost(network).flops)}
    save_architecture(context.folder.path / "baseline.yaml", network, about)
    return network


def _search(context: Context) -> Architecture:
    search = context.study.search
    assert search is not None
    space, note = searched_space(context.study, context.data, context.anchors)
    if note:
        context.watch.note(note)
    check_networks(context.study, of_each_side(space))
    evaluator = bound(search.evaluator.make(), space)
    require_feasible(space, search.limits, evaluator.workload)
    plan = context.plan(
        "search",
        space,
        search.sampler.make(),
        evaluator,
        trials=search.trials,
        proposals=search.proposals,
        objective=search.objective,
        limits=search.limits,
        stopping=search.stopping,
        schedule=search.schedule,
        keep_weights=context.study.trains,
        predict=_predictor(context, space),
    )
    trials = context.carry_out(plan, evaluator)
    require_results(trials, "search")
    own = [trial for trial in trials if not trial.is_imported]
    tried = sum(trial.source is None and trial.state != "infeasible" for trial in own)
    if tried < search.trials:
        within = space.count(search.limits, workload=evaluator.workload)
        why = (
            "few candidates are new and within the limits"
            if len(own) >= search.proposals
            else f"the space has no more than {within.value:,} networks within the limits"
        )
        context.watch.note(
            f"the search ended after {len(own)} proposals with {tried} of {search.trials} "
            f"networks tried: {why}"
        )
    confirmation = confirm(context, space, trials)
    _compare(context, evaluator)
    if confirmation is None:
        best = ranked(trials)[0]
        said = doubt(resolved(context.study))
        about = {"trial": best.number, **_measures(best)} | ({"confidence": said} if said else {})
    else:
        chosen = confirmation.baseline
        assert chosen is not None  # the phase has results
        best, said = chosen.trial, confirmation.sentence
        about = {"trial": best.number, **_measures(best, chosen.scores), "confidence": said}
        about |= {} if chosen.error is None else {"standard_error": round(chosen.error, 6)}
    if said:
        context.watch.note(f"baseline: trial {best.number} of the search; {said}")
    phase = search if confirmation is None or search.confirm is None else search.confirm
    network, about = space.decode(best.parameters), about | _trained_on(phase)
    save_architecture(context.folder.path / "baseline.yaml", network, about)
    return network


def _compare(context: Context, evaluator: Evaluator) -> None:
    """Assesses the networks that the study compares its search with; the search sees none."""
    search = context.study.search
    assert search is not None
    if not search.compare:
        return
    space = compared_space(context.study, context.data)
    sampler = plugins.load("samplers", "grid")()
    objective, schedule = search.objective, search.schedule  # under the same conditions
    plan = context.plan(
        "compare", space, sampler, evaluator, objective=objective, schedule=schedule
    )
    context.carry_out(plan, evaluator, [*space.networks.values()])


def _predictor(context: Context, space: Space) -> Callable[[Architecture], float] | None:
    """What the study's latency table predicts, if it has one."""
    table = fitting_table(context.study, space)
    if table is None:
        return None
    # A driver never touches a GPU, and need not have one.
    here = machine("cpu") if table.deployment.device == "cpu" else table.machine
    if (here, version()) != (table.machine, table.torch):
        context.watch.note(
            f"the latency table was measured on {table.machine} with torch {table.torch}; "
            f"this is {here} with torch {version()}"
        )
    return partial(predict, table)


def family(context: Context, network: Architecture, triple: Scaling | None) -> tuple[Member, ...]:
    """The members of the family, trained.

    Writes `family/*.yaml` and their weights in `checkpoints/`.
    """
    settings = context.study.family
    assert settings is not None
    evaluator: Evaluator = settings.evaluator.make()
    family_members = members_of(context.study, network, triple, context.data)
    if not family_members:
        raise UserError(
            "the family has no members: strategies beside compound have none where they cannot "
            "make a network as small, or grow what a factory does not scale",
            key="family.strategies",
            hint="add `compound` to the strategies, or a phi from 0 upwards",
        )
    if names := left_out(family_members, network, settings.phi, settings.strategies):
        why = "the network's steps are too coarse there, or the strategy is not scaled so small"
        if isinstance(network, Factory):
            why += ", or grows what the factory does not scale"
        context.watch.note(f"no {', '.join(names)}: {why}")
    for member in family_members:
        if not isinstance(member.architecture, Factory):  # whose baseline was tried
            check_sides(settings, member.architecture, "family")
    space = FamilySpace(members=family_members)
    sampler = plugins.load("samplers", "grid")()
    plan = context.plan(
        "family", space, sampler, evaluator, keep_weights=True, schedule=settings.schedule
    )
    networks = dict.fromkeys(member.architecture for member in family_members)
    trials = context.carry_out(plan, evaluator, [*networks])
    require_results(trials, "family")
    for member, trial in zip(family_members, trials, strict=True):
        about = {"strategy": member.strategy, "phi": member.phi, "trial": trial.number}
        about |= _measures(trial) if trial.has_result else {"state": trial.state}
        about |= _trained_on(settings)
        file = context.folder.path / "family" / f"{member.name}.yaml"
        save_architecture(file, member.architecture, about)
    return family_members


def _trained_on(phase: Phase) -> dict[str, str]:
    """What a phase's trainings take of the data, where it is not all of it."""
    return {"trained_on": phase.schedule.words} if phase.schedule else {}


def _measures(trial: Trial, scores: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Scores of a trial, or means of several, and its costs."""
    scores = overall(trial.scores) if scores is None else scores
    known = trial.cost.known()
    costs = {name: known[name] for name in ("flops", "params", "latency") if name in known}
    return {
        **{name: round(float(value), 6) for name, value in scores.items()},
        **{name: round(value, 6) for name, value in costs.items()},
    }
