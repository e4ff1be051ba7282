"""Networks of a space counted and drawn by how much of one limited cost they take.

A sum over levels that is the limited cost, or never above it, is rounded down to whole steps.
Dynamic programming from the last level to the first counts, for each state and each number of steps
taken so far, in how many ways a network within the limit can go on. Draws follow these counts: each
choice is drawn in proportion to the ways that go on from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scalesearch.cost.cost import ADDITIVE
from scalesearch.cost.limits import Limit
from scalesearch.cost.memory import FULL
from scalesearch.population.tables import Rows, Tables

_MOST_WORK, _WORK_OF_STATE = 10**9, 50  # additions, and as many for the memory of a state
_MOST_WEIGHTS = 2**22  # at once while drawing: 32 MB


@dataclass(frozen=True, eq=False)
class Ways:
    """The networks that a limit on one cost does not rule out: how many there are, and draws.

    Numbers are floats: exact up to 2^53, and to 15 digits beyond it.

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
    def within(cls, tables: Tables, name: str, limit: Limit, most: int) -> Ways:
        """Those that may be within a limit, whose sums are counted in `most` steps.

        A minimum of memory rules out nothing, as the sum is below the cost.
        """
        sums = added(tables, name)
        ends = least(tables, sums)
        start = int(ends[0][0])
        largest = -int(least(tables, [-part for part in sums])[0][0])
        most_above = (math.inf if limit.max is None else limit.max) - start
        high = math.floor(min(most_above, largest - start))
        low = limit.min - start if name in ADDITIVE and limit.min is not None else 0
        # How far the smallest sum with each choice is above the smallest of all.
        above = []
        for level, part, before, after in zip(tables.levels, sums, ends, ends[1:], strict=False):
            least_with = part + after[level.after] - before[:, None]
            peak = level.costs.inference_peak if name == "inference_bytes" else 0
            above.append(np.where(least_with + peak > most_above, high + 1, least_with))
        kept = [part[part <= high] for part in above]
        unit = max(1, int(np.gcd.reduce(np.concatenate(kept), initial=0)))
        step = unit * max(1, -(-(high + 1) // (unit * most)))
        totals = np.arange(high // step + 1) * step
        lost = sum(int((part % step).max(initial=0)) for part in kept)  # at most, by rounding down
        return cls(
            tables,
            steps=tuple(np.where(part <= high, part // step, len(totals)) for part in above),
            accepted=totals + lost >= low,
            certain=(totals >= low) & (totals + lost <= most_above) & (name in ADDITIVE),
        )

    @cached_property
    def total(self) -> float:
        """How many networks there are."""
        return float(self._onward[0][0, :1].sum())

    def split(self) -> tuple[float, Ways]:
        """How many are certainly within the limit, and the ways of which that is open."""
        sure = replace(self, accepted=self.accepted & self.certain)
        return sure.total, replace(self, accepted=self.accepted & ~self.certain)

    def draw(self, n: int, random: np.random.Generator) -> Rows:
        """`n` of the networks, each equally likely; `total` must not be 0."""
        return np.concatenate([self.tables.uniform(0, random), *self._chunks(n, random)])

    def every(self) -> Iterator[Rows]:
        """All the networks once, many at a time; only where `total` is small."""
        return self._chunks(int(self.total))

    def _chunks(self, n: int, random: np.random.Generator | None = None) -> Iterator[Rows]:
        """The first `n` of the networks in the order of choices, or `n` random ones."""
        size = max(1, _MOST_WEIGHTS // max(level.after.shape[1] for level in self.tables.levels))
        for start in range(0, n, size):
            position = np.arange(start, min(start + size, n), dtype=float)
            each = np.arange(len(position))
            rows = np.zeros((len(each), len(self.tables.sizes)), np.intp)
            state, total = np.zeros_like(each), np.zeros_like(each)
            for level, steps, onward in zip(
                self.tables.levels, self.steps, self._onward[1:], strict=True
            ):
                after, to = level.after[state], total[:, None] + steps[state]
                inside = to < len(self.accepted)
                weights = np.where(inside, onward[after, np.where(inside, to, 0)], 0.0)
                up_to = weights.cumsum(axis=1)
                if random is not None:
                    position = random.random(len(each)) * up_to[:, -1]
                choice = (up_to <= position[:, None]).sum(axis=1)
                level.assign(rows, choice)
                position = position - (up_to - weights)[each, choice]
                state, total = after[each, choice], to[each, choice]
            yield rows

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


def added(tables: Tables, name: str) -> list[np.ndarray]:
    """What each choice adds to a sum that is a cost, or never above it; [states, choices]."""
    work = tables.workload
    parts = []
    for level in tables.levels:
        costs, weights = level.costs, FULL * level.costs.params
        if name in ADDITIVE:
            part = getattr(costs, name)
        elif name == "inference_bytes":
            part = weights + costs.buffers + FULL * work.inference_batch * costs.images
        else:
            part = weights * (1 + work.optimizer_copies + work.ema) + costs.saved
            part = part + costs.buffers * (1 + work.ema) + FULL * work.training_batch * costs.images
        parts.append(np.broadcast_to(part, level.after.shape))
    return parts


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
    """How many totals can be counted in about a second and 160 MB."""
    work = sum(level.after.size + _WORK_OF_STATE * len(level.after) for level in tables.levels)
    return max(2**8, min(2**20, _MOST_WORK // work))
