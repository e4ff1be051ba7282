"""Every use of Optuna's private names and of its storage interface, for Optuna 5.

Optuna's public ask and tell do not fit a record of our kind: `Study.ask` writes a line to the
journal for each parameter, and `Study.tell` needs the number of a trial that this storage calls
running. Here a trial is written whole, in any state, and reached by its number.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal import _storage as journal_storage
from optuna.storages.journal._storage import JournalOperation
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from scalesearch.errors import UserError, nearest
from scalesearch.text import shortened

Direction = Literal["maximize", "minimize"]
# The system attributes in which `Trial.set_constraint` keeps constraints; it needs a live trial.
CONSTRAINT_PREFIX = "constraints:"
optuna.logging.set_verbosity(optuna.logging.ERROR)


class StoredStudy:
    """A study of a storage, made if it is missing, with its trials by number."""

    def __init__(
        self, storage: BaseStorage, directions: Sequence[Direction], name: str | None = None
    ) -> None:
        self._study = optuna.create_study(
            storage=storage, study_name=name, directions=list(directions), load_if_exists=True
        )
        self._storage = storage
        self._ids = {trial.number: trial._trial_id for trial in self.trials}

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every trial in order of number; not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def ask(
        self, sampler: BaseSampler, distributions: Mapping[str, BaseDistribution]
    ) -> FrozenTrial:
        """A new running trial with a value for each distribution."""
        self._study.sampler = sampler
        trial = self._study.ask(fixed_distributions=dict(distributions))
        if unknown := [name for name in trial.relative_params if name not in distributions]:
            raise UserError(  # Optuna would drop them, and draw what is missing
                f"the sampler proposed {shortened(repr(unknown[0]))}, which is not a parameter",
                allowed=shortened(", ".join(distributions)),
                hint=nearest(str(unknown[0]), distributions),
            )
        self._ids[trial.number] = trial._trial_id
        return self.read(trial.number)

    def read(self, number: int) -> FrozenTrial:
        """A trial as it stands."""
        return self._storage.get_trial(self._ids[number])

    def add(self, trial: FrozenTrial) -> None:
        """Writes a trial in one line, under the next number."""
        self._ids[len(self._ids)] = self._storage.create_new_trial(self._study._study_id, trial)

    def report(self, number: int, step: int, value: float) -> None:
        """Adds an intermediate value to a running trial."""
        self._storage.set_trial_intermediate_value(self._ids[number], step, value)

    def set_attribute(self, number: int, key: str, value: Any) -> None:
        """Sets a user attribute of a running trial."""
        self._storage.set_trial_user_attr(self._ids[number], key, value)

    def set_constraints(self, number: int, violations: Mapping[str, float]) -> None:
        """Sets constraints of a running trial; above 0 is infeasible."""
        for key, over in violations.items():
            self._storage.set_trial_system_attr(
                self._ids[number], f"{CONSTRAINT_PREFIX}{key}", over
            )

    def finish(self, number: int, state: TrialState, values: Sequence[float]) -> None:
        """Gives a running trial its final state."""
        self._storage.set_trial_state_values(self._ids[number], state, values or None)


def read_journal(backend: BaseJournalBackend) -> JournalStorage:
    """The storage of a journal, in which equal distributions are one object.

    Optuna parses and keeps a distribution for each parameter of each trial: of many trials that is
    most of the time and of the memory that a journal takes.
    """
    names = vars(journal_storage)
    parse = names["json_to_distribution"]
    names["json_to_distribution"] = functools.cache(parse)
    try:
        return JournalStorage(backend)
    finally:
        names["json_to_distribution"] = parse


def identities(storage: JournalStorage, name: str, numbers: Collection[int]) -> set[int]:
    """What a storage calls some trials of a study, among those of all its studies."""
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
    return {trial._trial_id for trial in trials if trial.number in numbers}


def reopened(journal: bytes, trials: Collection[int], attribute: str) -> bytes:
    """A journal in which some finished trials are running, as if their process had been killed.

    Args:
        journal: its lines, all of them whole.
        trials: their identities in the storage.
        attribute: the user attribute that says how they ended.
    """
    lines, created = [], -1
    for line in journal.splitlines(keepends=True):
        entry = json.loads(line) if line.strip() else {}
        kind = entry.get("op_code")
        if kind == JournalOperation.CREATE_TRIAL:
            created += 1
            if created in trials:
                entry |= {"state": TrialState.RUNNING.value, "value": None, "values": None}
                entry.pop("datetime_complete", None)
                entry.get("user_attrs", {}).pop(attribute, None)
                line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        elif entry.get("trial_id") in trials and (
            kind == JournalOperation.SET_TRIAL_STATE_VALUES
            or attribute in entry.get("user_attr", {})
            or any(key.startswith(CONSTRAINT_PREFIX) for key in entry.get("system_attr", {}))
        ):
            continue
        lines.append(line)
    return b"".join(lines)


def reseed(sampler: GPSampler | NSGAIISampler | TPESampler, seed: int) -> None:
    """Makes the next proposal depend on this seed and the trials, on no earlier proposal.

    The public `reseed_rng` takes no seed, and leaves fits of earlier proposals where they are.
    """
    sampler._rng.rng.seed(seed)
    if isinstance(sampler, GPSampler):
        sampler._gprs_cache_list = None
        sampler._constraints_gprs_cache_list = None


class LenientGPSampler(GPSampler):
    """Optuna's, but trials need not have the same constraints.

    It models those that all trials have. Trials that violate another one are left out.
    """

    def _sample_relative_impl(
        self,
        study: Study,
        completed_trials: list[FrozenTrial],
        running_trials: list[FrozenTrial],
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        trials = _with_shared_constraints(completed_trials)
        if not trials:
            return {}
        return super()._sample_relative_impl(study, trials, running_trials, search_space)


def _with_shared_constraints(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials with the constraints that all of them have, in one order."""
    constraints = [trial.constraints for trial in trials]
    if all([*each] == [*constraints[0]] for each in constraints):
        return trials
    shared = sorted(set(constraints[0]).intersection(*constraints))
    kept = []
    for trial, own in zip(trials, constraints, strict=True):
        if any(over > 0 for name, over in own.items() if name not in shared):
            continue
        one = copy.copy(trial)
        one.system_attrs = {
            key: value
            for key, value in trial.system_attrs.items()
            if not key.startswith(CONSTRAINT_PREFIX)
        } | {f"{CONSTRAINT_PREFIX}{name}": own[name] for name in shared}
        kept.append(one)
    return kept


def set_number_of_good_trials(sampler: TPESampler, number: Callable[[int], int]) -> None:
    """Sets how many of n finished trials TPE takes as good.

    The public argument `gamma` of `TPESampler` is deprecated and leaves in Optuna 6.
    """
    sampler._gamma = number


def select_elite(
    sampler: NSGAIISampler, study: Study, population: list[FrozenTrial]
) -> list[FrozenTrial]:
    """The best of a population by non-dominated sorting and crowding distance.

    Optuna takes a strategy of one's own publicly, but does not hand out its default one.
    """
    return sampler._elite_population_selection_strategy(study, population)
