"""A space as Optuna's samplers see it: its choices, and networks drawn from it."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.interfaces import Choice, Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Each parameter to its categorical distribution, in the order of the space."""
    return {name: CategoricalDistribution(c) for name, c in space.parameters.items()}


def drawn(space: Space, seed: int, limits: Limits, workload: Workload) -> dict[str, Choice]:
    """The parameters of one network within the limits, each network equally likely."""
    return space.encode(space.feasible(limits, 1, seed, workload=workload)[0])
