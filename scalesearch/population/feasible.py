"""The feasible set: the networks of a space that are within limits, counted and drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scalesearch.arch import check
from scalesearch.cost.cost import COUNTED
from scalesearch.cost.limits import Limits, check_limits
from scalesearch.errors import UserError
from scalesearch.population.closest import closest, none_within, over
from scalesearch.population.counting import Ways, can_count
from scalesearch.population.tables import Rows, Tables

# A space of so many networks is gone through in about two seconds; of a larger one, those that
# dynamic programming leaves open are listed if they are no more than that.
_LISTABLE_SPACE, _LISTABLE_REST = 4_000_000, 50_000
# Draws that tell a share, draws after which finding more is given up, and draws at once.
_LOOK, _MOST_DRAWS, _BATCH = 20_000, 1_000_000, 65_536
_FEW_STEPS = 256  # enough to see which of several limits is the tightest
_ROUNDED = 2.0**53  # floats above it have lost their last digits
_LARGEST_SPACE = 10**300  # counts are floats


@dataclass(frozen=True, slots=True)
class Count:
    """How many networks there are.

    Attributes:
        value: the number, or the best estimate of it.
        error: half the width of the 95 % interval around it.
        exact: the number is not an estimate.
    """

    value: int
    error: float
    exact: bool


@dataclass(frozen=True, eq=False)
class FeasibleSet:
    """The networks of a space within limits, prepared once for any number of draws.

    A space of up to four million networks is gone through. Of a larger one, those that may be
    within the tightest limit are counted and drawn by dynamic programming (`Ways`), and what is
    drawn is held against all limits.

    Attributes:
        tables: of the space.
        limits: on the costs that arithmetic gives.
    """

    tables: Tables
    limits: Limits

    @classmethod
    def make(cls, tables: Tables, limits: Limits) -> FeasibleSet:
        """The set within the limits; one on latency is left out, as no arithmetic gives that.

        Raises:
            UserError: a limit on something that is not a cost.
        """
        check_limits(limits)
        # In one order, so that the same limits give the same draws however they were written.
        counted = {name: limits[name] for name in sorted(limits) if name in COUNTED}
        if counted and tables.size > _LARGEST_SPACE:
            raise UserError(
                "the space holds more networks than numbers can tell apart",
                hint="give it fewer stages or choices",
            )
        return cls(tables, counted)

    def count(self) -> Count:
        """How many networks there are: exact where they are listed, or where steps lose nothing.

        Otherwise some of those that may be within the limits are drawn to see how many are; the
        same ones each time.
        """
        if not self.limits:
            return Count(self.tables.size, 0.0, True)
        if self._listed is not None:
            return Count(len(self._listed), 0.0, True)
        sure, rest = self._ways.split() if len(self.limits) == 1 else (0.0, self._ways)
        if rest.total <= _LISTABLE_REST:
            value = sure + int(self._within(rest.every()).sum())
            exact = value <= _ROUNDED
            return Count(round(value), 0.0 if exact else value / _ROUNDED, exact)
        share = len(self._some_of(rest)) / _LOOK
        error = max(1.96 * math.sqrt(share * (1 - share) / _LOOK), 3 / _LOOK)
        return Count(round(sure + rest.total * share), rest.total * error, False)

    def draw(self, n: int, seed: int) -> Rows:
        """`n` networks, independent and each equally likely, as rows; the same for the same seed.

        Raises:
            UserError: nothing is within the limits, or too little of what may be.
        """
        check.whole("n", n, least=0)
        random = np.random.default_rng(int(seed) % 2**64)  # NumPy takes no negative ones
        if not self.limits:
            return self.tables.uniform(n, random)
        if self._listed is not None:
            if not len(self._listed):
                self._closest()  # says what comes nearest
            return self._listed[random.integers(0, len(self._listed), n)].astype(np.intp)
        rows, missing, drawn = [self.tables.uniform(0, random)], n, 0
        while missing > 0:
            if drawn >= _MOST_DRAWS + 100 * n:
                raise UserError(
                    f"only {n - missing:,} of {drawn:,} networks drawn from those that may be "
                    "within the limits are within all of them",
                    key="limits",
                    hint="loosen the limits, or ask for fewer networks",
                )
            batch = min(_BATCH, max(missing + 16, drawn))
            candidates = self._ways.draw(batch, random)
            rows.append(candidates[self._within(candidates)][:missing])
            missing, drawn = missing - len(rows[-1]), drawn + batch
        return np.concatenate(rows)

    def look(self) -> Rows:
        """Networks of the set to see what it is like: all, or up to 20,000, each equally likely.

        Raises:
            UserError: with the network that comes closest, if none is within the limits.
        """
        random = np.random.default_rng(0)
        if not self.limits:
            return self.tables.uniform(_LOOK, random)
        rows = self._some_of(self._ways) if self._listed is None else self._listed
        if len(rows) > _LOOK:
            rows = rows[random.integers(0, len(rows), _LOOK)]
        return rows.astype(np.intp) if len(rows) else self._closest()

    def _closest(self) -> Rows:
        """The one network that a walk found where drawing found none; `UserError` as of `look`."""
        near = closest(self.tables, self.limits, _LISTABLE_SPACE)
        if near.over > 0:
            raise none_within(self.tables, self.limits, near, self._listed is not None)
        return near.row[None]

    def _within(self, rows: Rows) -> np.ndarray:
        return over(self.tables, self.limits, rows) <= 0

    def _some_of(self, ways: Ways) -> Rows:
        """Those within the limits of 20,000 drawn from what is possible, the same each time."""
        rows = ways.draw(_LOOK, np.random.default_rng(0))
        return rows[self._within(rows)]

    @cached_property
    def _listed(self) -> Rows | None:
        """All the networks, in small ints; None where they are too many."""
        if self.tables.size <= _LISTABLE_SPACE:
            chunks = self.tables.every()
        elif self._ways.total <= _LISTABLE_REST:
            chunks = iter([self._ways.every()])
        else:
            return None
        small = np.min_scalar_type(max(self.tables.sizes))
        rows = [chunk[self._within(chunk)].astype(small) for chunk in chunks]
        return np.concatenate([np.empty((0, len(self.tables.sizes)), small), *rows])

    @cached_property
    def _ways(self) -> Ways:
        """All that the tightest limit of those that can be counted does not rule out."""
        names = [name for name, limit in self.limits.items() if can_count(name, limit)]
        if not names:
            return Ways.unlimited(self.tables)
        if len(names) > 1:
            rough = {n: Ways.within(self.tables, n, self.limits[n], _FEW_STEPS) for n in names}
            names.sort(key=lambda name: rough[name].total)
        return Ways.within(self.tables, names[0], self.limits[names[0]])
