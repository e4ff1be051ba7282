"""Draws architectures at random."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.samplers import BaseSampler

from scalesearch.interfaces import Choice, Space
from scalesearch.samplers._fixed import Fixed


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Every architecture of the space is equally likely, which equal choices would not give."""

    def make(self, space: Space, seed: int) -> BaseSampler:
        """A sampler for one trial."""
        return _Random(space, seed)


class _Random(Fixed):
    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(space)
        self._seed = seed

    def propose(self, number: int) -> dict[str, Choice]:
        return self._space.encode(self._space.sample(self._seed))
