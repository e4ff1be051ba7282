"""Regularised evolution (Real et al. 2019): the young live, the best of some has a child."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from optuna.samplers import BaseSampler

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.errors import UserError
from scalesearch.interfaces import Space
from scalesearch.samplers._history import History
from scalesearch.samplers._whole_space import FromHistory


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A child differs from its parent in one stage (or neck, stem, head, resolution).

    In a list of networks where none does it is one that differs in the fewest parameters. Children
    are within the limits on counted costs, and new while there are others. Of two objectives the
    parent is one that the fewest others dominate.

    Attributes:
        population: assessed networks that are alive, the youngest; as many are drawn at first.
        sample: of these, among which the best is the parent; at most `population`.
    """

    population: Annotated[int, Ge(2)] = 25
    sample: Annotated[int, Ge(1)] = 8

    def __post_init__(self) -> None:
        if self.sample > self.population:
            raise UserError(
                f"{self.sample} of a population of {self.population} cannot be compared",
                key="sample",
                allowed=f"at most {self.population}",
            )

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial, or for a whole study of Optuna's own."""
        return FromHistory(space, seed, limits, workload, self._child)

    def _child(self, history: History, random: np.random.Generator) -> np.ndarray:
        if len(history.rows) < self.population and len(history.known) < 2 * self.population:
            return history.fresh(random)
        alive = np.arange(len(history.rows))[-self.population :]
        if not len(alive):
            return history.fresh(random)
        drawn = random.permutation(alive)[: self.sample]
        parent = drawn[int(history.fronts()[drawn].argmin())]
        children = history.beside(history.rows[parent], random)
        return children[0] if len(children) else history.fresh(random)
