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
from scalesearch.interfaces import Choice, Space
from scalesearch.population.closest import over
from scalesearch.samplers._whole_space import WholeSpace, draw_feasible


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Optuna's `GPSampler`, every parameter a category.

    It learns from assessed trials alone, not from stopped or infeasible ones: how far those are
    within each limit is modelled by a process of its own, and the probability to be within all
    limits multiplies the expected improvement, or with two objectives the expected growth of the
    front's hypervolume. A proposal over a limit on counted costs gives way to a random network
    within the limits. A proposal takes a fifth of a second at 50 trials, seconds
    beyond 500; `predictor` is faster and knows what networks are.

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
        """An architecture at random while there are few results, then the process's choice."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < self._options.startup:
            return self._drawn(trial.number)
        reseed(self, seed_for(self._seed, "propose", trial.number))
        varied = {name: d for name, d in search_space.items() if not d.single()}
        proposed = dict(super().sample_relative(study, trial, varied))
        if not proposed:  # no trial is left that says anything
            return self._drawn(trial.number)
        fixed = {name: c[0] for name, c in self._space.parameters.items() if name not in varied}
        near = self._space.nearest({n: (fixed | proposed)[n] for n in self._space.parameters})
        feasible = self._space.within(self._limits, self._workload)
        row = np.array([self._space.locate(near)], np.intp)
        if feasible.limits and over(feasible.tables, feasible.limits, row)[0] > 0:
            return self._drawn(trial.number)
        return near

    def _drawn(self, number: int) -> dict[str, Choice]:
        return draw_feasible(self._space, self._seed, number, self._limits, self._workload)
