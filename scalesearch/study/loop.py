"""The loop of every phase: propose, refuse or hand out, keep, tell, until there is enough.

One loop runs the search over architectures, the grid over coefficients and the family over its
members. It owns ask and tell; an executor only carries jobs to workers and outcomes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from scalesearch.arch.detector import Architecture
from scalesearch.arch.plain import digest
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.cost.limits import Limits, predicted_violations, violations, worst
from scalesearch.errors import UserError
from scalesearch.history.jobs import Job, Outcome, Result, Score, seed_for
from scalesearch.history.objective import Objective
from scalesearch.history.record import Record, now
from scalesearch.history.stopping import Stopping
from scalesearch.history.trials import Trial
from scalesearch.interfaces import Sampler, Space
from scalesearch.study.outcomes import finished, metric_of, over_limits, require_hope, reused

if TYPE_CHECKING:
    from scalesearch.population.feasible import Count


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one phase shall do.

    Attributes:
        phase: `search`, `grid` or `family`: name of its Optuna study.
        trials: networks to assess; infeasible and reused ones are not counted, nor those that a
            worker refuses once it has measured them.
        proposals: candidates at most, of whatever fate.
        workload: what memory limits are counted for.
        result_lag: how many jobs a sampler may be behind; 0 tells it of each result at once, n tells
            it in order of number and the proposal of job k waits for job k - n, which makes the
            study the same whichever worker is faster.
        keep_weights: whether results shall carry their weights.
        predict: the latency (seconds) that a candidate is predicted to have, where that is known.
    """

    phase: str
    space: Space
    sampler: Sampler
    seed: int
    trials: int
    proposals: int
    workload: Workload
    objective: Objective
    limits: Limits
    stopping: Stopping | None = None
    result_lag: int = 0
    keep_weights: bool = False
    predict: Callable[[Architecture], float] | None = None


@dataclass(frozen=True)
class Listener:
    """Who is told what happens, in the thread of the loop.

    Attributes:
        trial: a trial was finished (its state says how) or, `running`, handed out.
        score: a running trial has a score.
        weights: a result came with what is to be kept; called before the trial is recorded.
    """

    trial: Callable[[Trial], None] = lambda trial: None
    score: Callable[[Trial, Score], None] = lambda trial, score: None
    weights: Callable[[Trial, Result], None] = lambda trial, result: None


