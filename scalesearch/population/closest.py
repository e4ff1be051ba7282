"""The network of a space that comes closest to limits which nothing, or hardly anything, meets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scalesearch.cost.cost import ADDITIVE
from scalesearch.cost.limits import Limits, violations
from scalesearch.errors import UserError
from scalesearch.population.counting import added, least_row
from scalesearch.population.tables import Rows, Tables

_DRAWS, _WALKS = 5_000, 10
_MOST_NEIGHBOURS = 1_000  # by one slot


def over(tables: Tables, limits: Limits, rows: Rows) -> np.ndarray:
    """The largest violation of each network, float [n]: 0 or less is within every limit."""
    shares: Mapping[str, Any] = violations(tables.cost(rows), limits)
    return np.max(list(shares.values()), axis=0)


def closest(tables: Tables, limits: Limits, *, of_all: bool) -> Rows:
    """The network whose largest violation is the smallest: of all, or where walks lead; one row.

    Walks start from the networks with the least (or most) of each limited cost and from the best
    random ones. They change one slot at a time to what violates least, until nothing is better.
    """
    if of_all:
        return _best(tables, limits, [_best(tables, limits, [rows]) for rows in tables.every()])
    extremes = [
        least_row(tables, [sign * part for part in added(tables, name)])
        for name, limit in limits.items()
        for sign, end in ((1, limit.max), (-1, limit.min))
        if end is not None
    ]
    drawn = tables.uniform(_DRAWS, np.random.default_rng(0))
    best = over(tables, limits, drawn).argsort(kind="stable")[:_WALKS]
    starts = [row[None] for row in (*extremes, *drawn[best])]
    return _best(tables, limits, [_walk(tables, limits, row) for row in starts])


def none_within(
    tables: Tables, limits: Limits, row: Rows, *, proven: bool, of_all: bool
) -> UserError:
    """The error for limits that nothing meets, or nothing found; it names the closest `row`."""
    cost = tables.cost(row)
    shares: Mapping[str, Any] = violations(cost, limits)
    worst = max(shares, key=lambda key: shares[key][0])
    name, _, end = worst.partition(".")
    nothing = "in the space can meet the limits" if proven else "was found within the limits"
    # Walks start from the least of a cost, and no sum is less than that.
    found = "" if of_all or (len(shares) == 1 and name in ADDITIVE) else " found"
    return UserError(
        f"nothing {nothing}: the closest network{found} has {name} {getattr(cost, name)[0]:,}, "
        f"and {worst} is {getattr(limits[name], end):,.10g}",
        key="limits",
        hint="loosen the limits or give the space smaller (or larger) choices",
    )


def _walk(tables: Tables, limits: Limits, row: Rows) -> Rows:
    while True:
        better = _best(tables, limits, [row, *_neighbours(tables, row)])
        if np.array_equal(better, row):
            return row
        row = better


def _best(tables: Tables, limits: Limits, several: Sequence[Rows]) -> Rows:
    rows = np.concatenate(several)
    return rows[[over(tables, limits, rows).argmin()]]


def _neighbours(tables: Tables, row: Rows) -> Iterator[Rows]:
    """The networks that differ from one in one slot at most."""
    for slot, size in enumerate(tables.sizes):
        positions = np.arange(0, size, -(-size // _MOST_NEIGHBOURS))
        changed = row.repeat(len(positions), axis=0)
        changed[:, slot] = positions
        yield changed
