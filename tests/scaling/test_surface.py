"""The response surface: what it recovers, predicts, leaves out, and refuses."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.optimize import brentq

import scalesearch as ss
from scalesearch.errors import UserError
from scalesearch.scaling.evidence import Evidence
from scalesearch.scaling.forms import forms
from scalesearch.scaling.surface import fit_forms
from tests.scaling.tables import (
    MOBILENET_V1,
    MOBILENET_V2,
    NOISE,
    best_of,
    bowl,
    power_laws,
    triples,
)

V2_WIDTH, V2_SIDE, V2_MACS, V2_TOP1 = MOBILENET_V2.T
TABLES = {"v2": (V2_WIDTH, V2_SIDE, V2_TOP1), "v1": MOBILENET_V1.T}


def evidence_of(logs, errors, **more):
    names = ("depth", "width", "resolution")
    columns = dict(zip(names, np.exp(logs).T, strict=True))
    return Evidence.of(errors, {n: c for n, c in columns.items() if np.ptp(c) > 0}, **more)


def fitted(logs, errors, **more):
    names = ("depth", "width", "resolution")
    columns = zip(names, np.exp(logs).T, strict=True)
    return ss.fit_surface(errors, **{n: c for n, c in columns if np.ptp(c) > 0}, **more)


def test_power_laws_are_recovered_from_wide_grids_off_centre():
    """Parabolas through the same points are off, though there is no noise."""
    truth = power_laws(0.1, (0.08, 0.07, 0.09), (0.6, 1.3, 1.1))
    values = np.log([0.5, 1.0, 2.0, 4.0])
    logs = np.array([(0.0, width, side) for width in values for side in values + 0.5])
    # Where what a share of FLOPs gains by width is what it gains by resolution.
    budget = np.log(2) / 2

    def slope(width):
        gains = 0.07 * 1.3 * np.exp(-1.3 * width), 0.09 * 1.1 * np.exp(-1.1 * (budget - width))
        return gains[0] - gains[1]

    best = np.exp(brentq(slope, 0, budget))
    response = fitted(logs, truth(logs))
    assert response.surface.name == "sum of power laws"
    assert response.best["beta"] == pytest.approx(best, abs=1e-3)
    assert response.surface.leave_one_out < 1e-6
    columns = [np.ones(len(logs)), *logs.T[1:], *logs.T[1:] ** 2, logs[:, 1] * logs[:, 2]]
    parabola = np.linalg.lstsq(np.stack(columns, 1), np.log(truth(logs)), rcond=None)[0]
    width = np.linspace(0, budget, 1000)
    side = budget - width
    line = np.stack([np.ones(1000), width, side, width**2, side**2, width * side], 1)
    assert abs(np.exp(width[(line @ parabola).argmin()]) - best) > 0.02


@pytest.mark.parametrize("centre", [(0.35, 0.3, 0.35), (-0.2, 0.6, 0.6), (0.0, 0.9, 0.1)])
def test_triples_at_one_budget_without_noise(centre):
    truth, logs = bowl(centre, 0.12), triples()
    response = fitted(logs, truth(logs))
    assert response.evidence.at_one_budget
    assert list(response.best.values()) == pytest.approx(best_of(truth), abs=0.02)


def test_shrinking():
    truth = power_laws(0.1, (0.08, 0.07, 0.09), (0.6, 1.3, 1.2))
    values = np.log([1.0, 0.77, 0.6])
    logs = np.array([(a, b, c) for a in values for b in values for c in values])
    response = fitted(logs, truth(logs), budget=0.5)
    assert list(response.best.values()) == pytest.approx(best_of(truth, 0.5), abs=5e-3)
    assert max(response.best.values()) <= 1


@cache
def leave_one_out(table):
    """Root mean square in points of predictions by everything but the row, choice included."""
    width, side, top1 = TABLES[table]
    logs = np.log(np.stack([np.ones(len(width)), width / width.mean(), side / 160], 1))
    errors, off = 1 - top1 / 100, []
    for row in range(len(errors)):
        others = np.arange(len(errors)) != row
        surface = fit_forms(evidence_of(logs[others], errors[others]))
        off.append(surface.errors(logs[[row], 1:])[0] - errors[row])
    return 100 * np.sqrt(np.mean(np.square(off)))


def quadratic_leave_one_out(table):
    """The same of a quadratic of log error by ordinary least squares."""
    width, side, top1 = TABLES[table]
    x, y, errors = np.log(width), np.log(side), 1 - top1 / 100
    design = np.stack([np.ones(len(x)), x, y, x**2, y**2, x * y], 1)
    off = []
    for row in range(len(errors)):
        others = np.arange(len(errors)) != row
        terms = np.linalg.lstsq(design[others], np.log(errors[others]), rcond=None)[0]
        off.append(np.exp(design[row] @ terms) - errors[row])
    return 100 * np.sqrt(np.mean(np.square(off)))


def test_published_networks_are_predicted_better_than_by_a_quadratic_of_log_error():
    for table in TABLES:
        ours, theirs = leave_one_out(table), quadratic_leave_one_out(table)
        assert ours < 0.9 * theirs, (ours, theirs)


def test_leave_one_out_errors_agree_with_refits():
    surface = fitted(
        np.log(np.stack([np.ones(22), V2_WIDTH / 0.5, V2_SIDE / 128], 1)), 1 - V2_TOP1 / 100
    ).surface
    refits = leave_one_out("v2")
    assert 100 * surface.leave_one_out == pytest.approx(refits, rel=0.1)


def test_mobilenet_v2_doubled_at_counted_flops():
    logs = np.log(np.stack([np.ones(22), V2_WIDTH / 0.5, V2_SIDE / 128], 1))
    response = fitted(logs, 1 - V2_TOP1 / 100, growth=V2_MACS / 32, fitted_cost=True)
    best, powers = response.best, response.evidence.exponents
    assert best["beta"] ** powers[0] * best["gamma"] ** powers[1] == pytest.approx(2)
    # FLOPs of 69 M at width .75 and of 71 M at 192 pixels: 63.2 and 63.9 are published.
    predicted = response.predict(width=[1.5, 1.0], resolution=[1.0, 1.5])
    assert 100 * predicted == pytest.approx([63.2, 63.9], abs=0.6)
    # A quadratic of log error says 1.29 and 1.16.
    assert best["beta"] == pytest.approx(1.29, abs=0.05)
    assert best["gamma"] == pytest.approx(1.16, abs=0.05)
    assert response.flat
    assert response.coefficients.growth == 2.0


def test_a_failed_training_is_left_out():
    truth, logs = bowl((0.35, 0.3, 0.35), 0.12), triples()
    errors = truth(logs) + np.random.default_rng(0).normal(0, NOISE, len(logs))
    sound = fitted(logs, errors)
    assert sound.surface.failed == ()
    for row in (0, 7, len(logs) - 1):
        worse = errors.copy()
        worse[row] += 0.12
        response = fitted(logs, worse)
        assert response.surface.failed == (row,)
        assert "left out as a failed training: it is 1" in " ".join(response.lines)
        assert response.best["alpha"] == pytest.approx(sound.best["alpha"], abs=0.1)


def test_a_failed_training_among_few_leaves_simpler_forms():
    width, side = np.array([1, 1.5, 2, 1, 1.5, 2, 1.0]), np.array([1, 1, 1, 1.5, 1.5, 1.5, 2.0])
    errors = 0.3 * width**-0.3 * side**-0.4 + 0.0005 * np.array([1, -1, 1, -1, 1, -1, 0])
    errors[4] += 0.2
    response = ss.fit_surface(errors, width=width, resolution=side)
    assert response.surface.failed == (4,)
    assert all(each.freedom >= 1 for each in response.surface.candidates)


def test_flops_that_differ_are_corrected_for():
    """Deeper triples have more FLOPs than nominal: uncorrected, depth looks better than it is."""
    truth, logs = bowl((0.35, 0.3, 0.35), 0.12), triples()
    growth = 2 * np.exp(0.5 * logs[:, 0] + np.random.default_rng(1).normal(0, 0.1, len(logs)))
    errors = truth(logs) * np.exp(-0.3 * np.log(growth / 2))
    expected = best_of(truth)
    corrected, plain = fitted(logs, errors, growth=growth), fitted(logs, errors)
    assert corrected.best["alpha"] == pytest.approx(expected[0], abs=0.05)
    assert plain.best["alpha"] > expected[0] + 0.05


def test_weights_count_as_repeats():
    logs = np.log(np.stack([np.ones(22), V2_WIDTH / 0.5, V2_SIDE / 128], 1))
    errors, weights = 1 - V2_TOP1 / 100, np.where(np.arange(22) % 3 == 0, 3, 1)
    one = evidence_of(logs, errors, weights=weights)
    many = evidence_of(np.repeat(logs, weights, 0), np.repeat(errors, weights))
    for form in forms(2, False, False):
        weighted = form.fit(one.inputs, one.errors, one.weights)
        repeated = form.fit(many.inputs, many.errors, many.weights)
        assert np.repeat(weighted.fitted, weights) == pytest.approx(repeated.fitted, abs=1e-5)


def test_limits_are_kept():
    truth, logs = bowl((0.35, 0.3, 0.35), 0.12), triples()
    limits = {"alpha": (1.0, 1.1), "gamma": (1.2, 1.3)}
    best = fitted(logs, truth(logs), limits=limits).best
    assert best["alpha"] <= 1.1 + 1e-9
    assert 1.2 - 1e-9 <= best["gamma"] <= 1.3 + 1e-9
    assert best["alpha"] * best["beta"] ** 2 * best["gamma"] ** 2 == pytest.approx(2)


def test_beyond_the_results_is_said():
    """Only small growth was trained, and the best is asked for at twice the FLOPs."""
    truth = power_laws(0.1, (0.08, 0.07, 0.09), (0.6, 1.3, 1.1))
    values = np.log([1.0, 1.08, 1.17])
    logs = np.array([(a, b, c) for a in values for b in values for c in values])
    response = fitted(logs, truth(logs))
    assert response.outside
    assert any("lie beyond the networks" in line for line in response.lines)
    with pytest.raises(UserError, match=r"no row comes near 16 times"):
        fitted(logs, truth(logs), budget=16.0)


def test_one_dimension():
    width = np.array([0.5, 0.75, 1.0, 1.3, 1.4, 2.0, 2.8])
    errors = 0.2 + 0.2 * width**-0.7
    response = ss.fit_surface(errors, width=width)
    assert response.best == {"beta": pytest.approx(2**0.5)}
    assert 1 - response.accuracy == pytest.approx(0.2 + 0.2 * 2**-0.35, abs=1e-3)
    assert response.comparisons == ()
    assert "only width varies: within a budget there is nothing to choose" in response.lines


MISTAKES = {
    "the shape": ({"errors": [[0.1, 0.2]]}, r"errors: has the shape \(1, 2\)"),
    "lengths": ({"width": [1, 2]}, r"width: 2 values for 6 rows"),
    "percent": ({"errors": [30.0] * 6}, r"errors: 30 in row 1\n  allowed: shares .*\n  divide"),
    "constant": ({"errors": [0.3] * 6}, r"errors: all are 0.3: nothing can be learnt"),
    "one value": ({"depth": [1.0] * 6}, r"depth: there is one distinct value, 1 times the base's"),
    "negative": ({"width": [1, 2, -3, 4, 5, 6]}, r"width: -3 in row 3\n  allowed: numbers above 0"),
    "words": ({"width": list("abcdef")}, r"width: holds something else than numbers"),
    "budget 1": ({"budget": 1.0}, r"budget: 1.0 cannot be used"),
    "budget 0": ({"budget": 0.0}, r"budget: 0.0 cannot be used"),
    "draws": ({"draws": 3}, r"draws: 3 are too few"),
    "limits": ({"limits": {"beta": (1, 1.1), "gamma": (1, 1.1)}}, r"no coefficients within"),
    "contradiction": ({"limits": {"beta": (1.2, 1.1)}}, r"limits.beta: 1.2 to 1.1 holds nothing"),
    "unknown limit": ({"limits": {"alpha": (1, 2)}}, r"limits.alpha: this coefficient does not"),
    "noise": ({"noise": 3.0}, r"noise: 3.0 is no standard deviation"),
    "cost": ({"fitted_cost": True}, r"growth: the cost of each row is missing"),
    "networks": ({"networks": [1, 2]}, r"networks: 2 values for 6 rows"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case):
    changes, message = MISTAKES[case]
    sound = {
        "errors": [0.40, 0.36, 0.33, 0.35, 0.32, 0.28],
        "width": [1, 1.5, 2, 1, 1.5, 2],
        "resolution": [1, 1, 1, 1.5, 1.5, 1.5],
    }
    with pytest.raises(UserError, match=message):
        ss.fit_surface(**sound | changes)


def test_too_few_networks_and_dimensions_that_vary_together():
    four = {"depth": [1, 2, 1, 1], "width": [1, 1, 2, 1], "resolution": [1, 1, 1, 2]}
    errors = [0.3, 0.28, 0.27, 0.29]
    with pytest.raises(UserError, match="4 different networks for the 4 terms of the simplest"):
        ss.fit_surface(errors, **four)
    known = ss.fit_surface(errors, **four, noise=0.003)
    assert any("too few networks to see diminishing returns" in line for line in known.lines)
    grown = np.linspace(1, 3, 9)
    with pytest.raises(UserError, match="the rows do not tell the dimensions apart"):
        ss.fit_surface(0.3 / grown, width=grown, resolution=grown, noise=0.01)


def test_another_budget_than_that_of_all_rows():
    logs = triples()
    with pytest.raises(UserError, match=r"budget: all rows are at about 2\.\d+ times"):
        fitted(logs, bowl((0.3, 0.3, 0.4), 0.1)(logs), budget=4.0)
