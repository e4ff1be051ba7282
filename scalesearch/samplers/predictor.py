"""Proposes what a model of all results expects most of: the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from scalesearch.cost.cost import COUNTED, Workload
from scalesearch.cost.limits import Limits
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice, Space
from scalesearch.population.candidates import Candidates
from scalesearch.population.known import keys, without
from scalesearch.population.tables import Rows
from scalesearch.prediction.encoding import Encoding, Points
from scalesearch.prediction.improvement import (
    expected_growth,
    expected_improvement,
    log_probability,
)
from scalesearch.prediction.model import Learner, Model, chosen_results
from scalesearch.samplers._history import parameters_of
from scalesearch.samplers._whole_space import WholeSpace

_SPREAD = 8  # draws of which the one farthest from all others is taken at the start
_PARENTS = 10  # best networks beside which candidates are looked for
_REFINED, _ROUNDS = 3, 2  # best candidates whose neighbours are candidates too
_LEAST = 1e-300
_MOST = 1e100  # of a value: what is not below it is no result
_OVER = 3.0  # violations above it are as bad as this


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Proposes the network from which most is expected, by a Gaussian process over all results.

    The process weighs how alike networks are in their choices, in the order of ordered ones, in
    pairs of choices of neighbouring stages, as wholes, and in their counted costs; the weights and
    the noise of results are fitted (`prediction/`). One objective takes the expected improvement on
    the best network's true value (Jones et al. 1998), two the expected growth of the front's
    hypervolume; a second objective that arithmetic gives is known, not modelled. Limits on counted
    costs are never violated; of measured ones the probability to be within them is modelled. What
    is under way counts as if it had the value that is expected, so that several workers try
    different networks, and no network is proposed twice while there are others.

    Attributes:
        startup: first trials, spread over the networks within the limits.
        candidates: networks within the limits that are compared for each proposal.
    """

    startup: Annotated[int, Ge(1)] = 10
    candidates: Annotated[int, Ge(10)] = 400
    # What was computed once for a space; nothing that the trials do not give again.
    _memories: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def make(self, space: Space, seed: int, limits: Limits, workload: Workload) -> BaseSampler:
        """A sampler for one trial, or for a whole study of Optuna's own."""
        key = id(space), workload
        if key not in self._memories:
            self._memories.clear()
            self._memories[key] = _Memory(space, workload)
        return _Predictor(self, space, seed, limits, self._memories[key])


class _Memory:
    """The encoding of a space, and what was read and fitted once."""

    def __init__(self, space: Space, workload: Workload) -> None:
        self.space, self.workload = space, workload  # the space is kept, so that its id is its own
        self.encoding = Encoding(space, workload)
        self.learner = Learner(self.encoding)
        self.names = tuple(space.parameters)
        self._rows: dict[tuple[Choice, ...], tuple[int, ...]] = {}

    def row(self, parameters: Mapping[str, Choice]) -> tuple[int, ...]:
        """The row of these parameters."""
        key = tuple([parameters[name] for name in self.names])
        if key not in self._rows:
            self._rows[key] = self.space.locate(parameters)
        return self._rows[key]


@dataclass(frozen=True, eq=False)
class _Results:
    """The trials that have parameters, in the order of their numbers.

    Attributes:
        rows: int [n, slots].
        values: of the objectives, all to be maximised; nan where there is none, float [n, 1 or 2].
        running: whether a trial is under way, bool [n].
        violations: of each limit that is measured; nan where it was not, float [n].
    """

    rows: Rows
    values: np.ndarray
    running: np.ndarray
    violations: Mapping[str, np.ndarray]

    @property
    def measured(self) -> np.ndarray:
        """Whether a trial has values, bool [n]."""
        return ~np.isnan(self.values[:, 0])


