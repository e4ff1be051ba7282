"""Which networks of a population are known already."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from scalesearch.population.tables import Rows


def keys(rows: Rows) -> frozenset[bytes]:
    """What tells each network from all others."""
    return frozenset(row.tobytes() for row in np.ascontiguousarray(rows, np.intp))


def without(rows: Rows, known: Collection[bytes]) -> Rows:
    """The networks that are not among the known ones, each once, in the order they came."""
    new: dict[bytes, int] = {}
    for position, row in enumerate(np.ascontiguousarray(rows, np.intp)):
        if (key := row.tobytes()) not in known:
            new.setdefault(key, position)
    return rows[np.array([*new.values()], np.intp)]
