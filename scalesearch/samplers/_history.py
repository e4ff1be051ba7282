"""What samplers read from a study, and networks that none of its trials has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.study import Study, StudyDirection
from optuna.trial import TrialState

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.interfaces import Choice, Space
from scalesearch.population.candidates import Candidates
from scalesearch.population.known import without
from scalesearch.population.tables import Rows

_BESIDE = 4096


@dataclass(frozen=True, eq=False)
class History:
    """The trials of a study, and where to look for networks that it does not have.

    Attributes:
        space: of the networks.
        candidates: of the space, within the limits on counted costs.
        rows: of the assessed trials (finite values, within all limits), in the order of their
            numbers, int [n, slots].
        values: of their objectives, all to be maximised, float [n, objectives].
        known: every network that was proposed, as the bytes of its row.
    """

    space: Space
    candidates: Candidates
    rows: Rows
    values: np.ndarray
    known: frozenset[bytes]

    @classmethod
    def read(
        cls, study: Study, number: int, space: Space, limits: Limits, workload: Workload
    ) -> History:
        """What there was before the trial of this number."""
        signs = np.array([1 if d == StudyDirection.MAXIMIZE else -1 for d in study.directions])
        names, rows, values, known = len(space.parameters), [], [], set()
        for trial in study.get_trials(deepcopy=False):
            if trial.number == number or len(trial.params) < names:
                continue
            row = space.locate(trial.params)
            known.add(np.array(row, np.intp).tobytes())
            within = max(trial.constraints.values(), default=0) <= 0
            assessed = trial.state == TrialState.COMPLETE and np.isfinite(trial.values).all()
            if assessed and within:
                rows.append(row)
                values.append(np.array(trial.values, float) * signs)
        slots = len(space.tables(workload).sizes)
        return cls(
            space,
            Candidates(space.within(limits, workload), space.chosen),
            np.array(rows, np.intp).reshape(-1, slots),
            np.array(values, float).reshape(-1, len(signs)),
            frozenset(known),
        )

    def unknown(self, rows: Rows) -> Rows:
        """Those that were not proposed, each once."""
        return without(rows, self.known)

    def fresh(self, random: np.random.Generator, tries: int = 64) -> np.ndarray:
        """The row of a random network within the limits, new while there are others."""
        drawn = self.candidates.drawn(tries, random)
        new = self.unknown(drawn)
        if not len(new):
            feasible = self.candidates.feasible
            every = feasible.every(feasible.tables.size)
            new = self.unknown(every) if every is not None else new
        rows = new if len(new) else drawn
        row: np.ndarray = rows[int(random.integers(len(rows)))]
        return row

    def beside(self, row: np.ndarray, random: np.random.Generator) -> Rows:
        """New networks within the limits that differ from one in one part, in random order.

        Of a list of networks in which no new one does: those that differ in the fewest parameters.
        """
        if not self.candidates.is_list:
            rows = self.unknown(self.candidates.beside(row[None], _BESIDE, random))
            return random.permutation(rows)
        rows = self.unknown(self._others(row, random))
        changed = self._changed(row, rows)
        parts = np.array([name.partition(".")[0] for name in self.space.parameters])
        several = sum(changed[:, parts == part].any(axis=1) for part in dict.fromkeys(parts)) > 1
        return random.permutation(_least(rows, changed.sum(axis=1) * several))

    def neighbours(self, row: np.ndarray, random: np.random.Generator) -> Rows:
        """New networks within the limits that differ from one in one choice, in random order.

        In a list of networks the neighbours are those that differ in the fewest choices.
        """
        if self.candidates.is_list:
            others = self._others(row, random)
            nearest = _least(others, self._changed(row, others).sum(axis=1))
            return random.permutation(self.unknown(nearest))
        own = self.parameters(row)
        changed = [
            self.space.locate({**own, name: choice})
            for name, choices in self.space.parameters.items()
            for choice in choices
        ]
        # Several combinations of choices may be one network.
        rows = np.unique(np.array(changed, np.intp), axis=0)
        return random.permutation(self.unknown(self.candidates.within(rows)))

    def _others(self, row: np.ndarray, random: np.random.Generator) -> Rows:
        """All the networks of a list that are within the limits, without one of them."""
        rows = self.candidates.beside(row[None], self.candidates.feasible.tables.size, random)
        return rows[(rows != row).any(axis=1)]

    def _changed(self, row: np.ndarray, rows: Rows) -> np.ndarray:
        """Whether a parameter's choice is another than in `row`, bool [n, parameters]."""
        changed: np.ndarray = self.space.chosen(rows) != self.space.chosen(row[None])
        return changed

    def fronts(self) -> np.ndarray:
        """How many trials dominate each one: 0 on the front; with one value its rank, int [n]."""
        if self.values.shape[1] == 1:
            value = self.values[:, 0]
            return (value[None] > value[:, None]).sum(axis=1)
        better = (self.values[None] >= self.values[:, None]).all(axis=2)
        different = (self.values[None] != self.values[:, None]).any(axis=2)
        return (better & different).sum(axis=1)

    def parameters(self, row: np.ndarray) -> dict[str, Choice]:
        """The parameters of a row."""
        return parameters_of(self.space, row)


def _least(rows: Rows, amounts: np.ndarray) -> Rows:
    """The rows of the smallest amount."""
    return rows[amounts == amounts.min()] if len(rows) else rows


def parameters_of(space: Space, row: np.ndarray) -> dict[str, Choice]:
    """The parameters of a row of a space's tables."""
    choices: Mapping[str, Sequence[Choice]] = space.parameters
    chosen = space.chosen(row[None])[0]
    return {name: c[position] for (name, c), position in zip(choices.items(), chosen, strict=True)}
