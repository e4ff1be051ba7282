"""Results that somebody has, added to a study before its search begins or goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalesearch import plugins
from scalesearch.arch.plain import digest
from scalesearch.cost.closed_form import cost
from scalesearch.cost.limits import violations, worst
from scalesearch.errors import UserError
from scalesearch.history.record import Record, now, open_storage
from scalesearch.history.trials import IMPORTED, Trial
from scalesearch.study.checks import check_reward
from scalesearch.study.folder import RunFolder, opened
from scalesearch.study.inputs import anchors_of, load_data, searched_space
from scalesearch.study.load import load_study, resolved

DIRECTIONS = ("maximize", "minimize")


def import_known(
    file: Path,
    table: Path,
    overrides: Sequence[str] = (),
    metric: str | None = None,
    direction: str | None = None,
    folder: Path | None = None,
) -> tuple[int, list[str]]:
    """Adds the results of a table to a study's search; how many were added, and what is to be said.

    They teach the sampler and may be the baseline, and are not among the trials that the study
    asks for. Each is written at once: an interrupted import goes on where it was, and what is there
    already is not added again.

    Args:
        file: of the study.
        table: whose columns are the parameters of the space, and the metric.
        overrides: settings in place of the file's.
        metric: column of the results; by default the objective's metric.
        direction: `minimize` where less is better.
        folder: of the run.

    Raises:
        UserError: the study has no search, or the table does not fit its space.
    """
    study = load_study(file, overrides)
    if study.search is None:
        raise UserError("a study without a search has nothing to start warm", key="search")
    objective, limits = study.search.objective, study.search.limits
    if objective.cost == "latency" or "latency" in limits:
        raise UserError(
            "this study needs latencies, which known results do not have",
            key="search.objective" if objective.cost == "latency" else "search.limits.latency",
            hint="import into a study without them",
        )
    check_reward(objective, minimizes=direction == "minimize")
    data = load_data(study)
    space, _ = searched_space(study, data, anchors_of(study, data)[0])
    evaluator = _table(table, metric or objective.metric, direction)
    known = evaluator.bound(space)
    workload = study.search.evaluator.make().workload
    run_folder = RunFolder(folder or Path("runs") / study.name)
    added = over = 0
    with opened(run_folder, resolved(study), Path(file).read_text("utf-8")) as notes:
        storage = open_storage(run_folder.record, repair=True)
        record = Record(storage, "search", space.parameters, objective.directions)
        there = {trial.digest for trial in record.trials.values()}
        if any(trial.state == "running" for trial in record.trials.values()):
            raise UserError(
                "a trial of the search is unfinished",
                hint="run the study to its end, or let it finish that trial, before the import",
            )
        for choices in evaluator.networks(space):
            parameters = dict(zip(space.parameters, choices, strict=True))
            network = space.decode(parameters)
            spent = cost(network, workload=workload)
            if worst(violations(spent, limits)) > 0:
                over += 1
            elif digest(network) not in there:
                scores = {objective.metric: known.value(network, 0)}
                record.add_known(
                    Trial(
                        number=record.next_number,
                        state="assessed",
                        parameters=parameters,
                        digest=digest(network),
                        cost=spent,
                        violations=violations(spent, limits),
                        scores=scores,
                        objective=objective.values(scores, spent),
                        reason=f"{IMPORTED}{table.name}",
                        finished=now(),
                    )
                )
                added += 1
        run_folder.write_trials()
    said = [*notes, *known.sentences]
    if study.search.schedule:
        said.append(
            f"the search's trainings take {study.search.schedule.words}; results of other "
            "trainings do not compare with its own"
        )
    said += [f"{over} networks are over the limits, and are left out"] if over else []
    return added, said


def _table(path: Path, metric: str, direction: str | None) -> Any:
    """The evaluator that looks the results up."""
    if direction not in (None, *DIRECTIONS):
        raise UserError(
            f"{direction!r} is no direction", key="direction", allowed=", ".join(DIRECTIONS)
        )
    kind = plugins.load("evaluators", "table")
    return kind(path=path, metric=metric, noise="none", direction=direction)
