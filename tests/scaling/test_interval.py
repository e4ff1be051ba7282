"""Intervals of the best coefficients: noise, resampling, and how often they cover the truth."""

from __future__ import annotations

import numpy as np
import pytest

import scalesearch as ss
from scalesearch.scaling.evidence import Evidence
from scalesearch.scaling.interval import draw
from scalesearch.scaling.surface import fit_forms
from tests.scaling.tables import NOISE, best_of, bowl, power_laws, triples

SIMULATIONS, DRAWS = 100, 200
ROUNDING = 1e-3  # of the truth, which is found on a grid
TRIPLES = triples()
SHARP = bowl((0.35, 0.3, 0.35), 0.3)


def once(errors, seed, logs=TRIPLES, seeds=1, outlier=False):
    """The response to one set of simulated trainings."""
    random = np.random.default_rng(seed)
    logs = np.repeat(logs, seeds, axis=0)
    measured = errors(logs) + random.normal(0, NOISE, len(logs))
    if outlier:
        measured[random.integers(len(logs))] += 0.12
    depth, width, resolution = np.exp(logs).T
    return ss.fit_surface(
        measured, depth=depth, width=width, resolution=resolution, draws=DRAWS, seed=seed
    )


FAMILIES = {
    "interior": {"errors": bowl((0.35, 0.3, 0.35), 0.12)},
    "at an edge": {"errors": bowl((0.0, 0.5, 0.5), 0.12)},
    "flat": {"errors": bowl((0.3, 0.4, 0.3), 0.01)},
    "one outlier": {"errors": bowl((0.35, 0.3, 0.35), 0.12), "outlier": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_95_percent_intervals_cover_the_truth(family, capsys):
    """Of 100 simulated grids 90 at least: a true 95 % gives fewer than 90 once in 35 times."""
    settings = FAMILIES[family]
    truth = best_of(settings["errors"])
    covered = []
    for seed in range(SIMULATIONS):
        intervals = once(seed=seed, **settings).intervals.values()
        pairs = zip(intervals, truth, strict=True)
        covered.append([e.low - ROUNDING <= value <= e.high + ROUNDING for e, value in pairs])
    counts = dict(zip(("alpha", "beta", "gamma"), np.sum(covered, axis=0).tolist(), strict=True))
    with capsys.disabled():
        print(f"\n{family}: of {SIMULATIONS} intervals cover the truth: {counts}")
    assert min(counts.values()) >= 90, counts


def test_an_interval_is_open_where_there_are_no_results():
    """The truth is depth alone, and no triple deepens by more than a half."""
    truth = power_laws(0.1, (0.2, 0.07, 0.09), (0.9, 1.3, 1.1))
    assert best_of(truth)[0] > 1.9
    response = once(truth, 0, logs=TRIPLES[TRIPLES[:, 0] < np.log(1.55)])
    assert response.best["alpha"] < 1.9
    assert response.intervals["alpha"].high > 1.9
    assert response.outside


def test_draws_spread_as_least_squares_says():
    """Standard errors of a polynomial's terms, times Student's t for the noise's freedom."""
    random = np.random.default_rng(0)
    logs = random.uniform(-0.5, 0.5, (40, 2))
    errors = 0.3 * np.exp(-0.2 * logs[:, 0] - 0.3 * logs[:, 1] + 0.2 * (logs**2).sum(1))
    columns = dict(zip(("width", "resolution"), np.exp(logs).T, strict=True))
    evidence = Evidence.of(errors + random.normal(0, 0.003, 40), columns)
    surface = fit_forms(evidence)
    drawn = draw(surface, 4000, seed=1)
    for candidate, parameters in zip(surface.candidates, drawn.parameters, strict=True):
        if candidate.form.name == "sum of power laws" or parameters.shape[1] < 500:
            continue
        projection = candidate.fit.projection
        expected = candidate.noise * np.sqrt((projection**2).sum(axis=1))
        expected *= np.sqrt(candidate.freedom / (candidate.freedom - 2))
        assert parameters.std(axis=1) == pytest.approx(expected, rel=0.12)
        center = candidate.fit.parameters
        assert parameters.mean(axis=1) == pytest.approx(center, abs=4 * expected.max() / 20)


def test_noise_comes_from_seeds_unless_networks_are_further_off():
    truth = bowl((0.35, 0.3, 0.35), 0.12)
    random = np.random.default_rng(3)
    logs = np.repeat(TRIPLES, 3, axis=0)
    seeds = random.normal(0, NOISE, len(logs))
    networks = np.repeat(random.normal(0, 3 * NOISE, len(TRIPLES)), 3)
    columns = dict(zip(("depth", "width", "resolution"), np.exp(logs).T, strict=True))
    plain = fit_forms(Evidence.of(truth(logs) + seeds, columns)).candidates[0]
    assert len(logs) - 7 <= plain.freedom <= len(logs) - 5
    assert plain.noise == pytest.approx(NOISE, rel=0.25)
    rough = fit_forms(Evidence.of(truth(logs) + seeds + networks, columns)).candidates[0]
    assert rough.freedom == len(TRIPLES) - rough.form.terms
    # Of the mean of three trainings: 3 times as much, and a third of the seeds' squares.
    assert rough.noise == pytest.approx(np.sqrt(3 * (9 + 1 / 3)) * NOISE, rel=0.35)


def test_the_same_seed_gives_the_same_interval_and_more_seeds_a_shorter_one():
    truth = bowl((0.35, 0.3, 0.35), 0.12)
    one, again, more = once(truth, 5), once(truth, 5), once(truth, 5, seeds=8)
    assert one.intervals == again.intervals
    width = {name: each.high - each.low for name, each in one.intervals.items()}
    for name, each in more.intervals.items():
        assert each.high - each.low < 0.7 * width[name]


def test_comparisons():
    """The truth differs between the best and single dimensions by points, of the paper's not."""
    truth = bowl((0.35, 0.3, 0.35), 0.12)
    response = once(truth, 6)
    against = {each.name: each for each in response.comparisons}
    assert set(against) == {"paper", "depth", "width", "resolution"}
    best = np.log(list(response.best.values()))[None]
    for name in ("depth", "width", "resolution"):
        logs = np.log(list(against[name].coefficients.values()))[None]
        gain = 100 * (truth(logs) - truth(best))[0]
        assert against[name].probability > 0.95
        assert against[name].interval.low <= gain <= against[name].interval.high
    paper = against["paper"]
    ratios = np.log(list(paper.coefficients.values())) / np.log([1.2, 1.1, 1.15])
    assert ratios == pytest.approx(np.full(3, np.log(2) / np.log(1.2 * 1.1**2 * 1.15**2)))
    assert paper.interval.low < 0.1
    assert paper.coefficients.keys() == response.best.keys()


def test_what_is_flat_is_called_flat():
    flat, sharp = once(bowl((0.3, 0.4, 0.3), 0.002), 0, seeds=20), once(SHARP, 0)
    assert flat.flat
    assert any(line.startswith("flat: anything in this region is within") for line in flat.lines)
    assert not sharp.flat
    assert any(line.startswith("the region that is within 0.1 points") for line in sharp.lines)
    for name, each in sharp.region.items():
        assert each.low <= sharp.best[name] <= each.high