class _Predictor(WholeSpace):
    def __init__(
        self, options: Sampler, space: Space, seed: int, limits: Limits, memory: _Memory
    ) -> None:
        self._options, self._space, self._seed = options, space, seed
        self._limits, self._memory = limits, memory

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The proposal of the model, or at first what is farthest from all others."""
        results = self._read(study, trial.number)
        random = np.random.default_rng([self._seed, trial.number])
        feasible = self._space.within(self._limits, self._memory.workload)
        candidates = Candidates(feasible, self._space.chosen)
        known = keys(results.rows)
        drawn = without(candidates.drawn(self._options.candidates, random), known)
        if not len(drawn):  # nearly all are known
            every = feasible.every(feasible.tables.size)
            drawn = candidates.drawn(1, random) if every is None else without(every, known)
        if not len(drawn):
            row = candidates.drawn(1, random)[0]
        elif results.measured.sum() < min(self._options.startup, 2) or (
            len(results.rows) < self._options.startup
        ):
            row = self._farthest(drawn[:_SPREAD], results)
        else:
            row = _Choice(self._memory, results).best(drawn, candidates, known, random)
        return parameters_of(self._space, row)

    def _farthest(self, rows: Rows, results: _Results) -> np.ndarray:
        """The row that is least alike to the one that is most alike to it among the results."""
        if not len(results.rows):
            return rows[0]
        encoding = self._memory.encoding
        some, others = encoding.encode(rows), encoding.encode(results.rows)
        alike = encoding.covariance(np.ones(len(encoding.own(some[:1]))), some, others)
        nearest = (2 * alike - encoding.own(others).sum(axis=0)).max(axis=1)
        distance = encoding.own(some).sum(axis=0) - nearest
        return rows[int(distance.argmax())]

    def _read(self, study: Study, number: int) -> _Results:
        """What the study's trials say; a trial without all parameters says nothing."""
        signs = np.array([1 if d == StudyDirection.MAXIMIZE else -1 for d in study.directions])
        if len(signs) > 2:
            raise UserError(
                f"{len(signs)} objectives", key="sampler", allowed="one or two for `predictor`"
            )
        rows, values, running = [], [], []
        over: list[Mapping[str, float]] = []
        none = np.full(len(signs), np.nan)
        trials = study.get_trials(deepcopy=False)
        gains = _gains(trials) if len(signs) == 1 else {}
        for trial in trials:
            if trial.number == number or len(trial.params) < len(self._memory.names):
                continue
            rows.append(self._memory.row(trial.params))
            running.append(not trial.state.is_finished())
            constraints = {} if running[-1] else _measured_constraints(trial)
            over.append(constraints)
            within = max(constraints.values(), default=0) <= 0
            values.append(_values(trial, len(signs), gains) * signs if within else none)
        slots = len(self._space.tables(self._memory.workload).sizes)
        names = dict.fromkeys(name for each in over for name in each)
        found = np.array(values, float).reshape(len(rows), len(signs))
        found[~(np.abs(found) < _MOST).all(axis=1)] = np.nan
        return _Results(
            np.array(rows, np.intp).reshape(len(rows), slots),
            found,
            np.array(running, bool),
            {name: np.array([each.get(name, np.nan) for each in over]) for name in names},
        )


