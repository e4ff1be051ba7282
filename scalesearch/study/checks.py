"""Settings that are right one by one and wrong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

from scalesearch import plugins
from scalesearch.arch.detector import Architecture
from scalesearch.contracts import takes
from scalesearch.cost.cost import COUNTED
from scalesearch.cost.limits import Limits
from scalesearch.errors import UserError, nearest
from scalesearch.history.fidelity import FIDELITIES, WHOLE_EPOCHS, Schedule
from scalesearch.history.objective import Objective
from scalesearch.history.stopping import Stopping
from scalesearch.interfaces import Evaluator, hook
from scalesearch.study.parts import Plugin, TableSpace


def check_task(plugin: Plugin, task: str, key: str) -> None:
    """Rejects a data set or an evaluator of another task; one's own may leave the word out."""
    theirs = hook(plugins.load(plugin.folder, plugin.name), "task") or task
    if theirs != task:
        raise UserError(
            f"{plugin.name!r} is for {theirs}, and the task is {task}",
            key=key,
            hint=f"write `task: {theirs}`, or name another",
        )


def check_metric(evaluator: Plugin, metric: str, task: str, key: str = "objective") -> None:
    """Rejects a metric that an evaluator of this task does not give, where it says which it gives.

    That an evaluator is of another task is a mistake of its own (`check_task`).
    """
    kind = evaluator.make()
    known = hook(kind, "metrics")
    if known is None or metric in known or hook(kind, "task") not in (None, task):
        return
    if f"{metric.partition('/')[0]}/CLASS" in known and "/" in metric:
        return
    raise UserError(
        f"the evaluator gives no {metric!r}",
        key=key,
        allowed=", ".join(known),
        hint=nearest(metric, known),
    )


def check_auto_batch(evaluator: Plugin, gpus: float, key: str) -> None:
    """Rejects a micro-batch that follows a GPU's free memory, where workers share the GPU."""
    if evaluator.options.get("micro_batch") == "auto" and 0 < gpus < 1:
        raise UserError(
            f"workers with {gpus:g} of a GPU would each take its free memory for theirs",
            key=f"{key}.micro_batch",
            allowed="a number, or null, or whole GPUs (`execution: {gpus: 1}`)",
        )


def check_reward(objective: Objective, *, minimizes: bool) -> None:
    """Rejects a reward of scores that are negative: a higher cost would make it larger."""
    if minimizes and objective.target is not None:
        raise UserError(
            "a reward multiplies a metric of which more is better, and of this one less is",
            key="objective",
            allowed=f"{objective.metric}, or [{objective.metric}, {objective.cost}]",
            hint="give the table a column such as accuracy = 100 - error",
        )


def check_known_costs(space: Any, limits: Limits, objective: Objective) -> None:
    """Rejects limits and objectives on costs that a space of a table's rows does not know."""
    if not isinstance(space, TableSpace):
        return
    costs = space.pool().costs
    known = [name for name in COUNTED if name in costs]
    asked = {f"limits.{name}": name for name in limits}
    if objective.cost is not None:
        asked["objective"] = objective.cost
    for key, name in asked.items():
        if name not in (*known, "latency"):
            raise UserError(
                f"the table {space.name} has no {name}",
                key=key,
                allowed=", ".join(known) or "none: it has no costs",
                hint=f"say which column it is: `costs: {{{name}: COLUMN}}`",
            )


def scores_classes(evaluator: Plugin, kind: str) -> bool:
    """Whether an evaluator says that it gives `KIND/CLASS` for each class of the data."""
    known = hook(plugins.load(evaluator.folder, evaluator.name), "metrics") or ()
    return f"{kind}/CLASS" in known


