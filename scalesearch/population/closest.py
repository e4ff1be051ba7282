"""The network of a space that comes closest to limits which nothing, or hardly anything, meets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scalesearch.cost.cost import ADDITIVE
from scalesearch.cost.limits import Limits, violations
from scalesearch.errors import UserError
from scalesearch.population.counting import least_row, parts_of
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
    sure: bool


def over(tables: Tables, limits: Limits, rows: Rows) -> np.ndarray:
    """The largest violation of each network, float [n]: 0 or less is within every limit."""
    shares: Mapping[str, Any] = violations(tables.cost(rows), limits)
    return np.max(list(shares.values()), axis=0)


def closest(tables: Tables, limits: Limits, listable: int) -> Closest:
    """The closest network: of all in a space of at most `listable`, or where walks lead.

    Walks start from networks with the least (or most) of each limited cost and from the best of
    some drawn at random; they change one slot at a time, to what is least over, until nothing is.
    """
    if tables.size <= listable:
        chunks = (_best(tables, limits, rows) for rows in tables.every())
        return min(chunks, key=lambda each: each.over)._replace(sure=True)
    extremes = []
    for name, limit in limits.items():
        parts = parts_of(tables, name)
        extremes += [least_row(tables, parts)] if limit.max is not None else []
        extremes += [least_row(tables, [-p for p in parts])] if limit.min is not None else []
    drawn = tables.uniform(_DRAWS, np.random.default_rng(0))
    order = over(tables, limits, drawn).argsort(kind="stable")[:_WALKS]
    walks = (_walk(tables, limits, row) for row in (*extremes, *drawn[order]))
    best = min(walks, key=lambda each: each.over)
    return best._replace(sure=len(extremes) == 1 and limits.keys() <= set(ADDITIVE))


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
    return Closest(rows[first], float(violated[first]), False)


def _neighbours(tables: Tables, row: np.ndarray) -> Rows:
    """The network itself, and those that differ from it in one slot."""
    rows = [row[None]]
    for slot, size in enumerate(tables.sizes):
        positions = np.unique(np.linspace(0, size - 1, min(size, _MOST_NEIGHBOURS)).astype(np.intp))
        changed = np.repeat(row[None], len(positions), axis=0)
        changed[:, slot] = positions
        rows.append(changed)
    return np.concatenate(rows)