class Loop:
    """The state of one phase between calls of its executor."""

    def __init__(self, plan: Plan, record: Record, listener: Listener) -> None:
        self.plan, self.record, self.listener = plan, record, listener
        trials = [record.trials[number] for number in sorted(record.trials)]
        _require_same(plan, trials)
        first = {t.digest: t for t in reversed(trials) if t.was_job}
        self._jobs = sorted(t.number for t in first.values())
        # Unfinished trials of a run that was cut off are assessed again, in place.
        self._again = deque(t for t in trials if t.state == "running")
        # Handed out and not yet shown to the sampler; digests of those, with who waits for them.
        self._unpublished = deque(self._jobs[-plan.result_lag :] if plan.result_lag else ())
        behind = [
            record.trials[n] for n in self._unpublished if record.trials[n].state != "running"
        ]
        self._same: dict[str, list[Trial]] = {t.digest: [] for t in behind}
        self._known = {
            digest: trial
            for digest, trial in first.items()
            if trial.state != "running" and digest not in self._same
        }
        self._infeasible = {t.digest for t in trials if t.state == "infeasible"} - self._same.keys()
        # All that was proposed, apart by what arithmetic alone says of it.
        self._outside = {t.digest for t in trials if _is_outside(t)}
        self._inside = {t.digest for t in trials} - self._outside
        self._measured_out = sum(trial.state == "infeasible" for trial in self._known.values())
        record.open_sampler_study([t.number for t in behind])

    def ask(self) -> Job | None:
        """The next job, or None: no more, or not before another outcome is told."""
        job = None
        while job is None:
            if self._again:
                job = self._resume(self._again.popleft())
            elif self._must_wait():
                return None
            elif not self._is_enough():
                job = self._propose()
            elif not self._frees_room():
                return None
        return job

    def keep(self, job: Job, score: Score) -> bool:
        """Whether a job goes on after this score."""
        value = metric_of(score, self.plan.objective.metric)
        self.record.report(job.number, score.step, value)
        self.listener.score(self.record.trials[job.number], score)
        if self.plan.stopping is None:
            return True
        curves = [self.record.trials[number].curve for number in self._peers(job)]
        peers = [curve[score.step] for curve in curves if score.step in curve]
        return self.plan.stopping.goes_on(score.step, value, peers)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Records what came of a job, and of the trials that waited for the same network."""
        before = self.record.trials[job.number]
        trial = finished(before, outcome, self.plan.objective, self.plan.limits)
        if isinstance(outcome, Result) and outcome.weights and trial.state == "assessed":
            self.listener.weights(trial, outcome)
        self._end(trial)
        if trial.state == "failed":
            require_hope([self.record.trials[number] for number in self._jobs])
        if not self.plan.result_lag:
            self._publish(job.number)

    def finish(self) -> list[Trial]:
        """Publishes what is left when the executor is done; all trials in order of number."""
        while self._unpublished:
            self._publish(self._unpublished[0])
        return [self.record.trials[number] for number in sorted(self.record.trials)]

    @property
    def done(self) -> int:
        """How many networks were assessed, stopped or failed."""
        undone = ("running", "infeasible")
        return sum(self.record.trials[number].state not in undone for number in self._jobs)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many trials are in each state."""
        states = [trial.state for trial in self.record.trials.values()]
        return {state: states.count(state) for state in sorted(set(states))}

    def _must_wait(self) -> bool:
        """Shows the sampler the oldest job if the result_lag is full; True if that is unfinished."""
        if not self.plan.result_lag or len(self._unpublished) < self.plan.result_lag:
            return False
        if self.record.trials[self._unpublished[0]].state == "running":
            return True
        self._publish(self._unpublished[0])
        return False

    def _frees_room(self) -> bool:
        """Shows the sampler finished jobs, the oldest first, until one was infeasible by its worker.

        True if one was: then a network may be wanted in its place. In order and no further, so
        that the next proposal does not depend on which worker was faster.
        """
        while self._unpublished and self.record.trials[self._unpublished[0]].state != "running":
            before = self._measured_out
            self._publish(self._unpublished[0])
            if self._measured_out > before:
                return True
        return False

    def _is_enough(self) -> bool:
        networks = len(self._known) + len(self._same) - self._measured_out
        return (
            networks >= self.plan.trials
            or self.record.next_number >= self.plan.proposals
            or networks + len(self._infeasible) >= self.plan.space.size
            or self._is_used_up()
        )

    def _is_used_up(self) -> bool:
        """Whether all networks within the limits were proposed, and proposals repeat themselves.

        Other than a sampler at random, one that goes through the space still has others to show.
        """
        repeats = self.record.next_number > len(self._inside) + len(self._outside)
        return repeats and self._within.exact and len(self._inside) >= self._within.value

    @cached_property
    def _within(self) -> Count:
        """How many networks are within the limits; counted only where proposals repeat."""
        return self.plan.space.count(self.plan.limits, workload=self.plan.workload)

    def _resume(self, trial: Trial) -> Job | None:
        return self._hand_out(trial, self.plan.space.decode(trial.parameters))

    def _propose(self) -> Job | None:
        plan, number = self.plan, self.record.next_number
        seed = seed_for(plan.seed, plan.phase, number, "sampler")
        sampler = plan.sampler.make(plan.space, seed, plan.limits, plan.workload)
        parameters = self.record.propose(sampler)
        architecture = plan.space.decode(parameters)
        spent = cost(architecture, workload=plan.workload)
        predicted = plan.predict(architecture) if plan.predict else None
        trial = Trial(
            number=number,
            state="running",
            parameters=parameters,
            digest=digest(architecture),
            cost=spent,
            predicted_latency=predicted,
            violations=violations(spent, plan.limits)
            | predicted_violations(predicted, plan.limits),
        )
        (self._outside if _is_outside(trial) else self._inside).add(trial.digest)
        if worst(trial.violations) > 0:
            self._add(replace(trial, state="infeasible", reason=over_limits(trial), finished=now()))
            self._infeasible.add(trial.digest)
            return None
        if trial.digest in self._known:
            self._add(reused(trial, self._known[trial.digest]))
            return None
        self.record.add(trial)
        return self._hand_out(trial, architecture)

    def _hand_out(self, trial: Trial, architecture: Architecture) -> Job | None:
        if trial.digest in self._known:
            self._end(reused(trial, self._known[trial.digest]))
            self.record.publish(trial.number)
            return None
        if trial.digest in self._same:
            self._same[trial.digest].append(trial)
            return None
        self._same[trial.digest] = []
        if trial.number not in self._unpublished:
            self._unpublished.append(trial.number)
        if trial.number not in self._jobs:
            self._jobs.append(trial.number)
        self.listener.trial(trial)
        seed = seed_for(self.plan.seed, self.plan.phase, trial.number)
        return Job(self.plan.phase, trial.number, architecture, seed, self.plan.keep_weights)

    def _publish(self, number: int) -> None:
        """Shows a finished job, and those that waited for it, to the sampler."""
        trial = self.record.trials[number]
        self._unpublished.remove(number)
        self.record.publish(number)
        self._known[trial.digest] = trial
        if trial.state == "infeasible":
            self._infeasible.add(trial.digest)
            self._measured_out += 1
        for waiting in self._same.pop(trial.digest):
            self._end(reused(waiting, trial))
            self.record.publish(waiting.number)

    def _peers(self, job: Job) -> list[int]:
        """Jobs that this one is compared with: those published when it was handed out, or all."""
        if self.plan.result_lag:
            return self._jobs[: max(0, self._jobs.index(job.number) - self.plan.result_lag + 1)]
        return [number for number in self._jobs if number != job.number]

    def _add(self, trial: Trial) -> None:
        self.record.add(trial)
        self.listener.trial(trial)

    def _end(self, trial: Trial) -> None:
        self.record.finish(trial)
        self.listener.trial(trial)


def _is_outside(trial: Trial) -> bool:
    """Whether arithmetic alone refuses a trial, whatever its latency is."""
    return any(
        over > 0 and bound.split(".")[0] in COUNTED for bound, over in trial.violations.items()
    )


def _require_same(plan: Plan, trials: Sequence[Trial]) -> None:
    """Refuses to go on with trials whose parameters have come to mean other networks."""
    for trial in trials:
        if digest(plan.space.decode(trial.parameters)) != trial.digest:
            raise UserError(
                f"trial {trial.number} of the {plan.phase} was another network than its parameters "
                "now give: the space or the baseline has changed since",
                hint="undo the change, or choose another name or --folder",
            )
