"""What all samplers share: they propose every parameter of a space at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.history.jobs import seed_for
from scalesearch.interfaces import Choice, Space
from scalesearch.samplers._history import History, parameters_of


class WholeSpace(BaseSampler):
    """Base of an Optuna sampler of a known space: proposals are relative from the first on.

    Optuna would infer the space from earlier trials, of which a new study has none.
    """

    _space: Space

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Each parameter to its categorical distribution, in the order of the space."""
        return {name: CategoricalDistribution(c) for name, c in self._space.parameters.items()}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Never needed: a parameter that the space does not have is the caller's mistake."""
        raise KeyError(f"{param_name!r} is not a parameter of the space")


class Proposals(WholeSpace):
    """Proposes what `propose` gives for a trial's number, whatever came before."""

    def __init__(self, space: Space, propose: Callable[[int], dict[str, Choice]]) -> None:
        self._space, self._propose = space, propose

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All parameters together."""
        return self._propose(trial.number)


class FromHistory(WholeSpace):
    """Proposes the row that `choose` gives for the trials before, with a generator of its own."""

    def __init__(
        self,
        space: Space,
        seed: int,
        limits: Limits,
        workload: Workload,
        choose: Callable[[History, np.random.Generator], np.ndarray],
    ) -> None:
        self._space, self._seed, self._limits, self._workload = space, seed, limits, workload
        self._choose = choose

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All parameters together."""
        history = History.read(study, trial.number, self._space, self._limits, self._workload)
        random = np.random.default_rng([self._seed, trial.number])
        return parameters_of(self._space, self._choose(history, random))


def draw_feasible(
    space: Space, seed: int, number: int, limits: Limits, workload: Workload
) -> dict[str, Choice]:
    """The parameters of one network within the limits, each network equally likely.

    Another one for each number of a trial, so that one sampler serves a whole study.
    """
    own = seed_for(seed, "draw", number)
    return parameters_of(space, space.within(limits, workload).draw(1, own)[0])
