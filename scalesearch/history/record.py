"""The record: one Optuna study for each phase, in the journal file of a run folder.

Every trial is written to the journal, which Optuna's own tools can read. Samplers propose from a
second study in memory, the sampler's study: so a trial costs the journal a few lines instead of one
for each parameter, and `publish` decides when a sampler sees a result, not the fastest worker.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import (
    JournalFileBackend,
    JournalFileOpenLock,
    JournalFileSymlinkLock,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from scalesearch.cost.limits import worst
from scalesearch.errors import UserError
from scalesearch.files.write import UNSUPPORTED, write_bytes
from scalesearch.history.optuna_internals import (
    CONSTRAINT_PREFIX,
    Direction,
    StoredStudy,
    identities,
    read_journal,
    reopened,
)
from scalesearch.history.trials import PHASES, Trial, from_record, seal
from scalesearch.text import shortened

_STATES = {
    "running": TrialState.RUNNING,
    "assessed": TrialState.COMPLETE,
    "reused": TrialState.COMPLETE,
    # An infeasible trial gets no made-up value: samplers read its constraints.
    "infeasible": TrialState.PRUNED,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}

_RESTORE = (
    "restore record.journal from a copy, or run the study into another --folder; trials.csv has "
    "what was recorded at the end of the last phase"
)


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
        self._phase = phase
        self._distributions = _Shared(
            {name: CategoricalDistribution(choices) for name, choices in parameters.items()}
        )
        self._journal = StoredStudy(storage, directions, phase)
        self._sampler_study = StoredStudy(InMemoryStorage(), directions)
        # TPE ranks stopped trials by their last score, but cannot do so for two objectives.
        self._shows_curves = len(directions) == 1
        self._require_same_choices(phase)
        self.trials = {frozen.number: _thaw(frozen, phase) for frozen in self._journal.trials}
        for frozen in self._journal.trials:
            trial = self.trials[frozen.number]
            if frozen.state == TrialState.RUNNING and trial.state != "running":
                # The process was killed between the trial's outcome and its state.
                _finish(self._journal, trial)

    def open_sampler_study(self, unpublished: Sequence[int] = ()) -> None:
        """Shows the sampler every recorded trial; the `unpublished` ones look unfinished to it."""
        for frozen in self._journal.trials:
            shown = copy(frozen)
            shown.distributions = self._distributions
            if frozen.number in unpublished:
                shown.state, shown.values, shown.datetime_complete = TrialState.RUNNING, None, None
                measured = self.trials[frozen.number].measured_violations
                hidden = {f"{CONSTRAINT_PREFIX}{key}" for key in measured}
                shown.system_attrs = {
                    key: value for key, value in frozen.system_attrs.items() if key not in hidden
                }
            else:
                shown.state = _shown_state(self.trials[frozen.number])
            if frozen.number in unpublished or not self._shows_curves:
                shown.intermediate_values = {}
            self._sampler_study.add(shown)

    @property
    def next_number(self) -> int:
        """The number that the next proposal will have."""
        return len(self.trials)

    def propose(self, sampler: BaseSampler) -> dict[str, Any]:
        """Parameters for the next trial. Nothing is recorded before `add`."""
        if not isinstance(sampler, BaseSampler):
            raise UserError(
                f"the sampler's `make` returned {type(sampler).__name__}",
                allowed="an instance of optuna.samplers.BaseSampler",
            )
        return dict(self._sampler_study.ask(sampler, self._distributions).params)

    def take(self, parameters: Mapping[str, Any]) -> None:
        """Makes parameters that no sampler proposed the next trial's."""
        self._sampler_study.add(
            create_trial(
                state=TrialState.RUNNING, params=dict(parameters), distributions=self._distributions
            )
        )

    def add(self, trial: Trial) -> None:
        """Records the trial just proposed, running or finished, in one line.

        The sampler sees its constraints from now on, and a finished one's outcome.
        """
        proposed = self._sampler_study.read(trial.number)
        finished = trial.state != "running"
        # Samplers leave notes of their own there, such as NSGA-II's generation.
        frozen = self._frozen(trial, proposed.system_attrs)
        frozen.datetime_start = proposed.datetime_start
        self._journal.add(frozen)
        self.trials[trial.number] = trial
        self._sampler_study.set_constraints(trial.number, trial.violations)
        if finished:
            self.publish(trial.number)

    def add_known(self, trial: Trial) -> None:
        """Records a finished trial that nobody proposed, in one line, before samplers see any."""
        self._journal.add(self._frozen(trial, {}))
        self.trials[trial.number] = trial

    def _frozen(self, trial: Trial, notes: Mapping[str, Any]) -> FrozenTrial:
        outcome = {} if trial.state == "running" else {"outcome": _sealed_outcome(trial)}
        return create_trial(
            state=_STATES[trial.state],
            values=trial.objective or None,
            params=dict(trial.parameters),
            distributions=dict(self._distributions),
            user_attrs=trial.proposed() | {"seal": _seal_of_proposal(trial, self._phase)} | outcome,
            system_attrs=dict(notes),
            constraints=dict(trial.violations),
        )

    def report(self, number: int, step: int, value: float) -> None:
        """Records an intermediate score."""
        self._journal.report(number, step, value)
        trial = self.trials[number]
        # A trial that is assessed again starts again: later steps of the first attempt are void.
        before = {s: v for s, v in trial.curve.items() if s < step}
        self.trials[number] = replace(trial, curve={**before, step: value})

    def finish(self, trial: Trial) -> None:
        """Records the outcome of a running trial; the sampler does not see it before `publish`."""
        # In this order, so that a process killed in between leaves what `__init__` can complete.
        self._journal.set_attribute(trial.number, "outcome", _sealed_outcome(trial))
        _finish(self._journal, trial)
        self.trials[trial.number] = trial

    def publish(self, number: int) -> None:
        """Shows the sampler the outcome of a finished trial."""
        trial = self.trials[number]
        for step, value in trial.curve.items() if self._shows_curves else ():
            self._sampler_study.report(number, step, value)
        _finish(self._sampler_study, trial, _shown_state(trial))

    def _require_same_choices(self, phase: str) -> None:
        """Raises if the recorded trials were drawn from other choices than these."""
        recorded = self._journal.trials[:1]
        if not recorded or recorded[0].distributions == self._distributions:
            return
        before = {name: getattr(d, "choices", ()) for name, d in recorded[0].distributions.items()}
        after = {name: d.choices for name, d in self._distributions.items()}
        changes = [
            f"{name}: {_words(before, name)} -> {_words(after, name)}"
            for name in before | after
            if before.get(name) != after.get(name)
        ]
        raise UserError(
            f"the space of the {phase} is not the one that its recorded trials were drawn from; "
            f"what differs: {'; '.join(changes)}",
            hint="undo the change, or choose another name or --folder",
        )


