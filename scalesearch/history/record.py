"""The record: one Optuna study for each phase, in the journal file of a run folder.

Every trial is written to the journal, which Optuna's own tools can read. Proposals are drawn in a
twin study in memory, so that a trial costs the journal two or three lines instead of one for each
parameter; and what a sampler may have seen is decided by `publish`, not by which worker was faster.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from scalesearch.errors import UserError
from scalesearch.history.trials import Trial, from_record

_STATES = {
    "running": TrialState.RUNNING,
    "assessed": TrialState.COMPLETE,
    "reused": TrialState.COMPLETE,
    # No value is made up for an infeasible trial: its constraints tell the sampler how far it is off.
    "infeasible": TrialState.PRUNED,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
# Where Optuna keeps a constraint that `Trial.set_constraint` sets, which needs a live trial.
_CONSTRAINT = "constraints:"
optuna.logging.set_verbosity(optuna.logging.ERROR)


Direction = Literal["maximize", "minimize"]


class Record:
    """The trials of one phase: read when opened, then kept in step with the journal.

    Attributes:
        trials: every trial by number, unfinished ones with state `running`.
    """

    def __init__(
        self,
        storage: JournalStorage,
        phase: str,
        parameters: Mapping[str, Sequence[Any]],
        directions: Sequence[Direction],
    ) -> None:
        self._storage = storage
        study = optuna.create_study(
            storage=storage, study_name=phase, directions=list(directions), load_if_exists=True
        )
        self._study_id = study._study_id
        self._distributions = {k: CategoricalDistribution(v) for k, v in parameters.items()}
        self._sampler_study = optuna.create_study(
            storage=InMemoryStorage(), directions=list(directions)
        )
        self._complete_halves(study.get_trials(deepcopy=False))
        self._frozen = study.get_trials(deepcopy=False)
        self._require_same(phase)
        self._ids = {frozen.number: frozen._trial_id for frozen in self._frozen}
        self._sampler_trial_ids: dict[int, int] = {}
        # TPE ranks stopped trials by their last score, but cannot do so for two objectives.
        self._shows_curves = len(directions) == 1
        self.trials = {frozen.number: _thaw(frozen) for frozen in self._frozen}

    def open_sampler_study(self, unpublished: Sequence[int] = ()) -> None:
        """Shows the sampler every recorded trial; the `unpublished` ones look unfinished to it."""
        for frozen in self._frozen:
            shown = copy(frozen)
            if frozen.number in unpublished:
                shown.state, shown.values, shown.datetime_complete = TrialState.RUNNING, None, None
                shown.system_attrs = _without_measured(frozen)
            if frozen.number in unpublished or not self._shows_curves:
                shown.intermediate_values = {}
            twin_id = self._sampler_study._storage.create_new_trial(
                self._sampler_study._study_id, shown
            )
            self._sampler_trial_ids[frozen.number] = twin_id
        self._frozen = []

    @property
    def next_number(self) -> int:
        """The number that the next proposal will have."""
        return len(self.trials)

    def propose(self, sampler: BaseSampler) -> dict[str, Any]:
        """Parameters for the next trial. Nothing is recorded before `add`."""
        self._sampler_study.sampler = sampler
        trial = self._sampler_study.ask(fixed_distributions=self._distributions)  # type: ignore[arg-type]
        self._sampler_trial_ids[trial.number] = trial._trial_id
        return dict(trial.params)

    def add(self, trial: Trial) -> None:
        """Records the trial just proposed: running, or finished at once, in one line."""
        twin_id = self._sampler_trial_ids[trial.number]
        proposed = self._sampler_study._storage.get_trial(twin_id)
        finished = trial.state != "running"
        attributes = trial.proposed() | ({"outcome": trial.outcome()} if finished else {})
        frozen = create_trial(
            state=_STATES[trial.state],
            values=trial.objective or None,
            params=dict(trial.parameters),
            distributions=dict(self._distributions),
            user_attrs=attributes,
            # Samplers leave notes of their own there, such as NSGA-II's generation.
            system_attrs=dict(proposed.system_attrs),
            constraints=dict(trial.violations),
        )
        frozen.datetime_start = proposed.datetime_start
        self._ids[trial.number] = self._storage.create_new_trial(self._study_id, frozen)
        self.trials[trial.number] = trial
        for key, value in frozen.system_attrs.items():
            self._sampler_study._storage.set_trial_system_attr(twin_id, key, value)
        if finished:
            self.publish(trial.number)

    def report(self, number: int, step: int, value: float) -> None:
        """Records a score on the way."""
        self._storage.set_trial_intermediate_value(self._ids[number], step, value)
        trial = self.trials[number]
        # A trial that is assessed again starts anew: what came later before does not count.
        before = {s: v for s, v in trial.curve.items() if s < step}
        self.trials[number] = replace(trial, curve={**before, step: value})

    def finish(self, trial: Trial) -> None:
        """Records what came of a running trial; the sampler learns of it when it is published."""
        trial_id = self._ids[trial.number]
        self._storage.set_trial_user_attr(trial_id, "outcome", trial.outcome())
        _end(self._storage, trial_id, trial)
        self.trials[trial.number] = trial

    def publish(self, number: int) -> None:
        """Lets the sampler see what came of a finished trial."""
        trial = self.trials[number]
        twin_id, storage = self._sampler_trial_ids[number], self._sampler_study._storage
        for step, value in trial.curve.items() if self._shows_curves else ():
            storage.set_trial_intermediate_value(twin_id, step, value)
        _end(storage, twin_id, trial)

    def _complete_halves(self, trials: Sequence[FrozenTrial]) -> None:
        """Gives a trial its state whose outcome was written just before the process was killed."""
        for frozen in trials:
            trial = _thaw(frozen)
            if frozen.state == TrialState.RUNNING and trial.state != "running":
                _end(self._storage, frozen._trial_id, trial)

    def _require_same(self, phase: str) -> None:
        """Refuses to go on with trials that were drawn from other choices than these."""
        if not self._frozen or self._frozen[0].distributions == self._distributions:
            return
        before = {
            name: getattr(d, "choices", ()) for name, d in self._frozen[0].distributions.items()
        }
        after = {name: d.choices for name, d in self._distributions.items()}
        changed = [name for name in before | after if before.get(name) != after.get(name)]
        told = [f"{name}: {_words(before, name)} -> {_words(after, name)}" for name in changed]
        raise UserError(
            f"the space of the {phase} is not the one that its recorded trials were drawn from; "
            f"what differs: {'; '.join(told)}",
            hint="undo the change, or choose another name or --folder",
        )


def open_storage(path: Path, *, repair: bool) -> JournalStorage:
    """The journal at `path`, made if it is missing.

    Args:
        path: of the file.
        repair: cut a torn last line, and drop the lock of a process that was killed; only for
            the one process that may write (see `study/folder.py`).
    """
    if repair:
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
        if path.exists():
            _cut_torn_line(path)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged: {error}",
            hint="trials.csv beside it has a copy of what was recorded; restore the file, or run "
            "the study into another --folder",
        ) from error


def read_trials(storage: JournalStorage, phase: str) -> list[Trial]:
    """The trials of a phase in order of number; none if the phase has not begun."""
    if phase not in {study.study_name for study in storage.get_all_studies()}:
        return []
    study = optuna.load_study(study_name=phase, storage=storage)
    return [_thaw(frozen) for frozen in study.get_trials(deepcopy=False)]


def now() -> str:
    """The present as it is recorded: ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _cut_torn_line(path: Path) -> None:
    """Drops a last line without its end: the next append would make the file unreadable."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        while start > 0:
            start = max(0, start - 65536)
            file.seek(start)
            cut = file.read(end - start).rfind(b"\n")
            if cut >= 0:
                file.truncate(start + cut + 1)
                return
        file.truncate(0)


def _end(storage: BaseStorage, trial_id: int, trial: Trial) -> None:
    """Gives a trial what its worker found out of its limits, and its state, which is final."""
    for key, over in trial.measured_violations.items():
        storage.set_trial_system_attr(trial_id, f"{_CONSTRAINT}{key}", over)
    storage.set_trial_state_values(trial_id, _STATES[trial.state], trial.objective or None)


def _without_measured(frozen: FrozenTrial) -> dict[str, Any]:
    """What Optuna noted of a trial, without the constraints that its worker measured."""
    measured = {f"{_CONSTRAINT}{key}" for key in _thaw(frozen).measured_violations}
    return {key: value for key, value in frozen.system_attrs.items() if key not in measured}


def _words(choices: Mapping[str, Any], name: str) -> str:
    return ", ".join(map(str, choices[name])) if name in choices else "not there"


def _thaw(frozen: FrozenTrial) -> Trial:
    return from_record(
        frozen.number,
        frozen.params,
        frozen.user_attrs,
        frozen.constraints,
        frozen.intermediate_values,
    )
