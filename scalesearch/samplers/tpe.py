"""Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from annotated_types import Ge
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.interfaces import Choice, Space
from scalesearch.samplers._distributions import distributions, drawn

_TOLD = (TrialState.COMPLETE, TrialState.PRUNED)
# Of n assessed trials a tenth count as good, 25 at most: Optuna's own rule.
_GOOD_SHARE, _MOST_GOOD = 10, 25


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Proposes what is likely among good trials and unlikely among the others.

    Attributes:
        startup: trials drawn at random from within the limits before the first proposal.
        candidates: drawn for each proposal, of which the best is taken.
        multivariate: choices are modelled together; on their own they cost ten times as much
            and miss what depends on two of them.
        constant_liar: trials still running count as poor, so that workers do not try the same.
    """

    startup: Annotated[int, Ge(1)] = 10
    candidates: Annotated[int, Ge(1)] = 24
    multivariate: bool = True
    constant_liar: bool = True

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial: what it knows it reads from the study's trials."""
        return _Tpe(self, space, seed, partial(drawn, space, seed, limits, workload))


class _Tpe(TPESampler):
    def __init__(
        self, options: Sampler, space: Space, seed: int, draw: Callable[[], dict[str, Choice]]
    ) -> None:
        super().__init__(
            n_startup_trials=options.startup,
            n_ei_candidates=options.candidates,
            multivariate=options.multivariate,
            constant_liar=options.constant_liar,
            seed=seed,
        )
        self._space, self._draw = space, draw
        self._startup, self._joint = options.startup, options.multivariate

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space: a sampler that lives for one trial need not find it in the others."""
        return distributions(self._space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """An architecture at random while there are few trials, then the estimator's choice."""
        told = study.get_trials(deepcopy=False, states=_TOLD)
        if len(told) < self._startup:
            return self._draw()
        assessed = sum(trial.state == TrialState.COMPLETE for trial in told)
        # Infeasible trials would swell the good share until every assessed trial fell into it, and
        # the estimator would tell allowed from infeasible but no longer good from poor.
        self._gamma = lambda every: min(-(-(assessed or every) // _GOOD_SHARE), _MOST_GOOD)
        varied = {name: d for name, d in search_space.items() if not d.single()}
        fixed = {name: self._space.parameters[name][0] for name in search_space.keys() - varied}
        if self._joint:
            return fixed | super().sample_relative(study, trial, varied)
        return fixed | {
            name: self.sample_independent(study, trial, name, d) for name, d in varied.items()
        }
