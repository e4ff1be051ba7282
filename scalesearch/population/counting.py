"""Counting networks by dynamic programming, and drawing them uniformly.

From the last level to the first: for each state and each number of steps taken so far (`axes`),
how many ways to go on end in a total that is accepted. What is counted so can be drawn exactly:
every choice of a level is as likely as the ways that go on from it are many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scalesearch.population.axes import Axis
from scalesearch.population.tables import Rows, Tables

_MOST_WEIGHTS = 2**22  # at once while drawing: 32 MB


# State, state behind it and steps along each axis of the choices of a level; how many are alike.
Moves = list[tuple[list[int], int]]


def moves(tables: Tables, axes: Sequence[Axis]) -> list[Moves]:
    """The different moves of each level within the axes: choices that count alike are one."""
    found = []
    for index, level in enumerate(tables.levels):
        after = level.after
        state = np.broadcast_to(np.arange(len(after))[:, None], after.shape)
        steps = [one.steps[index] for one in axes]
        inside, key = np.ones(after.shape, bool), state * (1 + after.max()) + after
        for one, step in zip(axes, steps, strict=True):
            inside &= step < len(one.possible)
            key = key * len(one.possible) + step
        columns = np.stack([column[inside] for column in (state, after, *steps)], axis=1)
        _, first, times = np.unique(key[inside], return_index=True, return_counts=True)
        found.append(list(zip(columns[first].tolist(), times.tolist(), strict=True)))
    return found


@dataclass(frozen=True, eq=False)
class Ways:
    """The networks whose totals are accepted: how many there are, and draws of them.

    Numbers are floats: exact up to 2^53, and beyond it to 15 digits.

    Attributes:
        tables: of the space.
        axes: none, one or two.
        moves: of these.
        accepted: bool [totals of the first axis, of the second].
    """

    tables: Tables
    axes: tuple[Axis, ...]
    moves: list[Moves]
    accepted: np.ndarray

    @cached_property
    def total(self) -> float:
        """How many networks there are."""
        return float(self._onward[0].flat[0])

    def draw(self, n: int, random: np.random.Generator) -> Rows:
        """`n` of the networks, each equally likely; `total` must not be 0."""
        widest = max(level.after.shape[1] for level in self.tables.levels)
        chunk = max(1, _MOST_WEIGHTS // widest)
        drawn = [self._drawn(min(chunk, n - start), random) for start in range(0, n, chunk)]
        return np.concatenate(drawn) if drawn else np.empty((0, len(self.tables.sizes)), np.intp)

    def _drawn(self, n: int, random: np.random.Generator) -> Rows:
        rows = np.zeros((n, len(self.tables.sizes)), np.intp)
        here = self._start(n)
        for index, level in enumerate(self.tables.levels):
            if level.after.size == 1:
                continue
            weights = self._weights(index, here).cumsum(axis=1)
            choice = (weights <= (random.random(n) * weights[:, -1])[:, None]).sum(axis=1)
            for column, position in level.split(choice):
                rows[:, column] = position
            here = self._go(index, here, choice)
        return rows

    def every(self) -> Iterator[Rows]:
        """All the networks once, many at a time."""
        return self._from(0, np.zeros((1, len(self.tables.sizes)), np.intp), self._start(1))

    def _from(self, index: int, rows: Rows, here: tuple[np.ndarray, ...]) -> Iterator[Rows]:
        """All ways to go on with networks that are chosen up to a level."""
        if index == len(self.tables.levels):
            yield rows
            return
        level = self.tables.levels[index]
        chunk = max(1, _MOST_WEIGHTS // level.after.shape[1])
        for start in range(0, len(rows), chunk):
            few = tuple(part[start : start + chunk] for part in here)
            which, choice = np.nonzero(self._weights(index, few))
            chosen = rows[start + which]
            for column, position in level.split(choice):
                chosen[:, column] = position
            yield from self._from(
                index + 1, chosen, self._go(index, [p[which] for p in few], choice)
            )

    def _start(self, n: int) -> tuple[np.ndarray, ...]:
        """The state and the totals of `n` networks of which nothing is chosen."""
        return tuple(np.zeros(n, np.intp) for _ in range(1 + len(self.axes)))

    def _weights(self, index: int, here: tuple[np.ndarray, ...]) -> np.ndarray:
        """Ways to go on by each choice of a level, float64 [n, choices]."""
        state, *totals = here
        at, inside = self.tables.levels[index].after[state], np.True_
        for one, total in zip(self.axes, totals, strict=True):
            to = total[:, None] + one.steps[index][state]
            inside = inside & (to < len(one.possible))
            at = at * len(one.possible) + to
        onward = self._onward[index + 1].reshape(-1)
        return np.where(inside, onward.take(at, mode="clip"), 0.0)

    def _go(
        self, index: int, here: Sequence[np.ndarray], choice: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """The state and the totals behind a level."""
        state, *totals = here
        steps = (one.steps[index][state, choice] for one in self.axes)
        after = self.tables.levels[index].after[state, choice]
        return (after, *(total + step for total, step in zip(totals, steps, strict=True)))

    @cached_property
    def _onward(self) -> list[np.ndarray]:
        """Ways to go on before each level, float64 [states, totals of each axis]."""
        shape = self.accepted.shape
        onward = [self.accepted.astype(float)[None]]
        for level, moves in zip(reversed(self.tables.levels), reversed(self.moves), strict=True):
            ways = np.zeros((len(level.after), *shape))
            for (state, after, *steps), times in moves:
                # From a total that leaves room for the steps, on to the total with them.
                room = zip(shape, steps, strict=True)
                here: tuple[Any, ...] = (state, *(slice(n - step) for n, step in room))
                there: tuple[Any, ...] = (after, *(slice(step, None) for step in steps))
                ways[here] += times * onward[-1][there]
            onward.append(ways)
        return onward[::-1]
