"""Costs as sums over the levels of a space, and what that says of the networks in it.

flops, flops_total, params and activations *are* such sums. A memory cost is the largest of several
sums; one of them bounds it from below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalesearch.cost.sums import NOTHING, Sums, price
from scalesearch.population.tables import Tables

EXACT = ("flops", "flops_total", "params", "activations")
# Fields of `Sums` that add up over blocks; of the others the largest counts.
_ADDED = ("flops", "flops_total", "params", "activations", "norms", "norm_width", "copies", "saved")
_MUCH = 10**9  # bytes saved, so many that the sum with them is the largest


@dataclass(frozen=True, eq=False, slots=True)
class Additive:
    """A sum over levels that a cost is equal to, or never below.

    Any table of a whole number for each state and choice can be one, also what is measured:
    nanoseconds are whole.

    Attributes:
        base: what every network has.
        parts: what each choice adds from each state, int64 [states, choices] for each level.
        peaks: by how much at least the cost is above the sum where a network has this choice.
        exact: the sum is the cost.
    """

    base: int
    parts: tuple[np.ndarray, ...]
    peaks: tuple[np.ndarray, ...]
    exact: bool

    def negative(self) -> Additive:
        """The sum with its sign turned round; only of an exact one, as a bound would turn too."""
        return Additive(-self.base, tuple(-part for part in self.parts), self.peaks, self.exact)


def additive(tables: Tables, name: str) -> Additive:
    """A cost of the networks of a space as a sum, or a sum that bounds it from below.

    The weights of each field of `Sums` in that sum are what the cost grows by in a place where the
    sum is the largest. As a cost is a maximum of sums, what holds there is a bound everywhere.
    """
    here = NOTHING._replace(saved=_MUCH)

    def spent(sums: Sums = here, image: int = 0, classes: int = 0) -> int:
        return getattr(price(sums, image, classes, tables.workload), name)

    def weight(field: str) -> int:
        return spent(here._replace(**{field: getattr(here, field) + 1})) - spent()

    weights = {field: weight(field) for field in _ADDED}
    parts = [_weighted(Sums(*level.sums), weights) for level in tables.levels]
    parts[0] = parts[0] + tables.images * (spent(image=1) - spent())
    parts[0] = parts[0] + tables.classes * (spent(classes=1) - spent())
    peaks = [_weighted(Sums(*level.sums), {"live": weight("live")}) for level in tables.levels]
    base = spent() - _MUCH * weights["saved"]
    return Additive(base, tuple(parts), tuple(peaks), name in EXACT)


def _weighted(sums: Sums, weights: dict[str, int]) -> np.ndarray:
    fields: dict[str, Any] = sums._asdict()
    return sum((w * fields[name] for name, w in weights.items()), np.zeros_like(sums.flops))


def least(tables: Tables, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The smallest sum from each state of each level to the end, int64 [states]; at last zeros."""
    ends = [np.zeros(1, np.int64)]
    for level, part in zip(reversed(tables.levels), reversed(parts), strict=True):
        ends.append((part + ends[-1][level.after]).min(axis=1))
    return ends[::-1]


def least_row(tables: Tables, parts: Sequence[np.ndarray]) -> np.ndarray:
    """A network whose sum is the smallest of all, int [slots]."""
    row = np.zeros(len(tables.sizes), np.intp)
    ends, state = least(tables, parts), 0
    for level, part, end in zip(tables.levels, parts, ends[1:], strict=True):
        choice = (part[state] + end[level.after[state]]).argmin()
        for column, position in level.split(choice):
            row[column] = position
        state = level.after[state, choice]
    return row
