"""What many networks of a space cost at once: tables of their parts, added up by NumPy.

The tables (`states.py` makes them) say what each part of a network adds, counted by the same rules
as one network is; a population costs a gather and a few sums for each part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scalesearch.cost.cost import COUNTED, Cost, Workload
from scalesearch.cost.sums import NOTHING, Sums, join, price
from scalesearch.errors import UserError

Rows = np.ndarray  # int [n, slots]: for each network the position of its value in every slot
_CHUNK = 4_096  # networks whose sums stay in a processor's cache
_MANY = 65_536  # rows of a space that is gone through
_LARGEST = 2**63 - 1


@dataclass(frozen=True, eq=False, slots=True)
class Level:
    """One or several slots: what each of their choices adds, from each state before them.

    Several slots make one level where only all of them together say anything: the numbers of a
    network such as its resolution and activation.

    Attributes:
        columns: of the rows, which the level reads: those of its slots with several values.
        choices: of each of these; a level's own choice counts through them, the last one fastest.
        sums: the fields of `Sums`, int64 [fields, states, choices]; without the last four, which a
            neck alone needs, where they are 0.
        after: the state that follows, intp [states, choices].
    """

    columns: tuple[int, ...]
    choices: tuple[int, ...]
    sums: np.ndarray
    after: np.ndarray

    def chosen(self, rows: Rows) -> np.ndarray:
        """The level's own choice in each row, intp [n]."""
        choice = np.zeros(len(rows), np.intp)
        for column, choices in zip(self.columns, self.choices, strict=True):
            choice *= choices
            choice += rows[:, column]
        return choice

    def follow(self, state: np.ndarray, choice: np.ndarray) -> tuple[Sums, np.ndarray]:
        """What the level adds to each network, and the state behind it; arrays [n]."""
        flat = self.sums.reshape(len(self.sums), -1)
        if self.after.size == 1:  # one value for all, which NumPy spreads
            return Sums(*flat), self.after[0]
        at = state * self.after.shape[1] + choice
        return Sums(*flat.take(at, axis=1)), self.after.take(at)

    def split(self, choice: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Each column with its positions, from the level's own choice."""
        if self.columns:
            yield from zip(self.columns, np.unravel_index(choice, self.choices), strict=True)


@dataclass(frozen=True, eq=False)
class Tables:
    """Everything that the networks of a space can add to a cost under one workload.

    Attributes:
        sizes: how many values each slot has.
        levels: in the order of the walk; there is one state before the first, and one at the end.
        images: values of an input image for each choice of the first level, int64.
        classes: outputs of the classifier likewise.
    """

    sizes: tuple[int, ...]
    levels: tuple[Level, ...]
    images: np.ndarray
    classes: np.ndarray
    workload: Workload

    def __post_init__(self) -> None:
        _check_range(self)

    @cached_property
    def size(self) -> int:
        """How many networks there are, exactly."""
        return math.prod(self.sizes)

    def every(self) -> Iterator[Rows]:
        """The rows of all networks, many at a time, the last slot varying fastest."""
        for start in range(0, self.size, _MANY):
            place = np.arange(start, min(start + _MANY, self.size))
            rows = np.empty((len(place), len(self.sizes)), np.intp)
            for slot in reversed(range(len(self.sizes))):
                place, rows[:, slot] = np.divmod(place, self.sizes[slot])
            yield rows

    def uniform(self, n: int, random: np.random.Generator) -> Rows:
        """`n` rows, each network equally likely."""
        return random.integers(0, self.sizes, size=(n, len(self.sizes)))

    def cost(self, rows: Rows) -> Cost:
        """The costs of a population, equal to `closed_form.cost` of each to the last unit.

        Args:
            rows: int [n, slots].

        Returns:
            A `Cost` whose fields are int64 arrays [n].

        Raises:
            UserError: a row that is none of this space.
        """
        rows = self._checked(rows)
        costs: dict[str, Any] = {name: np.empty(len(rows), np.int64) for name in COUNTED}
        for start in range(0, len(rows), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            for name, values in self._price(rows[chunk]).known().items():
                costs[name][chunk] = values
        return Cost(**costs)

    def _price(self, rows: Rows) -> Cost:
        sums, state = NOTHING, np.zeros(1, np.intp)
        for level in self.levels:
            more, state = level.follow(state, level.chosen(rows))
            sums = join(sums, more, np.maximum)
        first = self.levels[0].chosen(rows)
        return price(sums, self.images[first], self.classes[first], self.workload, np.maximum)

    def _checked(self, rows: Rows) -> Rows:
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != len(self.sizes) or rows.dtype.kind not in "iu":
            raise UserError(
                f"an array of {rows.dtype} {list(rows.shape)} is no population of this space",
                allowed=f"whole numbers [n, {len(self.sizes)}]: a position for every slot",
            )
        wrong = ((rows < 0) | (rows >= self.sizes)).any(axis=0)
        if wrong.any():
            slot = int(wrong.argmax())
            raise UserError(
                f"a position in slot {slot} is not one of its {self.sizes[slot]} values",
                allowed=f"0 to {self.sizes[slot] - 1}",
            )
        return rows.astype(np.intp, copy=False)


def _check_range(tables: Tables) -> None:
    """Refuses tables from which a cost could pass what int64 holds."""
    most, params = NOTHING, 0
    for level in tables.levels:
        # In Python's own ints, and without parameters, which are taken off a peak again.
        largest = Sums(*(int(field.max()) for field in level.sums))
        most, params = join(most, largest._replace(params=0)), params + largest.params
    most = most._replace(params=params)
    spent = price(most, int(tables.images.max()), int(tables.classes.max()), tables.workload)
    if max(spent.known().values()) > _LARGEST:
        raise too_large()


def too_large() -> UserError:
    """The error for numbers that int64 does not hold."""
    return UserError(
        "networks of this space cost more than 2^63, which cannot be counted many at once",
        hint="take smaller resolutions, widths or batches",
    )
