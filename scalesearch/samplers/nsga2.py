"""NSGA-II (Deb et al. 2002): a genetic algorithm for one or two objectives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limits
from scalesearch.history.jobs import seed_for
from scalesearch.history.optuna_internals import reseed, select_elite
from scalesearch.interfaces import Choice, Space
from scalesearch.samplers._whole_space import WholeSpace, draw_feasible

Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Crosses and mutates the best trials of the generations before.

    A trial over a limit is worse than any within, and better the less it is over (Deb's rule of
    constrained domination). Infeasible trials count as members of their generation although they
    were never assessed, so the search finds its way back into the limits at no training cost.

    Attributes:
        population: trials of a generation; the first is drawn at random from within the limits.
        crossover: share of children that come from two parents rather than one.
        mutation: share of choices drawn again in a child; by default one choice on average.
    """

    population: Annotated[int, Ge(2)] = 20
    crossover: Share = 0.9
    mutation: Share | None = None

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial: generations and parents are read from the study's trials."""
        draw = partial(draw_feasible, space, seed, limits=limits, workload=workload)
        return _Nsga2(self, space, seed, draw)


class _Nsga2(WholeSpace, NSGAIISampler):
    """Optuna's, but a trial's generation is its place in the history instead of a mark on it.

    So trials that come from a record count as parents, and nothing must be stored beside them.
    """

    def __init__(
        self, options: Sampler, space: Space, seed: int, draw: Callable[[int], dict[str, Choice]]
    ) -> None:
        super().__init__(
            population_size=options.population,
            crossover_prob=options.crossover,
            mutation_prob=options.mutation,
            seed=seed,
        )
        self._space, self._draw, self._seed = space, draw, seed
        self._size = options.population

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """An architecture at random in the first generation, then a child of two different ones."""
        generation = self.get_trial_generation(study, trial)
        if generation == 0 or len(self.get_parent_population(study, generation)) < 2:
            return self._draw(trial.number)
        reseed(self, seed_for(self._seed, "propose", trial.number))
        child = super().sample_relative(study, trial, search_space)
        # Optuna leaves choices that mutate to be drawn later; here all are known together.
        random = np.random.default_rng([self._seed, trial.number])
        drawn = {n: c[int(random.integers(len(c)))] for n, c in self._space.parameters.items()}
        return self._space.nearest({name: child.get(name, drawn[name]) for name in drawn})

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        """How many whole populations came before."""
        return len(_members(study)) // self._size

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The best of all earlier generations, no parameters twice: first within the limits."""
        different: dict[tuple[Any, ...], tuple[FrozenTrial, float]] = {}
        for member, violation in _members(study)[: generation * self._size]:
            different.setdefault(tuple(sorted(member.params.items())), (member, violation))
        within = [member for member, violation in different.values() if violation == 0]
        over = sorted((pair for pair in different.values() if pair[1] > 0), key=itemgetter(1))
        best = select_elite(self, study, within) if within else []
        return best + [member for member, _ in over[: self._size - len(best)]]


def _members(study: Study) -> list[tuple[FrozenTrial, float]]:
    """Assessed and infeasible trials by number, and how far each is over its limits in all.

    Failed and stopped ones are not parents.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    violations = (sum(over for over in t.constraints.values() if over > 0) for t in finished)
    return [
        (trial, violation)
        for trial, violation in zip(finished, violations, strict=True)
        if trial.state == TrialState.COMPLETE or violation > 0
    ]
