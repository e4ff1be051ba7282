"""Networks of a space counted and drawn by how much of one limited cost they have taken.

A sum over levels that is the limited cost, or never above it, is cut into whole steps. From the
last level to the first dynamic programming counts, for each state and each number of steps taken so
far, how many ways to go on end within the limit. What is counted so can be drawn exactly: every
choice is as likely as the ways that go on from it are many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scalesearch.cost.composition import BlockCost
from scalesearch.cost.cost import ADDITIVE, Workload
from scalesearch.cost.limits import Limit
from scalesearch.cost.memory import FULL
from scalesearch.population.tables import Rows, Tables

_MOST_STEPS, _FEWEST_STEPS = 2**20, 2**8
_MOST_ADDITIONS, _MOST_CELLS = 10**9, 2 * 10**7  # about a second, and 160 MB
_MOST_WEIGHTS = 2**22  # at once while drawing: 32 MB


def bound(costs: BlockCost, name: str, workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """What choices add to a sum that is a cost or never above it, and their own peaks beside it."""
    if name in ADDITIVE:
        return np.asarray(getattr(costs, name)), np.zeros(1, np.int64)
    weights = FULL * np.asarray(costs.params)
    if name == "inference_bytes":
        images = FULL * workload.inference_batch * np.asarray(costs.images)
        return weights + images + costs.buffers, np.asarray(costs.inference_peak)
    images = FULL * workload.training_batch * np.asarray(costs.images)
    kept = weights * (1 + workload.optimizer_copies + workload.ema)
    return kept + images + costs.buffers * (1 + workload.ema) + costs.saved, np.zeros(1, np.int64)


def can_count(name: str, limit: Limit) -> bool:
    """Whether a limit can be counted: a sum below a cost says nothing of its minimum."""
    return name in ADDITIVE or limit.max is not None


@dataclass(frozen=True, eq=False)
class Ways:
    """The networks whose number of steps is accepted: how many there are, and draws of them.

    Numbers are floats: exact up to 2^53, and beyond it to 15 digits.

    Attributes:
        steps: of each choice from each state, int64 [states, choices] for each level; past every
            total where no network within the limit has that choice.
        accepted: bool, for each total number of steps.
        certain: totals that only networks within the limit have.
    """

    tables: Tables
    steps: tuple[np.ndarray, ...]
    accepted: np.ndarray
    certain: np.ndarray

    @classmethod
    def unlimited(cls, tables: Tables) -> Ways:
        """All networks of a space."""
        steps = tuple(np.zeros(level.after.shape, np.int64) for level in tables.levels)
        return cls(tables, steps, np.ones(1, bool), np.zeros(1, bool))

    @classmethod
    def within(cls, tables: Tables, name: str, limit: Limit, most: int = _MOST_STEPS) -> Ways:
        """Those that may be within a limit that can be counted, in at most `most` steps."""
        parts = parts_of(tables, name)
        ends = least(tables, parts)
        start, widest = int(ends[0][0]), -int(least(tables, [-part for part in parts])[0][0])
        room = (math.inf if limit.max is None else limit.max) - start
        high = int(min(room, widest - start))
        if room < 0:
            return replace(cls.unlimited(tables), accepted=np.zeros(1, bool))
        exact = name in ADDITIVE
        low = limit.min - start if exact and limit.min is not None else 0
        # What each choice adds to the least sum; past the limit by a peak of its own, if it has.
        added = [
            part + end[level.after] - before[:, None]
            for level, part, before, end in zip(
                tables.levels, parts, ends[:-1], ends[1:], strict=True
            )
        ]
        if not exact:
            peaks = [bound(level.costs, name, tables.workload)[1] for level in tables.levels]
            added = [
                np.where(sums + np.maximum(peak, 0) > room, high + 1, sums)
                for sums, peak in zip(added, peaks, strict=True)
            ]
        possible = np.concatenate([sums[sums <= high] for sums in added])
        divisor = max(1, int(np.gcd.reduce(possible, initial=0)))
        step = divisor * -(-(high + 1) // (divisor * min(most, most_steps(tables))))
        # Steps are rounded down: so much can be dropped from a sum.
        rest = sum(int((sums[sums <= high] % step).max(initial=0)) for sums in added)
        totals = np.arange(high // step + 1) * step
        return cls(
            tables,
            tuple(np.where(sums <= high, sums // step, len(totals)) for sums in added),
            accepted=totals + rest >= low,
            certain=(totals >= low) & (totals + rest <= high) & exact,
        )

    @cached_property
    def total(self) -> float:
        """How many networks there are."""
        return float(self._onward[0][0, 0])

    def split(self) -> tuple[float, Ways]:
        """How many are certainly within the limit, and the ways of which that is open."""
        sure = replace(self, accepted=self.accepted & self.certain)
        return sure.total, replace(self, accepted=self.accepted & ~self.certain)

    def draw(self, n: int, random: np.random.Generator) -> Rows:
        """`n` of the networks, each equally likely; `total` must not be 0."""
        widest = max(level.after.shape[1] for level in self.tables.levels)
        chunk = max(1, _MOST_WEIGHTS // widest)
        drawn = [self._drawn(min(chunk, n - start), random) for start in range(0, n, chunk)]
        return np.concatenate([self.tables.uniform(0, random), *drawn])

    def _drawn(self, n: int, random: np.random.Generator) -> Rows:
        rows = np.zeros((n, len(self.tables.sizes)), np.intp)
        state, total = np.zeros(n, np.intp), np.zeros(n, np.intp)
        for index, level in enumerate(self.tables.levels):
            weights = self._weights(index, state, total).cumsum(axis=1)
            choice = (weights <= (random.random(n) * weights[:, -1])[:, None]).sum(axis=1)
            level.assign(rows, choice)
            total = total + self.steps[index][state, choice]
            state = level.after[state, choice]
        return rows

    def every(self) -> Rows:
        """All the networks once; only where `total` is small."""
        rows = np.zeros((1, len(self.tables.sizes)), np.intp)
        state, total = np.zeros(1, np.intp), np.zeros(1, np.intp)
        for index, level in enumerate(self.tables.levels):
            which, choice = np.nonzero(self._weights(index, state, total))
            rows, state, total = rows[which], state[which], total[which]
            level.assign(rows, choice)
            total = total + self.steps[index][state, choice]
            state = level.after[state, choice]
        return rows

    def _weights(self, index: int, state: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Ways to go on by each choice of a level, float64 [n, choices]."""
        to = total[:, None] + self.steps[index][state]
        onward, after = self._onward[index + 1], self.tables.levels[index].after[state]
        inside = to < len(self.accepted)
        return np.where(inside, onward[after, np.where(inside, to, 0)], 0.0)

    @cached_property
    def _onward(self) -> list[np.ndarray]:
        """Ways to go on before each level, float64 [states, totals]."""
        most = len(self.accepted)
        onward = [self.accepted.astype(float)[None]]
        for level, steps in zip(reversed(self.tables.levels), reversed(self.steps), strict=True):
            ways = np.zeros((len(level.after), most))
            for state, (after, taken) in enumerate(zip(level.after, steps, strict=True)):
                inside = taken < most
                # Choices that go on alike are counted together.
                pairs = np.stack([after[inside], taken[inside]], axis=1)
                moves, times = np.unique(pairs, axis=0, return_counts=True)
                for (behind, step), count in zip(moves.tolist(), times.tolist(), strict=True):
                    ways[state, : most - step] += count * onward[-1][behind, step:]
            onward.append(ways)
        return onward[::-1]


