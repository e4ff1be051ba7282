"""Whether anything in a space can meet the limits, and how much of it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scalesearch.arch.backbone import Backbone
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits, excess, worst
from scalesearch.errors import UserError
from scalesearch.history.jobs import seed_for
from scalesearch.interfaces import Space

_DRAWS, _WALKS = 1_000, 10
# A space of so many networks is gone through in about two seconds.
_COUNTABLE = 20_000


@dataclass(frozen=True, slots=True)
class Survey:
    """What a sample of a space looks like.

    Attributes:
        samples: networks drawn, uniformly.
        within: how many of them are within every limit.
        least: the smallest worst excess among them; 0 if any is within.
        typical: the network of median FLOPs among those within, or the closest to being so.
        flops: their FLOPs, ascending.
    """

    samples: int
    within: int
    least: float
    typical: Backbone
    flops: tuple[int, ...]

    @property
    def error(self) -> float:
        """Half the width of the share's 95 % interval (normal approximation, floor 3 / n)."""
        share = self.within / self.samples
        return max(1.96 * math.sqrt(share * (1 - share) / self.samples), 3 / self.samples)


def survey(
    space: Space, limits: Limits, workload: Workload, samples: int = 10_000, seed: int = 0
) -> Survey:
    """Draws networks of a space and holds them against the limits."""
    over = _measure(limits, workload)
    drawn = [space.sample(seed_for(seed, "survey", i)) for i in range(samples)]
    excesses = [over(network) for network in drawn]
    least = min(excesses)
    closest = [n for n, value in zip(drawn, excesses, strict=True) if value <= least]
    closest.sort(key=lambda network: cost(network).flops)
    flops = tuple(sorted(cost(network).flops for network in drawn))
    within = len(closest) if least <= 0 else 0
    return Survey(samples, within, max(0.0, least), closest[len(closest) // 2], flops)


def require_feasible(space: Space, limits: Limits, workload: Workload, seed: int) -> None:
    """Refuses limits that nothing in the space can meet.

    A space that can be gone through is, until a network is within. In a larger one networks are
    drawn; if none of 1,000 is within, the closest few are walked from to better neighbours, one
    parameter at a time, until none is better.

    Raises:
        UserError: with the smallest excess found.
    """
    over = _measure(limits, workload)
    best: Backbone | None = None
    exact = space.size <= _COUNTABLE
    candidates = map(space.decode, space.points()) if exact else _walks(space, over, seed)
    least = math.inf
    for network in candidates:
        if (value := over(network)) <= 0:
            return
        if value < least:
            best, least = network, value
    assert best is not None
    raise _infeasible(best, limits, workload, exact)


def _walks(space: Space, over: Callable[[Backbone], float], seed: int) -> Iterator[Backbone]:
    """Networks drawn at random, then where walks from the closest of them lead."""
    drawn = []
    for number in range(_DRAWS):
        drawn.append(space.sample(seed_for(seed, "feasible", number)))
        yield drawn[-1]
    for network in sorted(drawn, key=over)[:_WALKS]:
        yield _descend(space, network, over)


def _infeasible(best: Backbone, limits: Limits, workload: Workload, exact: bool) -> UserError:
    spent = cost(best, workload=workload)
    found = excess(spent, limits)
    bound = max(found, key=found.__getitem__)
    name = bound.split(".")[0]
    closest = "the closest network" if exact else "the closest network found"
    return UserError(
        f"nothing in the space can meet the limits: {closest} has {name} "
        f"{getattr(spent, name):,}, over {bound} by {found[bound]:.1%}",
        key="limits",
        hint="loosen the limits or give the space smaller (or larger) choices",
    )


def _descend(space: Space, network: Backbone, over: Callable[[Backbone], float]) -> Backbone:
    """The best network that changing one parameter after the other leads to."""
    here, value = space.encode(network), over(network)
    improved = True
    while improved and value > 0:
        improved = False
        for name, choices in space.parameters.items():
            for choice in choices:
                there = here | {name: choice}
                try:
                    candidate = space.decode(there)
                except UserError:  # no point of the space, as in a grid of triples
                    continue
                if (less := over(candidate)) < value:
                    here, value, network, improved = there, less, candidate, True
    return network


def _measure(limits: Limits, workload: Workload) -> Callable[[Backbone], float]:
    def over(network: Backbone) -> float:
        found = excess(cost(network, workload=workload), limits)
        return max(found.values(), default=0.0) if worst(found) > 0 else 0.0

    return over
