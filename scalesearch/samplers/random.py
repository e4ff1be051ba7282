"""Draws architectures at random."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.samplers import BaseSampler

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.interfaces import Choice, Space
from scalesearch.samplers._distributions import drawn
from scalesearch.samplers._fixed import Fixed


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Every architecture within the limits is equally likely, and no other is proposed.

    Equal chances for each choice would give neither. A limit on latency is not seen: only a worker
    or a table of the machine knows it.
    """

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial."""
        return _Random(space, drawn(space, seed, limits, workload))


class _Random(Fixed):
    def __init__(self, space: Space, proposal: dict[str, Choice]) -> None:
        super().__init__(space)
        self._proposal = proposal

    def propose(self, number: int) -> dict[str, Choice]:
        return self._proposal
