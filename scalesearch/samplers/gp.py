"""Optuna's Gaussian process: expected improvement over a Matérn kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.history.jobs import seed_for
from scalesearch.history.optuna_internals import LenientGPSampler, reseed
from scalesearch.interfaces import Space
from scalesearch.samplers._history import History
from scalesearch.samplers._whole_space import WholeSpace


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Optuna's `GPSampler`, every parameter a category.

    It learns from assessed trials alone, not from stopped or infeasible ones: how far those are
    within each limit is modelled by a process of its own, and the probability to be within all
    limits multiplies the expected improvement, or with two objectives the expected growth of the
    front's hypervolume. A proposal that is over a limit on counted costs, or was made before,
    gives way to a random new network within the limits. A proposal takes a fifth of a second at
    50 trials, seconds beyond 500; `predictor` is faster and knows what networks are.

    Attributes:
        startup: trials drawn at random from within the limits before the first proposal.
        deterministic: results are taken to have no noise.
    """

    startup: Annotated[int, Ge(2)] = 10
    deterministic: bool = False

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial: what it knows it reads from the study's trials."""
        return _Gp(self, space, seed, limits, workload)


class _Gp(WholeSpace, LenientGPSampler):
    def __init__(
        self, options: Sampler, space: Space, seed: int, limits: Limits, workload: Workload
    ) -> None:
        super().__init__(
            seed=seed,
            n_startup_trials=options.startup,
            deterministic_objective=options.deterministic,
        )
        self._options, self._space, self._seed = options, space, seed
        self._limits, self._workload = limits, workload

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A new architecture at random while there are few results, then the process's choice."""
        history = History.read(study, trial.number, self._space, self._limits, self._workload)
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) >= self._options.startup:
            reseed(self, seed_for(self._seed, "propose", trial.number))
            varied = {name: d for name, d in search_space.items() if not d.single()}
            if proposed := super().sample_relative(study, trial, varied):
                fixed = {n: c[0] for n, c in self._space.parameters.items() if n not in varied}
                both = fixed | proposed
                near = self._space.nearest({name: both[name] for name in self._space.parameters})
                row = np.array([self._space.locate(near)], np.intp)
                if len(history.unknown(history.candidates.within(row))):
                    return near
        random = np.random.default_rng([self._seed, trial.number])
        return history.parameters(history.fresh(random))
