"""What the results of a search say: which choices matter, and what may still be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import kendalltau, spearmanr

from scalesearch.errors import UserError
from scalesearch.history.trials import Trial
from scalesearch.interfaces import Space
from scalesearch.population.candidates import Candidates
from scalesearch.population.known import keys, without
from scalesearch.population.tables import Rows
from scalesearch.prediction.encoding import Encoding
from scalesearch.prediction.model import Learner, Model, chosen_results
from scalesearch.report.learned import Effect, Learned
from scalesearch.study.inputs import searched_space

if TYPE_CHECKING:
    from scalesearch.study.schema import Search, Study

_FEWEST = 12  # results
_MOST = 1e100  # between the best and the worst of them
_RESAMPLES, _RIDGE = 200, 1.0
_CANDIDATES, _BEST = 2000, 10


def learned(study: Study, trials: Sequence[Trial]) -> Learned | None:
    """What a model of the search's results says; None where they are too few or all the same.

    The space is read again without the data set: its images change no parameter.
    """
    done = [trial for trial in trials if trial.state == "assessed"]
    values = np.array([trial.objective[0] for trial in done])
    if study.search is None or len(done) < _FEWEST or not 0 < np.ptp(values) < _MOST:
        return None
    try:
        space, _ = searched_space(study, None)
        rows = np.array([space.locate(trial.parameters) for trial in done], np.intp)
    except (UserError, OSError):  # the space's file or table is gone
        return None
    workload = study.search.evaluator.make().workload
    encoding = Encoding(space, workload)
    points = encoding.encode(rows)
    model = Learner(encoding).learn(points, values)
    kept = chosen_results(values)
    mean, deviation = model.process.left_out()
    middle, low, high = model.in_units(mean, deviation)
    measured = values[kept]
    tau = float(kendalltau(middle, measured).statistic)
    if np.isnan(tau):  # the model tells no network from another
        return None
    return Learned(
        measured=tuple(measured.tolist()),
        predicted=tuple(middle.tolist()),
        inside=float(((measured >= low) & (measured <= high)).mean()),
        spearman=float(spearmanr(middle, measured).statistic),
        tau=tau,
        bound=_bound(study.search, space, rows, values, model),
        effects=_effects(space, rows, values),
    )


def _bound(
    search: Search, space: Space, rows: Rows, values: np.ndarray, model: Model
) -> float | None:
    """How much better another network may be, at most, as the model believes (97.5 %).

    Of one objective. Among networks drawn within the limits and those beside the best ones.
    """
    if len(search.objective.directions) > 1:
        return None
    random, encoding = np.random.default_rng(0), model.process.encoding
    candidates = Candidates(space.within(search.limits, encoding.workload), space.chosen)
    best = rows[np.argsort(-values, kind="stable")[:_BEST]]
    others = [candidates.drawn(_CANDIDATES, random), candidates.beside(best, _CANDIDATES, random)]
    new = without(np.concatenate(others), keys(rows))
    if not len(new):
        return 0.0
    mean, deviation = model.predict(encoding.encode(new))
    _, _, high = model.in_units(mean, deviation)
    own, _ = model.predict(encoding.encode(best))
    return max(0.0, float(high.max() - model.scale.backward(own).max()))


def _effects(space: Space, rows: np.ndarray, values: np.ndarray) -> tuple[Effect, ...]:
    """The best and the worst choice of each parameter, by a linear model of all choices.

    Ridge regression on choices; intervals by resampling networks, 95 %.
    """
    chosen = space.chosen(rows)
    named = [(n, name) for n, name in enumerate(space.parameters) if len(set(chosen[:, n])) > 1]
    blocks = [np.eye(len(space.parameters[name]))[chosen[:, n]] for n, name in named]
    if not blocks:
        return ()
    matrix = np.concatenate(blocks, axis=1)
    ends = np.cumsum([0, *(block.shape[1] for block in blocks)])
    whole = _fitted(matrix, values)
    random = np.random.default_rng(0)
    draws = []
    for _ in range(_RESAMPLES):
        some = random.integers(0, len(values), len(values))
        draws.append(_fitted(matrix[some], values[some]))
    resampled = np.array(draws)
    found = []
    for (n, name), start in zip(named, ends[:-1], strict=True):
        choices = space.parameters[name]
        seen = sorted(set(chosen[:, n].tolist()), key=whole[start:].__getitem__)
        worst, best = seen[0], seen[-1]
        gaps = resampled[:, start + best] - resampled[:, start + worst]
        low, high = np.quantile(gaps, (0.025, 0.975)).tolist()
        gain = float(whole[start + best] - whole[start + worst])
        found.append(Effect(name, str(choices[best]), str(choices[worst]), gain, low, high))
    return tuple(sorted(found, key=lambda effect: -effect.gain))


def _fitted(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What each choice adds to the mean."""
    centred = values - values.mean()
    square = matrix.T @ matrix + _RIDGE * np.eye(matrix.shape[1])
    solved: np.ndarray = np.linalg.solve(square, matrix.T @ centred)
    return solved
