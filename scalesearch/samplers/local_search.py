"""Local search: the neighbours of the best network, then those of the next best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from optuna.samplers import BaseSampler

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.interfaces import Space
from scalesearch.samplers._history import History
from scalesearch.samplers._whole_space import FromHistory

_LOOKED_AT = 20  # best networks whose neighbours are looked for


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Changes one choice of the best network, in random order (White et al. 2021).

    When all its neighbours were proposed it goes on from the next best network, so that a local
    optimum does not end the search, and after twenty of these from a random one. Of two objectives
    the front's members come first. In a list of networks the neighbours are the nearest ones.
    Proposals are within the limits on counted costs.

    Attributes:
        startup: networks that are drawn at random before.
    """

    startup: Annotated[int, Ge(1)] = 10

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial, or for a whole study of Optuna's own."""
        return FromHistory(space, seed, limits, workload, self._neighbour)

    def _neighbour(self, history: History, random: np.random.Generator) -> np.ndarray:
        if len(history.known) < self.startup or not len(history.rows):
            return history.fresh(random)
        # Of two objectives several are first: in random order, so that none is favoured.
        order = np.lexsort((random.random(len(history.rows)), history.fronts()))
        for position in order[:_LOOKED_AT]:
            near = history.neighbours(history.rows[position], random)
            if len(near):
                return near[0]
        return history.fresh(random)