class _Shared(dict[str, Any]):
    """Distributions that the trials of a study share; Optuna copies what it is given, deeply."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def open_storage(path: Path, *, repair: bool) -> JournalStorage:
    """The journal at `path`, made if it is missing.

    Args:
        path: of the file.
        repair: cut a torn last line, and drop the lock of a process that was killed; only for
            the one process that may write (see `study/folder.py`).
    """
    if path.is_dir():
        raise UserError("this is a folder, not a file", file=str(path), hint=_RESTORE)
    if repair:
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
        if path.exists():
            _cut_torn_line(path)
    # Only a writer takes the lock.
    lock = _lock(path) if repair else None
    try:
        storage = read_journal(JournalFileBackend(str(path), lock))
        names = {study.study_name for study in storage.get_all_studies()}
    except OSError:
        raise
    except Exception as error:  # whatever Optuna meets in a line that it did not write
        reason = shortened(f"{type(error).__name__}: {error}")
        raise UserError(
            f"the record is damaged in line {_damaged_line(path)}: {reason}",
            file=str(path),
            hint=_RESTORE,
        ) from error
    if unknown := sorted(names - set(PHASES)):
        raise UserError(
            f"the record is damaged: there is no phase {shortened(unknown[0])!r}",
            file=str(path),
            allowed=", ".join(PHASES),
            hint=_RESTORE,
        )
    return storage


def reopen_failed(path: Path) -> dict[str, list[Trial]]:
    """Makes the failed trials of a record running ones, as if they had been cut off.

    They are assessed again under their numbers and seeds by whoever goes on with the study.

    Args:
        path: of the journal, which no other process may have open.

    Returns:
        The trials of each phase as they failed, those that shared another one's failure included.
    """
    storage = open_storage(path, repair=True)
    failed: dict[str, list[Trial]] = {}
    stored: set[int] = set()
    for phase in PHASES:
        for trial in read_trials(storage, phase):
            if trial.state == "failed":
                failed.setdefault(phase, []).append(trial)
        if phase in failed:
            stored |= identities(storage, phase, {trial.number for trial in failed[phase]})
    if stored:
        write_bytes(path, reopened(path.read_bytes(), stored, "outcome"))
    return failed


def read_trials(storage: JournalStorage, phase: str) -> list[Trial]:
    """The trials of a phase in order of number; none if the phase has not begun."""
    if phase not in {study.study_name for study in storage.get_all_studies()}:
        return []
    study = optuna.load_study(study_name=phase, storage=storage)
    return [_thaw(frozen, phase) for frozen in study.get_trials(deepcopy=False)]


def now() -> str:
    """The present as it is recorded: ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _lock(path: Path) -> JournalFileSymlinkLock | JournalFileOpenLock:
    """Optuna's lock by a symbolic link, or by a new file where the disk has no links."""
    link = path.with_name(path.name + ".lock")
    try:
        link.symlink_to(path)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return JournalFileOpenLock(str(path))
    link.unlink()
    return JournalFileSymlinkLock(str(path))


