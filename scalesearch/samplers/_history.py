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
from scalesearch.population.tables import Rows

_BESIDE = 4096


@dataclass(frozen=True, eq=False)
class History:
    """The trials of a study, and where to look for networks that it does not have.

    Attributes:
        space: of the networks.
        candidates: of the space, within the limits on counted costs.
        rows: of the assessed trials, in the order of their numbers, int [n, slots].
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
            if trial.state == TrialState.COMPLETE and within:
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
        """Those that were not proposed."""
        rows = np.ascontiguousarray(rows)
        return rows[[row.tobytes() not in self.known for row in rows]] if len(rows) else rows

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
        """New networks within the limits that differ from one in one part, in random order."""
        rows = self.unknown(self.candidates.beside(row[None], _BESIDE, random))
        return rows[random.permutation(len(rows))]

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


def parameters_of(space: Space, row: np.ndarray) -> dict[str, Choice]:
    """The parameters of a row of a space's tables."""
    choices: Mapping[str, Sequence[Choice]] = space.parameters
    chosen = space.chosen(row[None])[0]
    return {name: c[position] for (name, c), position in zip(choices.items(), chosen, strict=True)}
