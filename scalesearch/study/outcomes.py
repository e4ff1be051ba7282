"""From a trial and its outcome to the finished trial: pure functions of the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scalesearch.cost.cost import Cost
from scalesearch.cost.limits import DEVICE_MEMORY, Limits, measured, violations
from scalesearch.errors import UserError, nearest
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.history.jobs import Failure, Infeasible, Outcome, Result, Score, Stopped
from scalesearch.history.objective import Objective
from scalesearch.history.record import now
from scalesearch.history.trials import Trial

# So many first trials with the same failure are not due to their networks.
_HOPELESS = 8
_TOO_LARGE = 0.1  # how far a network that did not fit is above a GPU's memory, at least


def finished(
    trial: Trial,
    outcome: Outcome,
    objective: Objective,
    limits: Limits,
    schedule: Schedule = WHOLE_EPOCHS,
) -> Trial:
    """The trial with its outcome, and its violations of `limits` on what the worker measured.

    Raises:
        UserError: the worker met a mistake in the settings; nothing is to be recorded.
    """
    trial = replace(trial, where=outcome.where)
    if isinstance(outcome, Result | Infeasible):
        trial = _measured(trial, outcome.cost, limits)
    trial = _fitted(trial, outcome)
    if isinstance(outcome, Result):
        scores = _plain(outcome.values)
        values = objective.values(scores, outcome.cost)
        if not all(math.isfinite(value) for value in values):
            failure = Failure("error", f"the objective is {values}", outcome.where)
            return finished(trial, failure, objective, {})
        facts: dict[str, Any] = {"state": "assessed", "scores": scores}
        facts |= {"objective": values, "seconds": outcome.seconds}
    elif isinstance(outcome, Infeasible):
        facts = {"state": "infeasible", "reason": over_limits(trial), "seconds": outcome.seconds}
    elif isinstance(outcome, Stopped):
        facts = {"state": "stopped", "scores": _plain(outcome.score.values)}
        facts |= {"reason": stopped_after(outcome.score.step, schedule)}
    elif outcome.kind == "user":
        raise UserError(outcome.reason)
    else:
        facts = {"state": "failed", "reason": str(outcome)}
    return replace(trial, finished=now(), **facts)


def stopped_after(step: int, schedule: Schedule) -> str:
    """Why a trial ended early: `stopped after step 1, on 25 % of the images`.

    A score of less than whole epochs is no whole one, whatever stands beside it.
    """
    return f"stopped after step {step}" + (f", on {schedule.at(step)}" if schedule else "")


def reused(trial: Trial, source: Trial) -> Trial:
    """The trial with the result of an equal architecture."""
    return replace(
        trial,
        state="reused" if source.has_result else source.state,
        cost=replace(trial.cost, latency=source.cost.latency),
        violations={**trial.violations, **source.measured_violations},
        scores=source.scores,
        objective=source.objective,
        reason=source.reason,
        source=source.number,
        finished=now(),
    )


def require_hope(jobs: Sequence[Trial]) -> None:
    """Ends a phase whose first trials have all failed for the same reason.

    Raises:
        UserError: with the reason; more trials would only repeat it.
    """
    ended = [trial for trial in jobs if trial.state != "running"]
    if len(ended) < _HOPELESS or any(trial.state != "failed" for trial in ended):
        return
    if len({trial.reason for trial in ended}) == 1:
        raise UserError(
            f"the first {len(ended)} trials all failed alike: {ended[0].reason}",
            hint="mend the cause, then go on with `scalesearch run --retry-failed`",
        )


def metric_of(score: Score, metric: str) -> float:
    """The objective's metric in a score; `UserError` if the evaluator does not give it."""
    if metric not in score.values:
        raise UserError(
            f"the evaluator gives no {metric!r}",
            key="search.objective",
            allowed=", ".join(score.values),
            hint=nearest(metric, score.values),
        )
    return float(score.values[metric])


def over_limits(trial: Trial) -> str:
    """Why a trial was infeasible: `over its limits: flops.max by 33.3%`."""
    over = ", ".join(
        f"{key} by {share:.1%}" for key, share in trial.violations.items() if share > 0
    )
    return f"over its limits: {over}"


def _measured(trial: Trial, cost: Cost, limits: Limits) -> Trial:
    """The trial with what only a worker measures; the other limits were checked before."""
    over = measured(violations(cost, limits))
    timed = replace(trial.cost, latency=cost.latency)
    return replace(trial, cost=timed, violations={**trial.violations, **over})


def _fitted(trial: Trial, outcome: Outcome) -> Trial:
    """The trial with how far it is from filling a GPU's memory, above 0 if it did not fit.

    What did not fit is taken to be as far above as its predicted memory is, a tenth at least.
    """
    has, took = outcome.where.device_memory, outcome.where.peak_memory
    if has and isinstance(outcome, Failure) and outcome.kind == "memory":
        share = max(_TOO_LARGE, trial.cost.training_bytes / has - 1)
    elif has and took and isinstance(outcome, Result):
        share = took / has - 1
    else:
        return trial
    return replace(trial, violations={**trial.violations, DEVICE_MEMORY: share})


def _plain(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores as the record can hold them, also if an evaluator gives NumPy's or torch's numbers."""
    return {name: float(value) for name, value in scores.items()}
