"""The loop of every phase: propose, check the limits, hand out, record, publish, until enough.

One loop runs the search over architectures, the grid over coefficients and the family over its
members. It owns ask and tell; an executor only carries jobs to workers and outcomes back.

A proposal is recorded in one of three ways: `infeasible` if arithmetic finds it over a limit,
`reused` if it is a network whose outcome is known, else `running`; a running one becomes a job, or
waits for the job of the same network. `tell` records a job's outcome. The sampler sees infeasible
and reused trials at once and an outcome when it is published: at once or, with a result
lag, in the order of the jobs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from scalesearch.arch.detector import Architecture
from scalesearch.arch.factory import Factory
from scalesearch.arch.plain import digest
from scalesearch.contracts import name_of
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.cost.counts import counts
from scalesearch.cost.limits import Limits, predicted_violations, violations, worst
from scalesearch.errors import UserError
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.history.jobs import Job, Outcome, Result, Score, seed_for
from scalesearch.history.objective import Objective
from scalesearch.history.record import Record, now
from scalesearch.history.stopping import Stopping
from scalesearch.history.trials import Trial
from scalesearch.interfaces import Parameters, Sampler, Space
from scalesearch.plugins import calling
from scalesearch.study.outcomes import finished, metric_of, over_limits, require_hope, reused

if TYPE_CHECKING:
    from scalesearch.population.feasible import Count


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one phase does.

    Attributes:
        phase: one of `PHASES`: name of its Optuna study.
        trials: networks to assess; infeasible and reused ones are not counted, nor those that a
            worker measures to be over a limit.
        proposals: candidates at most, whatever their state.
        workload: what memory limits are counted for.
        result_lag: how many jobs a sampler may be behind. With 0 it sees each result at once. With
            n it sees results in order of number, and the proposal of job k waits for job k - n:
            the study is the same whichever worker is faster.
        keep_weights: whether results carry their weights.
        repeats: whether equal networks are trainings of their own, none of which is reused.
        predict: the latency (seconds) that a candidate is predicted to have, where that is known.
        length: what the epochs of a point's training are multiplied with.
        schedule: how much of its images each epoch of a training takes.
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
    repeats: bool = False
    predict: Callable[[Architecture], float] | None = None
    length: Callable[[Parameters], float] = lambda parameters: 1.0
    schedule: Schedule = WHOLE_EPOCHS


@dataclass(frozen=True)
class Listener:
    """Callbacks in the thread of the loop.

    Attributes:
        trial: a trial was finished (its state says how) or, `running`, handed out.
        score: a running trial has a score.
        weights: a result has weights to keep; called before the trial is recorded.
    """

    trial: Callable[[Trial], None] = lambda trial: None
    score: Callable[[Trial, Score], None] = lambda trial, score: None
    weights: Callable[[Trial, Result], None] = lambda trial, result: None


class Loop:
    """Ask and tell of one phase, over a record that may have trials of an earlier run."""

    def __init__(self, plan: Plan, record: Record, listener: Listener) -> None:
        self.plan, self.record, self.listener = plan, record, listener
        self._jobs: list[int] = []  # numbers of the trials that a worker had
        self._interrupted: deque[Trial] = deque()  # of an earlier run, assessed again in place
        self._unpublished: deque[int] = deque()  # jobs whose outcome the sampler has not seen
        # Each network that was a job: once published its first trial, before that (by its identity)
        # the other trials of it, which wait for the outcome.
        self._published: dict[str, Trial] = {}
        self._duplicates: dict[str, list[Trial]] = {}
        # Of each job the last step and value that it has shown again, as an earlier attempt did.
        self._shown_again: dict[int, tuple[int, float]] = {}
        self._imported = 0  # published networks whose results were known before
        self._infeasible_jobs = 0  # published networks that a worker measured to be over a limit
        # Identities of all proposals, and of those that are within the limits on counted costs.
        self._proposed: set[str] = set()
        self._within_counted: set[str] = set()
        self._restore([record.trials[number] for number in sorted(record.trials)])

    def _restore(self, trials: Sequence[Trial]) -> None:
        """Continues where the record ends, wherever the process before this one was killed.

        What was published is the jobs up to the result lag. Trials that are still `running` become
        jobs again, under their numbers and seeds.
        """
        self._require_same_networks(trials)
        first = {self._identity(trial): trial for trial in reversed(trials) if trial.was_job}
        self._jobs = sorted(trial.number for trial in first.values())
        self._interrupted = deque(trial for trial in trials if trial.state == "running")
        lag = self.plan.result_lag
        self._unpublished = deque(self._jobs[-lag:] if lag else ())
        for trial in first.values():
            if trial.state != "running" and trial.number in self._unpublished:
                self._duplicates[self._identity(trial)] = []
            elif trial.state != "running":
                self._published[self._identity(trial)] = trial
                self._infeasible_jobs += trial.state == "infeasible"
        for trial in trials:
            self._note(trial)
            if trial.is_imported:
                self._published[self._identity(trial)] = trial
                self._imported += 1
        unpublished = [n for n in self._unpublished if self.record.trials[n].state != "running"]
        self.record.open_sampler_study(unpublished)

    def _require_same_networks(self, trials: Sequence[Trial]) -> None:
        require_same_networks(self.plan, trials)

    def ask(self) -> Job | None:
        """The next job, or None: no more, or not before another outcome is there."""
        job = None
        while job is None:
            if self._interrupted:
                trial = self._interrupted.popleft()
                job = self._hand_out(trial, self.plan.space.decode(trial.parameters))
            elif self._must_wait():
                return None
            elif not self._is_enough():
                job = self._propose()
            elif not self._makes_room():
                return None
        return job

    def keep(self, job: Job, score: Score) -> bool:
        """Whether a job goes on after this score.

        A trial that is assessed again shows its scores again: it has gone on after those that have
        others behind them, whatever its peers have reached since.
        """
        value = metric_of(score, self.plan.objective.metric)
        curve = self.record.trials[job.number].curve
        if curve.get(score.step) == value and score.step < max(curve):
            self._shown_again[job.number] = score.step, value
            self.listener.score(self.record.trials[job.number], score)
            return True
        self._forget_scores(job, before=score.step)
        self.record.report(job.number, score.step, value)
        self.listener.score(self.record.trials[job.number], score)
        if self.plan.stopping is None:
            return True
        curves = [self.record.trials[number].curve for number in self._peers(job)]
        peers = [curve[score.step] for curve in curves if score.step in curve]
        return self.plan.stopping.goes_on(score.step, value, peers)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Records the outcome of a job; without a result lag the sampler sees it at once."""
        if not isinstance(outcome, Outcome):
            raise UserError(
                f"the executor reported {type(outcome).__name__} for trial {job.number}",
                allowed="a Result, Infeasible, Stopped or Failure of scalesearch.history.jobs",
            )
        self._forget_scores(job)
        before = self.record.trials[job.number]
        trial = finished(before, outcome, self.plan.objective, self.plan.limits, self.plan.schedule)
        if isinstance(outcome, Result) and outcome.weights and trial.state == "assessed":
            self.listener.weights(trial, outcome)
        self._finish(trial)
        if trial.state == "failed":
            require_hope([self.record.trials[number] for number in self._jobs])
        if not self.plan.result_lag:
            self._publish(job.number)

    def _forget_scores(self, job: Job, before: float = math.inf) -> None:
        """Forgets recorded scores that a new attempt at a trial has left out."""
        shown = self._shown_again.pop(job.number, None)
        if shown is None:
            return
        curve = self.record.trials[job.number].curve
        if any(shown[0] < step < before for step in curve):
            self.record.report(job.number, *shown)  # which ends the curve there

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

    def _propose(self) -> Job | None:
        """Records the sampler's next proposal; None unless it becomes a job."""
        plan, number = self.plan, self.record.next_number
        seed = seed_for(plan.seed, plan.phase, number, "sampler")
        name = name_of(plan.sampler)
        with calling(name, "make"):
            sampler = plan.sampler.make(plan.space, seed, plan.limits, plan.workload)
        with calling(name, "make(…).sample_relative"):
            parameters = self.record.propose(sampler)
        return self._admit(parameters)

    def _admit(self, parameters: Parameters, weights_of: str = "") -> Job | None:
        """Records a proposal; None unless it becomes a job."""
        plan, number = self.plan, self.record.next_number
        architecture = plan.space.decode(parameters)
        spent = cost(architecture, workload=plan.workload)
        predicted = plan.predict(architecture) if plan.predict else None
        over = violations(spent, plan.limits) | predicted_violations(predicted, plan.limits)
        trial = Trial(
            number=number,
            state="running",
            parameters=dict(parameters),
            digest=digest(architecture),
            cost=spent,
            predicted_latency=predicted,
            violations=over,
            weights_of=weights_of,
        )
        self._note(trial)
        if worst(over) > 0:
            self._add(replace(trial, state="infeasible", reason=over_limits(trial), finished=now()))
            return None
        if (known := self._published.get(self._identity(trial))) is not None:
            self._add(reused(trial, known))
            return None
        self.record.add(trial)
        return self._hand_out(trial, architecture)

    def _hand_out(self, trial: Trial, architecture: Architecture) -> Job | None:
        """The job of a running trial; None if its network has an outcome, or is a job already."""
        identity = self._identity(trial)
        if identity in self._published:
            self._finish(reused(trial, self._published[identity]))
            self.record.publish(trial.number)
            return None
        if identity in self._duplicates:
            self._duplicates[identity].append(trial)
            return None
        self._duplicates[identity] = []
        if trial.number not in self._unpublished:
            self._unpublished.append(trial.number)
        if trial.number not in self._jobs:
            self._jobs.append(trial.number)
        self.listener.trial(trial)
        seed = seed_for(self.plan.seed, self.plan.phase, trial.number)
        return Job(
            self.plan.phase,
            trial.number,
            architecture,
            seed,
            self.plan.keep_weights,
            length=self.plan.length(trial.parameters),
            schedule=self.plan.schedule,
        )

    def _publish(self, number: int) -> None:
        """Shows the sampler a finished job, and the duplicates that waited for it."""
        trial = self.record.trials[number]
        self._unpublished.remove(number)
        self.record.publish(number)
        self._published[self._identity(trial)] = trial
        self._infeasible_jobs += trial.state == "infeasible"
        for duplicate in self._duplicates.pop(self._identity(trial)):
            self._finish(reused(duplicate, trial))
            self.record.publish(duplicate.number)

    def _must_wait(self) -> bool:
        """Whether the sampler is as far behind as it may be, and the oldest job is unfinished.

        If that one is finished it is published.
        """
        if not self.plan.result_lag or len(self._unpublished) < self.plan.result_lag:
            return False
        if self.record.trials[self._unpublished[0]].state == "running":
            return True
        self._publish(self._unpublished[0])
        return False

    def _makes_room(self) -> bool:
        """Publishes finished jobs, the oldest first, until one is infeasible; True if one is.

        Then another network may be wanted in its place. In order and no further, so that the next
        proposal does not depend on which worker was faster.
        """
        while self._unpublished and self.record.trials[self._unpublished[0]].state != "running":
            before = self._infeasible_jobs
            self._publish(self._unpublished[0])
            if self._infeasible_jobs > before:
                return True
        return False

    def _is_enough(self) -> bool:
        networks = len(self._published) + len(self._duplicates) - self._infeasible_jobs
        networks -= self._imported
        return (
            networks >= self.plan.trials
            or self.record.next_number - self._imported >= self.plan.proposals
            or len(self._proposed) >= self.plan.space.size
            or self._is_used_up()
        )

    def _is_used_up(self) -> bool:
        """Whether all networks within the limits were proposed, and proposals repeat themselves.

        Before the first repeat, a sampler that goes through the space may have others to show.
        """
        repeats = self.record.next_number > len(self._proposed)
        return repeats and self._count.exact and len(self._within_counted) >= self._count.value

    @cached_property
    def _count(self) -> Count:
        """How many networks are within the limits; counted only where proposals repeat."""
        return self.plan.space.count(self.plan.limits, workload=self.plan.workload)

    def _note(self, trial: Trial) -> None:
        """Remembers what was proposed. Latency is left out: `Space.count` knows nothing of it."""
        self._proposed.add(self._identity(trial))
        counted = (v for key, v in trial.violations.items() if key.split(".")[0] in COUNTED)
        if max(counted, default=0) <= 0:
            self._within_counted.add(self._identity(trial))

    def _identity(self, trial: Trial) -> str:
        """What two trials of one result share: their network, unless the plan repeats trainings."""
        return f"{trial.digest}/{trial.number}" if self.plan.repeats else trial.digest

    def _peers(self, job: Job) -> list[int]:
        """Jobs that this one is compared with: those published when it was handed out, or all."""
        if self.plan.result_lag:
            return self._jobs[: max(0, self._jobs.index(job.number) - self.plan.result_lag + 1)]
        return [number for number in self._jobs if number != job.number]

    def _add(self, trial: Trial) -> None:
        self.record.add(trial)
        self.listener.trial(trial)

    def _finish(self, trial: Trial) -> None:
        self.record.finish(trial)
        self.listener.trial(trial)


def require_same_networks(plan: Plan, trials: Sequence[Trial]) -> None:
    """Raises if the parameters of recorded trials have come to mean other networks."""
    built: dict[str, list[Trial]] = {}
    for trial in trials:
        network = plan.space.decode(trial.parameters)
        if digest(network) != trial.digest:
            raise _another(plan, trial)
        if isinstance(network, Factory):
            built.setdefault(network.factory, []).append(trial)
    # Their digest is of the call alone: what it builds shows in the counts, of two of them.
    for every in built.values():
        for trial in (every[0], max(every, key=lambda trial: trial.cost.flops)):
            now_counted = counts(plan.space.decode(trial.parameters))
            if (now_counted.flops, now_counted.params) != (trial.cost.flops, trial.cost.params):
                raise _another(plan, trial)


def _another(plan: Plan, trial: Trial) -> UserError:
    return UserError(
        f"trial {trial.number} of the {plan.phase} was another network than its parameters "
        "now give: the space, the baseline or the code that builds it has changed since",
        hint="undo the change, or choose another name or --folder",
    )
