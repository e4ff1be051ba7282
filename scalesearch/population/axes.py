"""Limited sums in whole steps, so that networks can be counted by how many they have taken.

Steps are rounded down in every level. What that leaves open is known: totals are *possible* where
a network within the limit can lie, and *certain* where every network is within.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from scalesearch.cost.limits import Limit
from scalesearch.population.additive import EXACT, Additive, least
from scalesearch.population.tables import Tables

# Additions of a table, and places in it: about a second on an idle core for each of at most three
# tables, and 160 MB.
_MOST_ADDITIONS, _MOST_PLACES = 10**9, 2 * 10**7
_MOST_STEPS, _FEWEST_STEPS = 2**20, 2**8
_FAR = 2.0**62  # further than any bound matters, and int64 still holds it


class Axis(NamedTuple):
    """One limited sum in steps.

    Attributes:
        steps: of each choice from each state, int64 [states, choices] for each level; past every
            total where no network within the limit has that choice.
        possible, certain: bool, for each total number of steps.
    """

    steps: tuple[np.ndarray, ...]
    possible: np.ndarray
    certain: np.ndarray


def can_count(name: str, limit: Limit) -> bool:
    """Whether a limit has an axis: a cost that a sum bounds from below has one below a maximum."""
    return name in EXACT or limit.max is not None


def axis(tables: Tables, of: Additive, limit: Limit, longest: int) -> Axis:
    """The axis of a limited cost that can be counted, with at most `longest` totals.

    Sums are taken above the smallest, or below the largest, whichever is nearer to the limit.
    """
    high = None if limit.max is None else math.floor(min(limit.max, _FAR))
    # A cost may be above its minimum where a sum that bounds it from below is not.
    low = math.ceil(min(limit.min, _FAR)) if of.exact and limit.min is not None else None
    spans = []
    if high is not None:
        spans.append(_Span.make(tables, of, low, high))
    if low is not None:
        spans.append(_Span.make(tables, of.negative(), None if high is None else -high, -low))
    return min(spans, key=lambda span: span.high).cut(longest)


class _Span(NamedTuple):
    """How far each choice leads away from the smallest sum; sums from `low` to `high` above it."""

    parts: tuple[np.ndarray, ...]
    low: int
    high: int
    exact: bool

    @classmethod
    def make(cls, tables: Tables, of: Additive, low: int | None, high: int) -> _Span:
        ends = least(tables, of.parts)
        start = of.base + int(ends[0][0])
        widest = -int(least(tables, [-part for part in of.parts])[0][0]) - int(ends[0][0])
        away = [
            part + end[level.after] - before[:, None]
            for level, part, before, end in zip(
                tables.levels, of.parts, ends[:-1], ends[1:], strict=True
            )
        ]
        room = high - start
        if not of.exact:
            peaks = zip(away, of.peaks, strict=True)
            away = [np.where(part + peak > room, room + 1, part) for part, peak in peaks]
        return cls(tuple(away), 0 if low is None else low - start, min(room, widest), of.exact)

    def cut(self, longest: int) -> Axis:
        """The axis in steps as short as `longest` totals allow."""
        if self.high < 0:
            nothing = np.zeros(1, bool)
            return Axis(tuple(np.ones_like(part) for part in self.parts), nothing, nothing)
        kept = [part[part <= self.high] for part in self.parts]
        divisor = max(1, int(np.gcd.reduce(np.concatenate(kept), initial=0)))
        step = divisor * -(-(self.high + 1) // (divisor * longest))
        # What rounding down leaves off a total is at most this.
        rest = sum(int((part % step).max(initial=0)) for part in kept)
        totals = np.arange(self.high // step + 1) * step
        possible = totals + rest >= self.low
        certain = (totals >= self.low) & (totals + rest <= self.high) & self.exact
        out = len(totals)
        steps = (np.where(part <= self.high, part // step, out) for part in self.parts)
        return Axis(tuple(steps), possible, certain)


def longest_axis(tables: Tables) -> int:
    """How many totals, of all axes multiplied, can be counted in about a second."""
    states = sum(level.after.shape[0] for level in tables.levels)
    pairs = sum(level.after.size for level in tables.levels)
    most = min(_MOST_STEPS, _MOST_ADDITIONS // pairs, _MOST_PLACES // states)
    return max(_FEWEST_STEPS, most)
