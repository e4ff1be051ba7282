"""The feasible set: the networks of a space that are within limits, counted and drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scalesearch.arch import check
from scalesearch.cost.cost import COUNTED
from scalesearch.cost.limits import Limits
from scalesearch.errors import UserError
from scalesearch.population.closest import closest, none_within, over
from scalesearch.population.counting import Ways, most_steps
from scalesearch.population.tables import Rows, Tables

# A space of so many networks is listed in about two seconds; of a larger one, those that dynamic
# programming leaves open are listed if they are no more than that.
_LISTABLE_SPACE, _LISTABLE_REST = 4_000_000, 50_000
_SAMPLE = 20_000  # networks that stand for the set
_MOST_DRAWS, _BATCH = 1_000_000, 65_536  # before giving up, and at once
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

    A space of up to four million networks is listed. Of a larger one, those that the tightest limit
    does not rule out are counted and drawn by dynamic programming (`Ways`), and those drawn that
    are outside another limit are rejected.

    Attributes:
        tables: of the space.
        limits: on the costs that arithmetic gives.
    """

    tables: Tables
    limits: Limits

    @classmethod
    def make(cls, tables: Tables, limits: Limits) -> FeasibleSet:
        """The set within the limits; one on latency is left out, as no arithmetic gives that."""
        # In one order, so that the same limits give the same draws however they were written.
        counted = {name: limits[name] for name in sorted(limits) if name in COUNTED}
        if counted and tables.size > _LARGEST_SPACE:
            raise UserError(
                "the space holds more networks than numbers can tell apart",
                hint="give it fewer stages or choices",
            )
        return cls(tables, counted)

    def count(self) -> Count:
        """How many networks there are.

        Exact where those of which rounding leaves it open can be listed. Otherwise some of these
        are drawn to see how many are within the limits; the same ones each time.
        """
        if not self.limits:
            return Count(self.tables.size, 0.0, True)
        if self._listed is not None:
            return Count(len(self._listed), 0.0, True)
        sure, rest = 0.0, self._ways
        if len(self.limits) == 1 and rest.certain.any():
            sure, rest = rest.split()
        if rest.total <= _LISTABLE_REST:
            within, error = float(sum(len(self._within(rows)) for rows in rest.every())), 0.0
        else:
            share = len(self._sample(rest)) / _SAMPLE
            deviation = math.sqrt(share * (1 - share) / _SAMPLE)
            within, error = rest.total * share, rest.total * max(1.96 * deviation, 3 / _SAMPLE)
        value = sure + within
        error = max(error, value / _ROUNDED if value > _ROUNDED else 0.0)
        return Count(round(value), error, error == 0)

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
                self.look()  # raises
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
            rows.append(self._within(self._ways.draw(batch, random))[:missing])
            missing, drawn = missing - len(rows[-1]), drawn + batch
        return np.concatenate(rows)

    def every(self, most: int) -> Rows | None:
        """All the networks, if they are at most so many and can be listed."""
        if not self.limits and self.tables.size <= most:
            return np.concatenate([*self.tables.every()])
        if not self.limits or self._listed is None or len(self._listed) > most:
            return None
        return self._listed.astype(np.intp)

    def look(self) -> Rows:
        """Networks of the set to see what it is like: all, or up to 20,000, each equally likely.

        Raises:
            UserError: with the network that comes closest, if none is found within the limits.
        """
        if not self.limits or (self._listed is not None and len(self._listed) > _SAMPLE):
            return self.draw(_SAMPLE, 0)
        rows = self._sample(self._ways) if self._listed is None else self._listed
        if not len(rows):
            few = self.tables.size <= _LISTABLE_SPACE
            rows = closest(self.tables, self.limits, of_all=few)
            if not len(self._within(rows)):
                proven = self._listed is not None
                raise none_within(self.tables, self.limits, rows, proven=proven, of_all=few)
        return rows.astype(np.intp)

    def _within(self, rows: Rows) -> Rows:
        return rows[over(self.tables, self.limits, rows) <= 0]

    def _sample(self, ways: Ways) -> Rows:
        """Those within the limits of 20,000 of `ways`."""
        return self._within(ways.draw(_SAMPLE, np.random.default_rng(0)))

    @cached_property
    def _listed(self) -> Rows | None:
        """All the networks, in small ints; None where they are too many."""
        if self.tables.size <= _LISTABLE_SPACE:
            chunks = self.tables.every()
        elif self._ways.total <= _LISTABLE_REST:
            chunks = self._ways.every()
        else:
            return None
        small = np.min_scalar_type(max(self.tables.sizes))
        rows = [self._within(chunk).astype(small) for chunk in chunks]
        return np.concatenate([np.empty((0, len(self.tables.sizes)), small), *rows])

    @cached_property
    def _ways(self) -> Ways:
        """All that the tightest limit does not rule out."""

        def ways(name: str, steps: int) -> Ways:
            return Ways.within(self.tables, name, self.limits[name], steps)

        tightest = min(self.limits, key=lambda name: ways(name, _FEW_STEPS).total)
        return ways(tightest, most_steps(self.tables))
