"""What the phases of one run share: settings, folder, record, data, executor, watches."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage

from scalesearch.arch.detector import Anchors, Architecture
from scalesearch.contracts import name_of
from scalesearch.errors import UserError
from scalesearch.history.jobs import Job, Score, scratch_name
from scalesearch.history.objective import Objective
from scalesearch.history.record import Record
from scalesearch.history.trials import Trial
from scalesearch.interfaces import Data, Evaluator, Executor, Sampler, Space, hook
from scalesearch.plugins import calling
from scalesearch.study.assess import Assess
from scalesearch.study.checkpoints import Checkpoints
from scalesearch.study.checks import phase_notes
from scalesearch.study.folder import RunFolder, deciding
from scalesearch.study.inputs import anchors_of, load_data
from scalesearch.study.load import resolved
from scalesearch.study.loop import Listener, Loop, Plan
from scalesearch.study.schema import Study
from scalesearch.study.watch import Watch, heard
from scalesearch.training.device import seen_gpus


@dataclass(frozen=True)
class Context:
    """One run of a study, from which each phase takes what it needs."""

    study: Study
    folder: RunFolder
    storage: JournalStorage
    watch: Watch

    @cached_property
    def data(self) -> Data | None:
        """The images of all phases but the last, read once; None where a study has none.

        Test images are not among them: nothing that is chosen can depend on these.
        """
        return None if self._whole_data is None else replace(self._whole_data, test=None)

    @cached_property
    def test_data(self) -> Data | None:
        """The data set with its test images in place of all; None where it has none."""
        data = self._whole_data
        if data is None or data.test is None:
            return None
        every: Any = data.test
        return replace(data, train=every, validation=every)

    @cached_property
    def _whole_data(self) -> Data | None:
        return load_data(self.study)

    @cached_property
    def anchors(self) -> Anchors | None:
        """The anchors of every detector of the study, if it gives or fits them."""
        anchors, note = anchors_of(self.study, self.data)
        if note:
            self.watch.note(note)
        return anchors

    @cached_property
    def executor(self) -> Executor:
        """The executor of every phase."""
        executor: Executor = self.study.execution.executor.make()
        return executor

    @cached_property
    def unfinished(self) -> Path:
        """Where trainings leave their checkpoints: the same for every run with these settings."""
        run, shared = self.folder.path.resolve(), self.study.execution.checkpoints
        own = shared and shared / f"{self.study.name}-{_short_digest(str(run))}"
        settings = json.dumps(deciding(resolved(self.study)), sort_keys=True, default=str)
        return (own or run / "unfinished") / _short_digest(settings)

    def tidy_unfinished(self) -> None:
        """Removes checkpoints that no trial will go on from: of other settings, or finished."""
        ours, every = self.unfinished, self.unfinished.parent
        if not every.is_dir():
            return
        running = {
            scratch_name(phase, trial.number)
            for phase, trials in self.folder.read(self.storage).items()
            for trial in trials
            if trial.state == "running"
        }
        others = [folder for folder in every.iterdir() if folder != ours]
        if ours.is_dir():
            others += [folder for folder in ours.iterdir() if folder.name not in running]
        for folder in others:
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (ours, every):
            with contextlib.suppress(OSError):  # not empty, or not there
                folder.rmdir()

    def plan(
        self,
        phase: str,
        space: Space,
        sampler: Sampler,
        evaluator: Evaluator,
        **others: Any,
    ) -> Plan:
        """The plan of a phase that assesses every point of its space, unless `others` say more."""
        deterministic = self.study.execution.deterministic
        plan = Plan(
            phase=phase,
            space=space,
            sampler=sampler,
            seed=self.study.seed,
            trials=space.size,
            proposals=space.size,
            workload=evaluator.workload,
            objective=Objective(metric=self.study.objective.metric),
            limits={},
            result_lag=self.executor.slots if deterministic else 0,
        )
        return replace(plan, **others)

    def carry_out(
        self,
        plan: Plan,
        evaluator: Evaluator,
        networks: Sequence[Architecture] = (),
        *,
        total: int | None = None,
        make_loop: Callable[[Plan, Record, Listener], Loop] = Loop,
        test: bool = False,
    ) -> list[Trial]:
        """Runs a phase to its end and returns all of its trials, those of earlier runs included.

        `networks` are the different ones that there are to assess, where they are known; `total`
        is the number of trainings to expect, where it is another one. `test` is of the phase that
        sees the test images, and them alone; latencies are known by then.
        """
        record = Record(self.storage, plan.phase, plan.space.parameters, plan.objective.directions)
        loop = make_loop(plan, record, self._listener(plan, record))
        self.watch.phase(plan.phase, total or len(networks) or plan.trials, loop.done)
        # Nothing is started for a phase that has nothing left to do.
        if (first := loop.ask()) is not None:
            for note in phase_notes(
                plan.phase, evaluator, networks or [first.architecture], plan.schedule
            ):
                self.watch.note(note)
            jobs = [first]
            raised: list[Exception] = []

            def ask() -> Job | None:
                return jobs.pop() if jobs else loop.ask()

            latency = self.study.latency
            deployment = None if latency is None or test else latency.deployment
            assess = Assess(
                evaluator,
                self.test_data if test else self.data,
                deployment,
                plan.limits,
                deterministic=self.study.execution.deterministic,
                scratch=self.unfinished,
                checkpoint_every=self.study.execution.checkpoint_every,
            )
            name = name_of(self.executor)
            self._note_unused_gpus(evaluator)
            ours = [_remembering(call, raised) for call in (ask, loop.keep, loop.tell)]
            try:
                with calling(name, "run"), heard(self.watch):
                    self.executor.run(ours[0], assess, *ours[1:])
            except UserError:
                if raised:  # an error of ours that passed through a plug-in is not its own
                    raise raised[0] from None
                raise
            _require_outcomes(name, record)
        trials = loop.finish()
        self.folder.write_trials()
        self.watch.end(loop.counts)
        return trials

    def _listener(self, plan: Plan, record: Record) -> Listener:
        checkpoints = Checkpoints(self.folder, plan.phase, record)

        def on_trial(trial: Trial) -> None:
            checkpoints.tidy(trial)
            if trial.state != "running":
                shutil.rmtree(self._scratch(plan.phase, trial), ignore_errors=True)
            self.watch.trial(trial)

        def on_score(trial: Trial, score: Score) -> None:
            for note in score.notes:
                self._note_once(note)
            self.watch.score(trial, score)

        return Listener(trial=on_trial, score=on_score, weights=checkpoints.keep)

    def _scratch(self, phase: str, trial: Trial) -> Path:
        return self.unfinished / scratch_name(phase, trial.number)

    @cached_property
    def _noted(self) -> set[str]:
        return set()

    def _note_once(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self.watch.note(text)

    def _note_unused_gpus(self, evaluator: Evaluator) -> None:
        unused = self.study.execution.executor.options.get("gpus") == 0
        if unused and hook(evaluator, "trains") and (count := seen_gpus()):
            self._note_once(
                f"this machine has {count} GPUs and no worker uses one: `execution: {{gpus: 1}}` "
                "gives each worker a GPU"
            )


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _remembering(call: Callable[..., Any], raised: list[Exception]) -> Callable[..., Any]:
    """The same function, whose exceptions are kept as well."""

    @functools.wraps(call)
    def remembering(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:
            raised.append(error)
            raise

    return remembering


def _require_outcomes(executor: str, record: Record) -> None:
    """Raises if an executor is done and a trial is not."""
    running = [str(trial.number) for trial in record.trials.values() if trial.state == "running"]
    if running:
        raise UserError(
            f"the executor {executor!r} ended without an outcome of trial {', '.join(running[:5])}",
            allowed="`run` ends when `ask` returns None and `tell` was called for each of its jobs",
        )
