"""An executor for tests: everything in one thread, in whatever order a test wants it to happen."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from scalesearch.arch.backbone import Backbone
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.errors import TrialError
from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score, Stopped
from scalesearch.history.objective import Objective
from scalesearch.history.record import Record, open_storage
from scalesearch.history.trials import Trial
from scalesearch.interfaces import Sampler
from scalesearch.plugins import load
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.study.loop import Listener, Loop, Plan
from tests.fakes import SPACE, accuracy_of


class Killed(BaseException):
    """Stands for SIGKILL: nothing that is written comes after it."""


@dataclass
class Pool:
    """Keeps the contract of executors with `slots` jobs in flight.

    Attributes:
        pick: which of the jobs in flight takes the next step.
        started, told: numbers of the jobs, in order.
    """

    slots: int = 1
    pick: Callable[[Sequence[Job]], int] = lambda jobs: 0
    started: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)

    def run(self, ask, assess, keep, tell) -> None:
        flying: list[Job] = []
        steps: dict[int, Generator[Score, None, Result]] = {}
        while True:
            while len(flying) < self.slots and (job := ask()) is not None:
                flying.append(job)
                steps[job.number] = assess(job)
                self.started.append(job.number)
            if not flying:
                return
            job = flying[self.pick(flying)]
            outcome = self._step(job, steps[job.number], keep)
            if outcome is not None:
                flying.remove(job)
                self.told.append(job.number)
                tell(job, outcome)

    @staticmethod
    def _step(job, steps, keep):
        try:
            score = next(steps)
        except StopIteration as end:
            return end.value
        except TrialError as error:
            return Failure("error", str(error))
        return None if keep(job, score) else Stopped(score)


@dataclass(frozen=True)
class Assessor:
    """Scores as `tests.fakes` gives them; some networks fail, some have no number.

    With `latency` every network is measured first, and infeasible if it takes more than `most`.
    """

    epochs: int = 1
    fail: Callable[[Job], bool] = lambda job: False
    nan: Callable[[Job], bool] = lambda job: False
    weights: bool = False
    latency: Callable[[Backbone], float] | None = None
    most: float = math.inf

    def __call__(self, job: Job) -> Generator[Score, None, Result | Infeasible]:
        if self.fail(job):
            raise TrialError("made to fail")
        spent = cost(job.architecture)
        if self.latency is not None:
            spent = replace(spent, latency=self.latency(job.architecture))
            if spent.latency > self.most:
                return Infeasible(spent, 0.25)
        top = math.nan if self.nan(job) else accuracy_of(job.architecture, job.seed)
        values: dict[str, float] = {}
        for epoch in range(1, self.epochs + 1):
            values = {"accuracy": top * epoch / self.epochs}
            yield Score(epoch, values)
        weights = b"weights" if self.weights and job.keep_weights else None
        return Result(values, spent, 0.5, weights)


def space(text: str = SPACE) -> BackboneSpace:
    return BackboneSpace.from_plain(yaml.safe_load(text))


def plan(sampler: str | Sampler = "random", **others: Any) -> Plan:
    """A search for eight networks of a space of 24, some of them over its limit."""
    from scalesearch.cost.limits import Limit

    options = {"startup": 4} if sampler == "tpe" else {}
    options |= {"population": 4} if sampler == "nsga2" else {}
    defaults = {
        "phase": "search",
        "space": space(),
        "sampler": load("samplers", sampler)(**options) if isinstance(sampler, str) else sampler,
        "seed": 2,
        "trials": 8,
        "proposals": 400,
        "workload": Workload(training_batch=2),
        "objective": Objective(),
        "limits": {"flops": Limit(max=15_000)},
    }
    return Plan(**(defaults | others))


def opened(path: Path, wanted: Plan, listener: Listener | None = None) -> Loop:
    """The loop over the record of a journal file, as a new process opens it."""
    storage = open_storage(path, repair=True)
    record = Record(storage, wanted.phase, wanted.space.parameters, wanted.objective.directions)
    return Loop(wanted, record, listener or Listener())


def carry_out(
    path: Path, wanted: Plan, pool: Pool, assess=Assessor(), listener=None
) -> list[Trial]:
    loop = opened(path, wanted, listener)
    pool.run(loop.ask, assess, loop.keep, loop.tell)
    return loop.finish()


def facts(trials: Sequence[Trial]) -> list[tuple[Any, ...]]:
    """All that a trial is, apart from times."""
    return [
        (t.number, t.state, t.reason, t.digest, t.source, t.objective, dict(t.scores), *_more(t))
        for t in trials
    ]


def _more(trial: Trial) -> tuple[dict[Any, Any], ...]:
    return dict(trial.parameters), dict(trial.violations), dict(trial.curve)


def kill_at(monkeypatch, writes: int, torn: bool) -> Callable[[], int]:
    """Ends the process, so to speak, at a write to the journal; counts the writes.

    `torn` leaves the first half of the last line in the file.
    """
    from optuna.storages.journal import JournalFileBackend

    original, count = JournalFileBackend.append_logs, 0

    def append(self, logs):
        nonlocal count
        if count == writes:
            if torn:
                import json

                with Path(self._file_path).open("a") as file:
                    file.write(json.dumps(logs[0])[:40])
            raise Killed
        count += 1
        original(self, logs)

    monkeypatch.setattr(JournalFileBackend, "append_logs", append)
    return lambda: count
