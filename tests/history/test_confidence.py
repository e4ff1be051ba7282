"""Means, errors and probabilities against hand arithmetic, SciPy, and simulated truths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scalesearch.history.confidence import confidence, fewest

FLOPS = [10, 20, 30, 40]


def test_means_and_errors_by_hand():
    """Sums of squares 2 and 8 over 2 + 2 degrees: variance 2.5, error of a mean of three."""
    found = confidence([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]], FLOPS[:2])
    assert found.means == (2.0, 4.0)
    assert (found.variance, found.freedom) == (2.5, 4)
    assert found.errors == pytest.approx([math.sqrt(2.5 / 3)] * 2)
    assert found.best == 1


def test_results_that_are_missing_count_less():
    """Squares 2 over 2 degrees and 0.5 over 1: 2.5 / 3; errors by each one's own number."""
    found = confidence([[1.0, 2.0, 3.0], [4.0, 5.0], [9.0], []], FLOPS)
    assert (found.variance, found.freedom) == (pytest.approx(2.5 / 3), 3)
    assert found.errors[:2] == pytest.approx([math.sqrt(2.5 / 9), math.sqrt(2.5 / 6)])
    assert found.errors[2:] == found.probabilities[2:] == (None, None)
    assert found.best == 1, "one lucky training is no mean"
    assert found.means[2] == 9.0
    assert math.isnan(found.means[3])


@pytest.mark.parametrize("counts", [(3, 3), (2, 2), (5, 2)])
@pytest.mark.parametrize("gap", [0.0, 0.4, 2.0])
def test_of_two_candidates_the_probability_is_that_of_a_t_test(counts, gap):
    random = np.random.default_rng(1)
    first, second = (random.normal(size=n) for n in counts)
    second = second - second.mean() + first.mean() + gap
    found = confidence([list(first), list(second)], FLOPS[:2])
    test = stats.ttest_ind(second, first, equal_var=True, alternative="greater")
    assert found.probabilities[1] == pytest.approx(1 - test.pvalue, abs=0.006)
    assert sum(found.probabilities) == pytest.approx(1)


def test_of_three_candidates_it_is_an_integral():
    """Over the shared variance and the value of one candidate, by SciPy's densities."""
    results = [[0.0, 1.0, 2.0], [1.0, 1.5, 2.5], [1.5, 2.0, 3.5]]
    found = confidence(results, FLOPS[:3])
    width = math.sqrt(found.variance / 3)
    scales = np.sqrt(found.freedom / stats.chi2.ppf((np.arange(400) + 0.5) / 400, found.freedom))
    x = np.linspace(-60, 60, 12001)
    spread = width * scales[:, None]
    others = [stats.norm.cdf(x, found.means[n], spread) for n in (0, 1)]
    density = stats.norm.pdf(x, found.means[2], spread) * others[0] * others[1]
    expected = float((density.sum(axis=1) * (x[1] - x[0])).mean())
    assert found.probabilities[2] == pytest.approx(expected, abs=0.006)


def test_the_same_results_have_the_same_probability():
    results = [[0.1, 0.3], [0.2, 0.3], [0.0, 0.1]]
    assert confidence(results, FLOPS[:3]) == confidence(results, FLOPS[:3])


def test_results_without_any_spread():
    found = confidence([[0.5, 0.5], [0.5, 0.5], [0.4, 0.4]], [30, 20, 10])
    assert found.probabilities == pytest.approx((0.5, 0.5, 0.0))
    assert found.best == 1, "fewer FLOPs break ties"
    assert found.close == (0, 1)


def test_close_is_one_standard_error_of_the_difference():
    """Each has variance 1 and two results: an error of the difference of sqrt(1/2 + 1/2) = 1."""
    half = math.sqrt(0.5)
    at = [[m - half, m + half] for m in (0.0, -0.99, -1.01, -3.0)]
    found = confidence(at, [40, 30, 20, 10])
    assert found.variance == pytest.approx(1)
    assert found.close == (0, 1)
    assert fewest(found.close, [40, 30, 20, 10]) == 1
    assert fewest([], FLOPS) is None


def test_one_candidate_is_compared_with_none():
    found = confidence([[0.5, 0.6], [0.9]], FLOPS[:2])
    assert found.probabilities == (None, None)
    assert found.best == 0
    alone = confidence([[], [0.4], [0.6]], FLOPS[:3])
    assert (alone.best, alone.close) == (2, ())
    assert confidence([[], []], FLOPS[:2]).best is None


def test_stated_probabilities_come_true():
    """Over 500 truths, wider apart than one training's noise: as often right as it is said."""
    random = np.random.default_rng(7)
    stated, right = [], []
    for _ in range(500):
        truth = random.normal(0, 4, 3)
        results = random.normal(truth[:, None], 1.0, (3, 3))
        found = confidence([list(each) for each in results], [1, 1, 1])
        stated.append(found.probabilities[found.best])
        right.append(found.best == truth.argmax())
    stated, right = np.array(stated), np.array(right)
    assert right.mean() == pytest.approx(stated.mean(), abs=0.03)
    unsure = stated < 0.9
    assert unsure.sum() > 50
    assert right[unsure].mean() == pytest.approx(stated[unsure].mean(), abs=0.12)
