"""Tables of thousands of rows: the same numbers as row by row, in seconds."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import nnls

import scalesearch as ss
from scalesearch.scaling import forms
from scalesearch.scaling.evidence import Evidence, corners
from scalesearch.scaling.interval import _chunks
from tests.scaling.tables import power_laws

TRUTH = power_laws(0.1, (0.08, 0.1, 0.1), (0.8, 1.1, 1.2))


def rows(count, seed=0):
    random = np.random.default_rng(seed)
    logs = random.uniform(0, 0.7, (count, 3))
    return logs, TRUTH(logs) + random.normal(0, 0.003, count)


def test_corners_of_a_cube_a_plane_a_line_and_a_point():
    places = np.stack(np.meshgrid(*3 * [[0.0, 0.5, 1.0]], indexing="ij"), -1).reshape(-1, 3)
    cube = {tuple(places[row]) for row in corners(places)}
    assert cube == {(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)}
    plane = places * [1, 1, 0]
    assert {tuple(plane[row]) for row in corners(plane)} == {
        (a, b, 0) for a in (0, 1) for b in (0, 1)
    }
    line = places[:, :1] * [1, 2, 3]
    assert {tuple(line[row]) for row in corners(line)} == {(0, 0, 0), (1, 2, 3)}
    assert corners(np.ones((4, 2))).tolist() == [0]


def test_distances_are_those_to_all_rows():
    logs, errors = rows(200)
    names = ("depth", "width", "resolution")
    evidence = Evidence.of(errors, dict(zip(names, np.exp(logs).T, strict=True)))
    scale = np.array([1, 2, 2]) / np.log(2)
    hull = np.vstack([(logs * scale).T, np.full(200, 1e3)])
    points = np.random.default_rng(1).uniform(-0.3, 1, (30, 3))
    everyone = [nnls(hull, np.append(point, 1e3))[1] for point in points * scale]
    np.testing.assert_allclose(evidence.distances(points), everyone, atol=1e-6)


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_a_power_law_of_sums_of_rows_is_that_of_rows(monkeypatch, weight):
    logs, errors = rows(500)
    weights = np.where(np.arange(500) % 7, weight, 0.0)
    form = forms.PowerLaw(3)
    changes = np.random.default_rng(2).normal(0, 0.003, (500, 20))
    found = {}
    for many in (100, 1000):
        monkeypatch.setattr(forms, "_MANY", many)
        fit = form.fit(logs, errors, weights)
        found[many] = fit.fitted, form.predict(form.refit(fit, logs, changes, weights), logs)
    for condensed, plain in zip(found[100], found[1000], strict=True):
        np.testing.assert_allclose(condensed, plain, atol=2e-5)


def test_draws_are_refitted_in_parts():
    assert _chunks(1000, 1000) == [1000]
    assert _chunks(250, 10_000) == [100, 100, 50]
    assert _chunks(0, 5) == [0]


def test_thousands_of_rows_with_failed_trainings_take_seconds():
    logs, errors = rows(3000)
    failed = np.arange(5, 3000, 100)
    errors[failed] = 0.9
    depth, width, resolution = np.exp(logs).T
    start = time.process_time()
    found = ss.fit_surface(errors, depth=depth, width=width, resolution=resolution)
    assert time.process_time() - start < 30
    assert set(failed) <= set(found.surface.failed)
    assert len(found.surface.failed) < 35
    logs = np.log([[found.best[name] for name in ("alpha", "beta", "gamma")]])
    assert found.accuracy == pytest.approx(1 - TRUTH(logs)[0], abs=5e-4)
