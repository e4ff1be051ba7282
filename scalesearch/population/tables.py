"""What many networks of a space cost at once: tables of their parts, added up by NumPy.

What a part of a network (stem, stage, head) costs depends on what it is and on a small *prefix
state* of the parts before it. Each part is counted once from every different state that reaches it
(`space_tables.py`); a population costs a gather and a few sums for each part.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from scalesearch.cost.composition import NOTHING, BlockCost, join, price
from scalesearch.cost.cost import COUNTED, Cost, Workload
from scalesearch.errors import UserError

Rows = np.ndarray  # int [n, slots]: for each network the position of its value in every slot
_CHUNK = 4_096  # networks whose sums stay in a processor's cache
_MANY = 65_536  # rows of a space that is gone through
_MOST_CELLS = 1_000_000  # of a level's table: some twenty seconds
_LARGEST = 2**63 - 1


@dataclass(frozen=True, eq=False, slots=True)
class Level:
    """One or several slots: what each of their choices adds, from each state before them.

    Attributes:
        columns: of the rows, which the level reads: those of its slots with several values.
        choices: of each of these; a level's own choice counts through them, the last one fastest.
        costs: what each choice adds, int64 [states, choices] or 0 for each field.
        after: the state that follows, intp [states, choices].
    """

    columns: tuple[int, ...]
    choices: tuple[int, ...]
    costs: BlockCost
    after: np.ndarray

    @classmethod
    def make(
        cls,
        slots: Sequence[int],
        sizes: Sequence[int],
        followed: Sequence[Sequence[tuple[BlockCost, Hashable]]],
    ) -> tuple[Level, list[Any]]:
        """A level, and the states behind it.

        Args:
            slots: numbers of the slots that it reads.
            sizes: how many values each slot of the space has.
            followed: for each state and choice what the choice adds, and the state that follows.
        """
        positions: dict[Hashable, int] = {}
        after = [[positions.setdefault(s, len(positions)) for _, s in row] for row in followed]
        try:
            costs = np.array([[cost for cost, _ in row] for row in followed], np.int64)
        except OverflowError:
            raise too_large() from None
        fields = (np.ascontiguousarray(field) for field in np.moveaxis(costs, 2, 0))
        several = tuple(slot for slot in slots if sizes[slot] > 1)
        level = cls(
            columns=several,
            choices=tuple(sizes[slot] for slot in several),
            costs=BlockCost(*(field if field.any() else 0 for field in fields)),
            after=np.array(after, np.intp),
        )
        return level, list(positions)

    def chosen(self, rows: Rows) -> np.ndarray:
        """The level's own choice in each row, intp [n]."""
        choice = np.zeros(len(rows), np.intp)
        for column, choices in zip(self.columns, self.choices, strict=True):
            choice *= choices
            choice += rows[:, column]
        return choice

    def follow(self, state: np.ndarray, choice: np.ndarray) -> tuple[BlockCost, np.ndarray]:
        """What the level adds to each network, and the state behind it; arrays [n]."""
        at = state * self.after.shape[1] + choice
        costs = (each if isinstance(each, int) else each.take(at) for each in self.costs)
        return BlockCost(*costs), self.after.take(at)

    def assign(self, rows: Rows, choice: np.ndarray) -> None:
        """Writes the level's own choices into the columns that it reads."""
        if self.columns:
            for column, positions in zip(
                self.columns, np.unravel_index(choice, self.choices), strict=True
            ):
                rows[:, column] = positions


@dataclass(frozen=True, eq=False)
class Tables:
    """Everything that the networks of a space can add to a cost under one workload.

    Attributes:
        sizes: how many values each slot has.
        levels: in forward order; there is one state before the first, and one at the end.
    """

    sizes: tuple[int, ...]
    levels: tuple[Level, ...]
    workload: Workload

    def __post_init__(self) -> None:
        # In Python's own ints: a cost could pass what int64 holds.
        most = NOTHING
        for level in self.levels:
            most = join(most, BlockCost(*(int(np.max(field)) for field in level.costs)))
        if max(price(most, self.workload).known().values()) > _LARGEST:
            raise too_large()

    @cached_property
    def size(self) -> int:
        """How many networks there are, exactly."""
        return math.prod(self.sizes)

    def every(self) -> Iterator[Rows]:
        """The rows of all networks, many at a time, the last slot varying fastest."""
        for start in range(0, self.size, _MANY):
            position = np.arange(start, min(start + _MANY, self.size))
            rows = np.empty((len(position), len(self.sizes)), np.intp)
            for slot in reversed(range(len(self.sizes))):
                position, rows[:, slot] = np.divmod(position, self.sizes[slot])
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
            total, state = NOTHING, np.zeros(len(rows[chunk]), np.intp)
            for level in self.levels:
                added, state = level.follow(state, level.chosen(rows[chunk]))
                total = join(total, added, np.maximum)
            for name, values in price(total, self.workload, np.maximum).known().items():
                costs[name][chunk] = values
        return Cost(**costs)

    def _checked(self, rows: Rows) -> Rows:
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != len(self.sizes) or rows.dtype.kind not in "iu":
            raise UserError(
                f"an array of {rows.dtype} {list(rows.shape)} is not a population of this space",
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


@dataclass(frozen=True, eq=False)
class ListTables(Tables):
    """The costs of networks in a list, which is one slot: they are known and not added up.

    Attributes:
        costs: fields are int64 arrays [networks], or 0 where a cost is not known.
    """

    costs: Cost

    def __post_init__(self) -> None:
        """Nothing is added up that could be too large."""

    @classmethod
    def of(cls, number: int, costs: Cost, workload: Workload) -> ListTables:
        """The tables of so many networks."""
        return cls((number,), (), workload, costs)

    def cost(self, rows: Rows) -> Cost:
        """The costs of the networks at these positions, as from `Tables.cost`."""
        position = self._checked(rows)[:, 0]
        known: Mapping[str, Any] = self.costs.known()
        return Cost.of_columns({name: amounts[position] for name, amounts in known.items()})


def check_cells(name: str, states: int, choices: int) -> None:
    """Rejects a table that would take minutes to make."""
    if states * choices > _MOST_CELLS:
        raise UserError(
            f"{choices:,} choices behind {states:,} states are too many to be counted",
            key=name,
            allowed=f"{_MOST_CELLS:,} in all",
            hint="list fewer widths or resolutions, or the stages you mean as `options`",
        )


def too_large() -> UserError:
    """The error for numbers that int64 does not hold."""
    return UserError(
        "networks of this space cost more than 2^63, which cannot be counted many at once",
        hint="take smaller resolutions, widths or batches",
    )
