"""Networks within limits that are worth a look: drawn, crossed, and beside good ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalesearch.population.closest import over
from scalesearch.population.feasible import FeasibleSet
from scalesearch.population.tables import Rows

_MOST_VALUES = 256  # of one part of a network that are tried beside a good one
_REDRAWN = 0.5  # of the crossed networks have one part that neither parent has


@dataclass(frozen=True, eq=False)
class Candidates:
    """Where candidates of a space come from.

    Attributes:
        feasible: the networks within the limits.
        chosen: rows to the positions of their choices, as a space's `chosen`.
    """

    feasible: FeasibleSet
    chosen: Callable[[Rows], np.ndarray]

    def drawn(self, n: int, random: np.random.Generator) -> Rows:
        """Networks within the limits: all if they are no more than `n`, else as many draws.

        In random order.
        """
        every = self.feasible.every(n)
        return self._drawn(n, random) if every is None else random.permutation(every)

    def crossed(self, parents: Rows, n: int, random: np.random.Generator) -> Rows:
        """Up to `n` networks within the limits whose parts come from two of the parents."""
        if self.is_list or len(parents) < 2:
            return parents[:0]
        slots = len(self.feasible.tables.sizes)
        mothers, fathers = random.integers(0, len(parents), (2, n))
        from_mother = random.random((n, slots)) < 0.5
        rows = np.where(from_mother, parents[mothers], parents[fathers])
        redrawn = random.random(n) < _REDRAWN
        slot = random.integers(0, slots, n)
        values = random.integers(0, np.array(self.feasible.tables.sizes)[slot])
        rows[redrawn, slot[redrawn]] = values[redrawn]
        return self.within(rows)

    def beside(self, rows: Rows, n: int, random: np.random.Generator) -> Rows:
        """Up to `n` networks within the limits that differ from one of these in one part.

        In a list of networks: those that differ from one of these in the fewest parameters.
        """
        if self.is_list:
            return self._nearest(rows, n)
        found = []
        for slot, size in enumerate(self.feasible.tables.sizes):
            if size == 1:
                continue
            values = np.arange(size)
            if size > _MOST_VALUES:
                values = random.choice(size, _MOST_VALUES, replace=False)
            changed = rows.repeat(len(values), axis=0)
            changed[:, slot] = np.tile(values, len(rows))
            found.append(changed)
        every = np.concatenate([rows[:0], *found])
        if len(every) > n:
            every = every[random.choice(len(every), n, replace=False)]
        return self.within(every)

    def within(self, rows: Rows) -> Rows:
        """Those of the networks that are within the limits."""
        limits = self.feasible.limits
        return rows if not limits else rows[over(self.feasible.tables, limits, rows) <= 0]

    @property
    def is_list(self) -> bool:
        """Whether rows are positions in a list, which say nothing on what networks share."""
        return len(self.feasible.tables.sizes) == 1

    def _drawn(self, n: int, random: np.random.Generator) -> Rows:
        return self.feasible.draw(n, int(random.integers(2**31)))

    def _nearest(self, rows: Rows, n: int) -> Rows:
        every = np.arange(self.feasible.tables.size)[:, None]
        chosen, each = self.chosen(every), max(1, n // max(1, len(rows)))
        found = []
        for own in self.chosen(rows):
            distance = (chosen != own).sum(axis=1)
            found.append(every[np.argsort(distance, kind="stable")[: each + 1]])
        return self.within(np.unique(np.concatenate([rows[:0], *found]), axis=0))
