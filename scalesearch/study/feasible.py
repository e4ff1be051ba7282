"""How much of a space is within limits, and whether anything in it can meet them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scalesearch.arch.detector import Architecture
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.history.jobs import seed_for
from scalesearch.interfaces import Space
from scalesearch.population.feasible import Count


@dataclass(frozen=True, slots=True)
class Survey:
    """How much of a space is within limits, and what FLOPs it has.

    Attributes:
        size: networks of the space.
        within: how many of them are within every limit, but for one on latency.
        flops: of networks drawn uniformly from the whole space, ascending.
        flops_within: of networks within the limits: all of them, or some drawn uniformly.
        typical: a network of median FLOPs among those.
    """

    size: int
    within: Count
    flops: tuple[int, ...]
    flops_within: tuple[int, ...]
    typical: Architecture


def survey(
    space: Space, limits: Limits, workload: Workload, samples: int = 10_000, seed: int = 0
) -> Survey:
    """Counts what is within limits, and draws `samples` networks of the whole space.

    Raises:
        UserError: nothing is within the limits; with the network that comes closest.
    """
    tables, feasible = space.tables(workload), space.within(limits, workload)
    drawn = tables.uniform(samples, np.random.default_rng(seed_for(seed, "survey", 0)))
    rows = feasible.look()
    flops = np.broadcast_to(tables.cost(rows).flops, len(rows))
    order = flops.argsort(kind="stable")
    return Survey(
        tables.size,
        feasible.count(),
        tuple(np.sort(np.broadcast_to(tables.cost(drawn).flops, len(drawn))).tolist()),
        tuple(flops[order].tolist()),
        space.at(rows[order[len(order) // 2]]),
    )


def require_feasible(space: Space, limits: Limits, workload: Workload) -> None:
    """Raises if nothing in the space can meet the limits, or nothing that can be found.

    Raises:
        UserError: with the network that comes closest.
    """
    space.within(limits, workload).look()