class _Choice:
    """The choice of one network by what the results say."""

    def __init__(self, memory: _Memory, results: _Results) -> None:
        self._memory, self._results = memory, results
        self._points = memory.encoding.encode(results.rows)
        self._cost_name = self._known_cost()
        self._model = self._believing(results.values[:, 0])
        self._costs: Model | None = None
        if results.values.shape[1] == 2 and not self._cost_name:
            self._costs = self._believing(results.values[:, 1])
        self._limits = [
            self._learned(np.minimum(over, _OVER)) for over in results.violations.values()
        ]
        # Of very many results those that the model is made of are the ones that matter.
        measured = np.flatnonzero(results.measured)
        self._counted = measured[chosen_results(results.values[measured, 0])]
        self._mean, _ = self._model.predict(self._points[self._counted])
        self._best = self._mean.max()
        self._front = self._front_of(self._mean)

    def best(
        self,
        drawn: Rows,
        candidates: Candidates,
        known: frozenset[bytes],
        random: np.random.Generator,
    ) -> np.ndarray:
        """The row of the network that is expected to add most."""
        number = len(drawn)
        parents = self._parents()
        more = [candidates.beside(parents, number // 2, random)]
        more.append(candidates.crossed(parents, number // 2, random))
        rows = without(np.concatenate([drawn, *more]), known)
        merit = self._merit(rows)
        for _ in range(_ROUNDS):
            top = rows[np.argsort(-merit, kind="stable")[:_REFINED]]
            near = without(candidates.beside(top, number // 2, random), known | keys(rows))
            if not len(near):
                break
            better = self._merit(near)
            rows, merit = np.concatenate([rows, near]), np.concatenate([merit, better])
        return rows[int(merit.argmax())]

    def _merit(self, rows: Rows) -> np.ndarray:
        """The logarithm of what each network is expected to add, if it is within the limits."""
        points = self._memory.encoding.encode(rows)
        mean, deviation = self._model.predict(points)
        if self._results.values.shape[1] == 2:
            gain = expected_growth(
                mean, deviation, self._cost_of(rows, points), self._front, self._worst
            )
        else:
            gain = expected_improvement(mean, deviation, np.array(self._best))
        if gain.max() < 1e-12:  # nothing is expected any more: what is least known
            gain = deviation * np.exp(np.minimum(mean - mean.max(), 0))
        merit = np.log(np.maximum(gain, _LEAST))
        for model in self._limits:
            over, spread = model.predict(points)
            bound = float(model.scale.forward(np.zeros(1))[0])
            merit = merit + log_probability(over - bound, spread)
        return merit

    def _learned(self, values: np.ndarray) -> Model:
        measured = ~np.isnan(values)
        return self._memory.learner.learn(self._points[measured], values[measured])

    def _believing(self, values: np.ndarray) -> Model:
        """The model of measured values, and of those expected of what is under way."""
        model = self._learned(values)
        running = self._results.running
        if not running.any():
            return model
        expected = model.scale.backward(model.predict(self._points[running])[0])
        believed = np.concatenate([values[~np.isnan(values)], expected])
        points = Points.join([self._points[~np.isnan(values)], self._points[running]])
        return self._memory.learner.with_weights(points, believed, model)

    def _known_cost(self) -> str:
        """The counted cost that the second objective is, if it is one."""
        if self._results.values.shape[1] < 2:
            return ""
        measured = self._results.measured
        wanted = -self._results.values[measured, 1]
        tables = self._memory.space.tables(self._memory.workload)
        costs = tables.cost(self._results.rows[measured]).known()
        for name, amounts in costs.items():
            if np.allclose(amounts, wanted, rtol=1e-9):
                return name
        return ""

    def _cost_of(self, rows: Rows, points: Points) -> np.ndarray:
        if self._costs is not None:
            mean: np.ndarray = -self._costs.scale.backward(self._costs.predict(points)[0])
            return mean
        tables = self._memory.space.tables(self._memory.workload)
        return np.asarray(tables.cost(rows).known()[self._cost_name], float)

    def _front_of(self, mean: np.ndarray) -> np.ndarray:
        """Expected value and cost of every measured network, float [n, 2]."""
        if self._results.values.shape[1] < 2:
            return np.zeros((0, 2))
        costs = -self._results.values[self._counted, 1]
        self._worst = float(mean.min()), float(costs.max())
        return np.stack([mean, costs], axis=1)

    def _parents(self) -> Rows:
        """The best networks, or those of the front."""
        rows, mean = self._results.rows[self._counted], self._mean
        if not len(self._front):
            return rows[np.argsort(-mean, kind="stable")[:_PARENTS]]
        order = np.lexsort((-mean, self._front[:, 1]))
        best = np.maximum.accumulate(mean[order])
        on_front = order[np.append(True, best[1:] > best[:-1])]
        return rows[on_front]


def _measured_constraints(trial: FrozenTrial) -> dict[str, float]:
    """How far a trial is over each limit that arithmetic does not know."""
    constraints: Mapping[str, float] = trial.constraints
    return {k: over for k, over in constraints.items() if k.partition(".")[0] not in COUNTED}


def _gains(trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """By how much a value at the end is above the score at each step, in the median.

    Scores at a rung are of shorter trainings, of fewer or smaller images, and no rewards.
    """
    gains: dict[int, list[float]] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE and len(trial.values) == 1:
            for step, score in trial.intermediate_values.items():
                gains.setdefault(step, []).append(trial.values[0] - score)
    return {step: float(np.median(each)) for step, each in gains.items()}


def _values(trial: FrozenTrial, number: int, gains: Mapping[int, float]) -> np.ndarray:
    """The values of a finished trial; of one that was stopped early what its last score foretells.

    That is the score and what others gained from that step on; nothing while none went on.
    """
    if trial.state == TrialState.COMPLETE:
        return np.array(trial.values, float)
    curve = trial.intermediate_values
    if trial.state == TrialState.PRUNED and number == 1 and curve:
        return np.array([curve[max(curve)] + gains.get(max(curve), np.nan)])
    return np.full(number, np.nan)