def _cut_torn_line(path: Path) -> None:
    """Drops a last line that is not whole: the next append would make the file unreadable.

    An editor may have ended it, or blank lines may follow.
    """
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start, tail = end, b""
        # The last line and the end of the one before it, unless it is blank.
        while start > 0 and b"\n" not in tail.rstrip():
            start = max(0, start - 65536)
            file.seek(start)
            tail = file.read(end - start)
        text = tail.rstrip()
        before, _, last = text.rpartition(b"\n")
        ending = tail.find(b"\n", len(text))
        is_whole = ending >= 0 and _is_json(last)
        kept = ending + 1 if is_whole else len(before) + 1 if before else 0
        file.truncate(start + kept)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _finish(study: StoredStudy, trial: Trial, state: TrialState | None = None) -> None:
    """Gives a trial the violations that its worker measured, then its final state."""
    study.set_constraints(trial.number, trial.measured_violations)
    study.finish(trial.number, state or _STATES[trial.state], trial.objective)


def _shown_state(trial: Trial) -> TrialState:
    """As samplers see a trial: one that does not fit into memory is an infeasible one to them."""
    too_large = trial.state == "failed" and worst(trial.measured_violations) > 0
    return TrialState.PRUNED if too_large else _STATES[trial.state]


def _words(choices: Mapping[str, Any], name: str) -> str:
    return ", ".join(map(str, choices[name])) if name in choices else "not there"


def _thaw(frozen: FrozenTrial, phase: str) -> Trial:
    """The trial that was recorded.

    Raises:
        UserError: it is not what was written: a line of the journal was changed, lost or moved.
    """
    try:
        trial = from_record(
            frozen.number,
            frozen.params,
            frozen.user_attrs,
            frozen.constraints,
            frozen.intermediate_values,
        )
        outcome = frozen.user_attrs.get("outcome")
        # Records of earlier versions have no seals.
        is_whole = frozen.user_attrs.get("seal") in (None, _seal_of_proposal(trial, phase))
        if outcome is not None:
            is_whole &= outcome.get("seal") in (None, _seal_of_outcome(trial, outcome))
        if frozen.state.is_finished():
            # A kill between outcome and state leaves a running trial, and no other difference.
            is_whole &= outcome is not None and frozen.state == _STATES[trial.state]
            is_whole &= tuple(frozen.values or ()) == tuple(trial.objective)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(phase, frozen.number) from error
    if not is_whole:
        raise _damaged(phase, frozen.number)
    return trial


def _damaged(phase: str, number: int) -> UserError:
    return UserError(
        f"the record is damaged: trial {number} of the {phase} is not what was written",
        hint=_RESTORE,
    )


def _seal_of_proposal(trial: Trial, phase: str) -> str:
    measured = trial.measured_violations
    violations = {key: over for key, over in trial.violations.items() if key not in measured}
    known = {key: value for key, value in trial.proposed().items() if key != "violation"}
    return seal(phase, trial.number, dict(trial.parameters), known, violations)


def _sealed_outcome(trial: Trial) -> dict[str, Any]:
    outcome = trial.outcome() | {"steps": sorted(trial.curve)}
    return outcome | {"seal": _seal_of_outcome(trial, outcome)}


def _seal_of_outcome(trial: Trial, outcome: Mapping[str, Any]) -> str:
    """Over the outcome, and the curve as far as it is this attempt's."""
    curve = [[step, value] for step, value in sorted(trial.curve.items())]
    if "last_step" in outcome:
        curve = [[step, value] for step, value in curve if step <= outcome["last_step"]]
    return seal({key: value for key, value in outcome.items() if key != "seal"}, curve)


def _damaged_line(path: Path) -> str:
    """The number of the first line that is no JSON, if one is."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            json.loads(line)
        except ValueError:
            return str(number)
    return "one of them"