def check_rungs(stopping: Stopping | None, evaluator: Plugin) -> None:
    """Rejects rungs at which there is no score, or nothing left to be stopped, and shares of the
    data that the evaluator cannot take.
    """
    if stopping is None:
        return
    made = evaluator.make()
    epochs, every = hook(made, "epochs"), hook(made, "validate_every")
    if hook(made, "seeds") > 1:
        raise UserError(
            "nothing can be stopped: a score comes when the trainings of all seeds are done",
            key="stopping",
            hint="leave it out, or take `seeds: 1`",
        )
    if unseen := [rung for rung in stopping.rungs if rung % every]:
        raise UserError(
            f"there is no score at epoch {unseen[0]} to stop by",
            key="stopping.rungs",
            allowed=f"multiples of the evaluator's validate_every, {every}",
        )
    if epochs and max(stopping.rungs) >= epochs:
        raise UserError(
            f"a rung at epoch {max(stopping.rungs)} stops nothing: trials end there",
            key="stopping.rungs",
            allowed=f"1 to {epochs - 1}, as the evaluator trains {epochs} epochs",
        )
    check_fidelity(stopping.schedule, evaluator, "stopping")
    if stopping.schedule and not epochs:  # then the last score might be one of a rung
        raise UserError(
            f"the evaluator {evaluator.name!r} does not say how many epochs it trains",
            key="stopping",
            hint="leave `data` and `resolution` out, or give the evaluator an attribute `epochs`",
        )


def check_trainings(trainings: int | None, stopping: Stopping | None, evaluator: Plugin) -> None:
    """Rejects a budget of trainings that cannot be spent in rounds, and rungs without a budget."""
    if trainings is None:
        if stopping is not None:
            raise UserError(
                "rungs need a budget: without one every point of the grid is trained to its end",
                key="stopping",
                hint="add `trainings: 60`, or leave it out",
            )
        return
    made = evaluator.make()
    if hook(made, "epochs") is None:
        raise UserError(
            f"the evaluator {evaluator.name!r} does not say how many epochs it trains",
            key="trainings",
            hint="leave it out, or give the evaluator an attribute `epochs`",
        )
    if hook(made, "seeds") > 1:
        raise UserError(
            "the leaders are repeated with other seeds anyway",
            key="trainings",
            hint="take `seeds: 1` in the evaluator of the grid",
        )
    check_rungs(stopping, evaluator)


# What an evaluator would have to do for each fidelity.
_LESS = {"data": "on a part of the images", "resolution": "on smaller images"}


def check_fidelity(schedule: Schedule, evaluator: Plugin, key: str) -> None:
    """Rejects fidelities that an evaluator does not have; `key` is where they are written."""
    made = evaluator.make()
    offered = hook(made, "fidelities") if takes(getattr(made, "evaluate", None), "schedule") else ()
    when, instead = (
        ("", "") if key == "fidelity" else (" before a rung", ": rungs alone compare by epochs")
    )
    for name in FIDELITIES:
        if schedule.lessens(name) and name not in offered:
            raise UserError(
                f"the evaluator {evaluator.name!r} does not train {_LESS[name]}{when}",
                key=f"{key}.{name}",
                hint=f"leave it out{instead}",
            )


def check_confirm(lengths: Sequence[float], evaluator: Plugin) -> None:
    """Rejects lengths of trainings that change nothing."""
    made = evaluator.make()
    epochs = hook(made, "epochs")
    if all(length == 1 for length in lengths):
        return
    if epochs is None or not hook(made, "trains") or not is_dataclass(made):
        raise UserError(
            f"the evaluator {evaluator.name!r} has no epochs to train longer",
            key="confirm.lengths",
            allowed="[1]",
        )
    trained = [max(1, round(epochs * length)) for length in lengths]
    if len({*trained}) < len(trained):
        raise UserError(
            f"of {epochs} epochs these lengths are {', '.join(map(str, trained))}",
            key="confirm.lengths",
            allowed="lengths that round to different epochs",
        )


def phase_notes(
    phase: str,
    evaluator: Evaluator,
    networks: Sequence[Architecture],
    schedule: Schedule = WHOLE_EPOCHS,
) -> list[str]:
    """What a user may want to know before a phase of these networks, in sentences.

    Raises:
        UserError: the evaluator's options do not fit them.
    """
    norm = getattr(networks[0], "norm", "batch")
    try:
        hook(evaluator, "check")(networks[0])
        less = [f"{phase}: trainings take {schedule.words}"] if schedule else []
        return [*less, *hook(evaluator, "notes")(norm), *hook(evaluator, "notes_on")(networks)]
    except UserError as error:
        section = {"confirm": "search.confirm", "grid_confirm": "grid"}.get(phase, phase)
        raise error.at(under=f"{section}.evaluator") from None
