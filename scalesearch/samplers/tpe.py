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
from scalesearch.history.jobs import seed_for
from scalesearch.history.optuna_internals import reseed, set_number_of_good_trials
from scalesearch.interfaces import Choice, Space
from scalesearch.samplers._whole_space import WholeSpace, draw_feasible

# Of n assessed trials a tenth count as good, 25 at most: Optuna's own rule.
_GOOD_SHARE, _MOST_GOOD = 10, 25


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Proposes what is likely among good trials and unlikely among the others.

    An infeasible trial counts as a poor one, and among infeasible trials the smaller violation is
    the better: Optuna reads the constraints that `history/record.py` writes.

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
        draw = partial(draw_feasible, space, seed, limits=limits, workload=workload)
        return _Tpe(self, space, seed, draw)


class _Tpe(WholeSpace, TPESampler):
    def __init__(
        self, options: Sampler, space: Space, seed: int, draw: Callable[[int], dict[str, Choice]]
    ) -> None:
        super().__init__(
            n_startup_trials=options.startup,
            n_ei_candidates=options.candidates,
            multivariate=options.multivariate,
            constant_liar=options.constant_liar,
            seed=seed,
        )
        self._options, self._space, self._draw = options, space, draw
        self._seed = seed

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """An architecture at random while there are few trials, then the estimator's choice."""
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        finished = study.get_trials(deepcopy=False, states=states)
        if len(finished) < self._options.startup:
            return self._draw(trial.number)
        reseed(self, seed_for(self._seed, "propose", trial.number))
        assessed = sum(trial.state == TrialState.COMPLETE for trial in finished)
        # Infeasible trials would swell the good share until every assessed trial fell into it, and
        # the estimator would tell allowed from infeasible but no longer good from poor.
        set_number_of_good_trials(
            self, lambda every: min(-(-(assessed or every) // _GOOD_SHARE), _MOST_GOOD)
        )
        varied = {name: d for name, d in search_space.items() if not d.single()}
        fixed = {name: self._space.parameters[name][0] for name in search_space.keys() - varied}
        if self._options.multivariate:
            return self._near(fixed | super().sample_relative(study, trial, varied))
        # Optuna's own, as the base of all samplers here has none.
        one = TPESampler.sample_independent
        return self._near(fixed | {n: one(self, study, trial, n, d) for n, d in varied.items()})

    def _near(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """The network of the space that is proposed, or the nearest one of a list."""
        return self._space.nearest({name: proposed[name] for name in self._space.parameters})