def parts_of(tables: Tables, name: str) -> list[np.ndarray]:
    """What each choice adds to the sum of `bound`, int64 [states, choices] for each level."""
    return [
        np.broadcast_to(bound(level.costs, name, tables.workload)[0], level.after.shape)
        for level in tables.levels
    ]


def least(tables: Tables, parts: list[np.ndarray]) -> list[np.ndarray]:
    """The smallest sum from each state of each level to the end, int64 [states]; at last zeros."""
    ends = [np.zeros(1, np.int64)]
    for level, part in zip(reversed(tables.levels), reversed(parts), strict=True):
        ends.append((part + ends[-1][level.after]).min(axis=1))
    return ends[::-1]


def least_row(tables: Tables, parts: list[np.ndarray]) -> np.ndarray:
    """A network whose sum is the smallest of all, int [slots]."""
    row = np.zeros((1, len(tables.sizes)), np.intp)
    ends, state = least(tables, parts), 0
    for level, part, end in zip(tables.levels, parts, ends[1:], strict=True):
        choice = (part[state] + end[level.after[state]]).argmin()
        level.assign(row, np.array([choice]))
        state = int(level.after[state, choice])
    return row[0]


def most_steps(tables: Tables) -> int:
    """How many totals can be counted in about a second."""
    states = sum(level.after.shape[0] for level in tables.levels)
    cells = sum(level.after.size for level in tables.levels)
    most = min(_MOST_STEPS, _MOST_ADDITIONS // cells, _MOST_CELLS // states)
    return max(_FEWEST_STEPS, most)
