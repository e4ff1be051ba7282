"""The model of results: against SciPy, simulation and refits; nothing against itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from scalesearch.cost.cost import Workload
from scalesearch.prediction.encoding import KINDS, Encoding
from scalesearch.prediction.improvement import expected_growth, expected_improvement
from scalesearch.prediction.model import Learner, chosen_results, fitted_number
from scalesearch.prediction.process import Process, Weights, fit_weights
from scalesearch.prediction.regression import Regression, cross_validated
from scalesearch.prediction.values import Scale
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.spaces.pool import Pool

SPACE = BackboneSpace.from_plain(
    {
        "stages": [
            {"block": ["mbconv", "identity"], "width": [8, 16], "kernel": [3, 5], "se": [0]},
            {"width": [16, 24, 32], "expand": [1, 2, 4], "depth": [1, 2, 3]},
        ]
    }
)
WORDS = Pool(
    choices_of={"op1": ("a", "b", "c"), "op2": ("a", "b", "c")},
    networks=tuple((x, y) for x in "abc" for y in "abc"),
)


def drawn(space, n, seed=0):
    return space.tables(Workload()).uniform(n, np.random.default_rng(seed))


def test_words_have_no_order_and_numbers_have():
    encoded = Encoding(WORDS, Workload()).encode(np.arange(9)[:, None])
    assert encoded.order.shape == (9, 0)
    assert encoded.costs.shape == (9, 0)
    # op1 differs, op2 is the same: one place in two; both differ: two.
    distance = ((encoded.places[0] - encoded.places) ** 2).sum(axis=1)
    assert distance.tolist() == pytest.approx([0, 1, 1, 1, 2, 2, 1, 2, 2])
    assert Encoding(SPACE, Workload()).encode(drawn(SPACE, 5)).order.shape == (5, 6)


def test_a_choice_that_a_block_does_not_read_changes_nothing():
    """An identity has no kernel: both combinations are one network, and are encoded alike."""
    base = next(p for p in SPACE.points() if p["stage1.block"] == "identity")
    rows = np.array([SPACE.locate(base), SPACE.locate({**base, "stage1.kernel": 5})])
    encoded = Encoding(SPACE, Workload()).encode(rows)
    assert (encoded.choices[0] == encoded.choices[1]).all()


@pytest.mark.parametrize("space", [SPACE, WORDS], ids=["backbones", "words"])
def test_similarities_are_covariances(space):
    encoding = Encoding(space, Workload())
    points = encoding.encode(drawn(space, 60))
    similar = encoding.similarities(points, points)
    assert similar.shape == (len(KINDS), 60, 60)
    for kind, own in zip(similar, encoding.own(points), strict=True):
        assert np.linalg.eigvalsh(kind.astype(float)).min() > -1e-4 * max(1, np.trace(kind))
        assert np.diag(kind) == pytest.approx(own, abs=1e-4)


def test_the_likelihood_is_scipys_and_weights_raise_it():
    encoding = Encoding(SPACE, Workload())
    points = encoding.encode(drawn(SPACE, 40))
    values = np.random.default_rng(1).standard_normal(40) * 0.1 + points.order[:, 0]
    values = (values - values.mean()) / values.std()

    def likelihood(weights):
        covariance = encoding.covariance(weights.kinds, points, points).astype(float)
        covariance += (weights.noise + 1e-3) * np.eye(40)
        return multivariate_normal(np.zeros(40), covariance).logpdf(values)

    flat = Weights(np.full(len(KINDS), 0.1), 0.05)
    assert likelihood(fit_weights(encoding, points, values)) > likelihood(flat) + 5


def test_a_process_predicts_as_the_conditional_normal_does():
    encoding = Encoding(SPACE, Workload())
    rows = np.unique(drawn(SPACE, 40), axis=0)
    points = encoding.encode(rows)
    values = np.random.default_rng(0).standard_normal(len(rows))
    weights = Weights(np.linspace(0.1, 0.5, len(KINDS)), 0.2)
    seen, new = slice(0, 20), slice(20, None)
    both = encoding.covariance(weights.kinds, points, points).astype(float)
    noisy = both[seen, seen] + 0.201 * np.eye(20)
    gain = both[new, seen] @ np.linalg.inv(noisy)
    mean, deviation = Process.given(encoding, points[seen], values[seen], weights).predict(
        points[new]
    )
    assert mean == pytest.approx(gain @ values[seen], abs=1e-3)
    variance = np.diag(both[new, new] - gain @ both[seen, new])
    assert deviation == pytest.approx(np.sqrt(np.maximum(variance, 0)), abs=5e-3)


def test_what_is_left_out_is_predicted_as_by_a_refit():
    encoding = Encoding(SPACE, Workload())
    points = encoding.encode(np.unique(drawn(SPACE, 25), axis=0))
    values = np.random.default_rng(2).standard_normal(len(points))
    weights = Weights(np.full(len(KINDS), 0.2), 0.1)
    mean, _ = Process.given(encoding, points, values, weights).left_out()
    for out in range(0, len(points), 5):
        others = np.delete(np.arange(len(points)), out)
        refit = Process.given(encoding, points[others], values[others], weights)
        assert refit.predict(points[[out]])[0][0] == pytest.approx(mean[out], abs=1e-3)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_a_scale_rises_and_comes_back(values):
    values = np.array(values)
    scale = Scale.of(values)
    forward = scale.forward(values)
    assert np.isfinite(forward).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(forward[order]) >= -1e-9).all()
    assert scale.backward(forward) == pytest.approx(values, rel=1e-6, abs=1e-6 * np.ptp(values))


@given(st.floats(-3, 3), st.floats(0.05, 3), st.floats(-3, 3))
@settings(max_examples=30)
def test_expected_improvement_is_the_mean_of_draws(mean, deviation, best):
    draws = norm.ppf((np.arange(20_000) + 0.5) / 20_000, mean, deviation)
    wanted = np.maximum(draws - best, 0).mean()
    found = expected_improvement(np.array([mean]), np.array([deviation]), np.array(best))[0]
    assert found == pytest.approx(wanted, abs=2e-3)


def test_expected_growth_is_the_mean_of_added_areas():
    random = np.random.default_rng(0)
    front = np.array([[0.2, 1.0], [0.5, 2.0], [0.9, 4.0]])
    worst = (0.0, 5.0)

    def area(points):
        grid = np.linspace(0, 5, 1001)[:-1] + 0.0025
        best = [max([v for v, c in points if c <= x], default=0) for x in grid]
        return np.maximum(best, 0).sum() / 200

    for mean, deviation, cost in ((0.6, 0.2, 1.5), (0.1, 0.3, 0.5), (1.0, 0.1, 4.5)):
        draws = random.normal(mean, deviation, 200)
        base = area(front)
        wanted = np.mean([area([*front, (d, cost)]) - base for d in draws])
        found = expected_growth(
            np.array([mean]), np.array([deviation]), np.array([cost]), front, worst
        )[0]
        assert found == pytest.approx(wanted, rel=0.2, abs=0.02)


def test_models_of_many_results_keep_the_best():
    values = np.random.default_rng(0).standard_normal(2000)
    kept = chosen_results(values)
    assert len(kept) == len(set(kept.tolist())) <= 300
    assert set(np.argsort(-values)[:100].tolist()) <= set(kept.tolist())
    assert [fitted_number(n) for n in (2, 3, 10, 100)] == sorted(
        fitted_number(n) for n in (2, 3, 10, 100)
    )
    assert all(fitted_number(n) <= n < 1.3 * fitted_number(n) + 1 for n in range(2, 500))


def test_a_model_learns_what_decides():
    """The depth of stage 2 and the kernel of stage 1 decide, with noise: unseen ones are ranked."""
    rows = np.concatenate([*SPACE.tables(Workload()).every()])
    order = np.random.default_rng(0).permutation(len(rows))
    rows = rows[order]
    points = [SPACE.encode(SPACE.at(row)) for row in rows]
    truth = np.array([p["stage2.depth"] + 0.5 * (p["stage1.kernel"] == 5) for p in points])
    noisy = truth + 0.1 * np.random.default_rng(1).standard_normal(len(truth))
    learner = Learner(Encoding(SPACE, Workload()))
    model = learner.learn(learner.encoding.encode(rows[:40]), noisy[:40])
    mean, _ = model.predict(learner.encoding.encode(rows[40:]))
    assert np.corrcoef(mean, truth[40:])[0, 1] > 0.95
    quality = cross_validated(SPACE, Workload(), rows, noisy, 5)
    assert quality.tau > 0.7
    assert quality.r2 > 0.9
    fit = Regression.fit(SPACE, Workload(), rows, noisy)
    assert fit.noise == pytest.approx(0.1, abs=0.05)
