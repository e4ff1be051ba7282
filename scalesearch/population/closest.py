"""The network of a space that comes closest to limits which nothing, or hardly anything, meets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scalesearch.cost.cost import ADDITIVE
from scalesearch.cost.limits import Limits, violations
from scalesearch.errors import UserError
from scalesearch.population.counting import added, least_row
from scalesearch.population.tables import Rows, Tables

_DRAWS, _WALKS = 5_000, 10
_MOST_NEIGHBOURS = 1_000  # by one slot


class Closest(NamedTuple):
    """A network that is least over its limits.

    Attributes:
        row: int [slots].
        over: its largest violation: 0 or less is within every limit.
        sure: no network of the space is less over; otherwise none was found.
    """

    row: np.ndarray
    over: float
    sure: bool = False


def over(tables: Tables, limits: Limits, rows: Rows) -> np.ndarray:
    """The largest violation of each network, float [n]: 0 or less is within every limit."""
    shares: Mapping[str, Any] = violations(tables.cost(rows), limits)
    return np.max(list(shares.values()), axis=0)


def closest(tables: Tables, limits: Limits, listable: int) -> Closest:
    """The closest network: of all in a space of at most `listable`, or where walks lead.

    Walks start from the networks with the least (or most) of each limited cost and from the best of
    some random ones. They change one slot at a time, to what is least over, until nothing is.
    """
    if tables.size <= listable:
        best_of_chunks = (_best(tables, limits, rows) for rows in tables.every())
        return min(best_of_chunks, key=lambda best: best.over)._replace(sure=True)
    extremes = [
        least_row(tables, [sign * part for part in added(tables, name)])
        for name, limit in limits.items()
        for sign, end in ((1, limit.max), (-1, limit.min))
        if end is not None
    ]
    drawn = tables.uniform(_DRAWS, np.random.default_rng(0))
    starts = drawn[over(tables, limits, drawn).argsort(kind="stable")[:_WALKS]]
    walks = (_walk(tables, limits, row) for row in (*extremes, *starts))
    # The extreme of one cost that is a sum cannot be improved.
    sure = len(extremes) == 1 and limits.keys() <= set(ADDITIVE)
    return min(walks, key=lambda walk: walk.over)._replace(sure=sure)


def none_within(tables: Tables, limits: Limits, near: Closest, proven: bool) -> UserError:
    """The error for limits that nothing meets, or nothing that was found."""
    cost = tables.cost(near.row[None])
    shares: Mapping[str, Any] = violations(cost, limits)
    worst = max(shares, key=lambda key: shares[key][0])
    name, _, end = worst.partition(".")
    problem = (
        "nothing in the space can meet the limits"
        if proven
        else "nothing was found within the limits"
    )
    return UserError(
        f"{problem}: the closest network{'' if near.sure else ' found'} has {name} "
        f"{getattr(cost, name)[0]:,}, and {worst} is {getattr(limits[name], end):,.10g}",
        key="limits",
        hint="loosen the limits or give the space smaller (or larger) choices",
    )


def _walk(tables: Tables, limits: Limits, row: np.ndarray) -> Closest:
    here = _best(tables, limits, row[None])
    while here.over > 0:
        there = _best(tables, limits, _neighbours(tables, here.row))
        if there.over >= here.over:
            break
        here = there
    return here


def _best(tables: Tables, limits: Limits, rows: Rows) -> Closest:
    violated = over(tables, limits, rows)
    first = int(violated.argmin())
    return Closest(rows[first], float(violated[first]))


def _neighbours(tables: Tables, row: np.ndarray) -> Rows:
    """The networks that differ from one in one slot at most."""
    neighbours = []
    for slot, size in enumerate(tables.sizes):
        positions = np.arange(0, size, -(-size // _MOST_NEIGHBOURS))
        changed = np.repeat(row[None], len(positions), axis=0)
        changed[:, slot] = positions
        neighbours.append(changed)
    return np.concatenate(neighbours)
