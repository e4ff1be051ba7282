"""Sampling that proposes all parameters of a trial at once, whatever came before."""

from __future__ import annotations

import abc
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from scalesearch.interfaces import Choice, Space
from scalesearch.samplers._distributions import distributions


class Fixed(BaseSampler):
    """Proposes what `propose` gives for the trial's number; a subclass says what."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @abc.abstractmethod
    def propose(self, number: int) -> dict[str, Choice]:
        """The parameters of trial `number`."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space, from the first trial on."""
        return distributions(self._space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All parameters together."""
        return self.propose(trial.number)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Infeasible: a parameter that the space does not have is a fault of the caller."""
        raise KeyError(f"{param_name!r} is no parameter of the space")
