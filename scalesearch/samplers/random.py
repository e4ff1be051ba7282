"""Draws architectures at random."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.samplers import BaseSampler

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.interfaces import Space
from scalesearch.samplers._whole_space import Proposals, draw_feasible


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Every architecture within the limits is equally likely, and no other is proposed.

    Equal chances for each choice would give neither. A limit on latency is not seen: only a worker
    or a table of the machine knows it.
    """

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial."""
        return Proposals(space, lambda number: draw_feasible(space, seed, number, limits, workload))
