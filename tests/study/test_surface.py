"""The surface of a grid: of triples, of detectors' coefficients, and why there may be none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from scalesearch.arch.published import published
from scalesearch.cost.cost import Cost
from scalesearch.cost.counts import counts
from scalesearch.history.points import points
from scalesearch.history.trials import Trial
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.scale import scale
from scalesearch.study.surface import best_point, surface_of

B0, D0 = published("efficientnet_b0"), published("efficientdet_d0")
GRID = {"budget": 2.0, "phi": 1.0}
STEPS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0)
NOTHING = {"alpha": 1.0, "beta": 1.0, "neck_width": 1.0}
NOTHING |= {"neck_depth": 0.0, "head_depth": 0.0, "resolution": 0.0}
TRIPLE = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}
TRIPLES = [
    (a, b, c) for a, b, c in itertools.product(STEPS, repeat=3) if abs(a * b**2 * c**2 - 2) <= 0.15
]


def trial(number, parameters, score, flops=2_000, metric="accuracy"):
    cost = Cost(
        flops=flops, flops_total=1, params=1, activations=1, inference_bytes=1, training_bytes=1
    )
    return Trial(
        number=number,
        state="assessed",
        parameters=parameters,
        digest=f"{number}",
        cost=cost,
        scores={metric: score},
        curve={1: score},
    )


def triples(metric="accuracy", power=1.0):
    """Best where growth goes in shares .3, .4, .3 to depth, width and resolution."""
    made = []
    for number, (alpha, beta, gamma) in enumerate(TRIPLES):
        shares = np.log([alpha, beta**2, gamma**2]) / math.log(2)
        off = float(((shares - [0.3, 0.4, 0.3]) ** 2).sum())
        given = {"alpha": alpha**power, "beta": beta**power, "gamma": gamma**power}
        made.append(trial(number, given, 0.75 - 0.05 * off, metric=metric))
    return made


def test_the_best_triple_is_found_between_the_points_of_the_grid():
    surface = surface_of(GRID, "accuracy", B0, triples())
    best = {"alpha": 2**0.3, "beta": 2**0.2, "gamma": 2**0.15}
    assert surface.optimum == pytest.approx(best, abs=0.02)
    for name, (low, high) in surface.intervals.items():
        assert low <= surface.optimum[name] <= high
    chosen = best_point(points(triples(), "accuracy"), surface).parameters[0]
    assert chosen == {"alpha": 1.2, "beta": 1.2, "gamma": 1.1}


def test_coefficients_are_those_of_one_phi_wherever_they_were_tried():
    """At phi 2 the multipliers of the square roots are those of phi 1."""
    rooted = {"budget": math.sqrt(2), "phi": 2.0}
    surface = surface_of(rooted, "accuracy", B0, triples(power=0.5))
    one = surface_of(GRID, "accuracy", B0, triples())
    for name, value in one.optimum.items():
        assert surface.optimum[name] == pytest.approx(math.sqrt(value), abs=0.005)


def test_detectors_grow_by_pixels_and_layers():
    """The neck's width and 32 pixels of 512 a step, by what they do to FLOPs: best at .6 and .4."""
    start, made = counts(D0).flops, []
    names = ("neck_width", "resolution")
    choices = itertools.product((1.0, 1.25, 1.5, 1.75, 2.0, 2.5), range(0, 257, 32))
    for values in choices:
        given = dict(zip(names, map(float, values), strict=True))
        flops = counts(scale(D0, DetectorCoefficients(**NOTHING | given), 1)).flops
        if not 1.8 < flops / start < 2.2:
            continue
        logs = [
            math.log(
                counts(scale(D0, DetectorCoefficients(**NOTHING | {name: value}), 1)).flops / start
            )
            for name, value in given.items()
        ]
        shares = np.array(logs) / sum(logs)
        off = float(((shares - [0.6, 0.4]) ** 2).sum())
        made.append(trial(len(made), NOTHING | given, 0.3 - 0.05 * off, flops, metric="ap"))
    surface = surface_of(GRID, "ap", D0, made)
    assert surface.reason == ""
    assert set(surface.optimum) == set(names)
    for name, share in zip(names, (0.6, 0.4), strict=True):
        best = NOTHING | {name: surface.optimum[name]}
        growth = counts(scale(D0, DetectorCoefficients(**best), 1)).flops / start
        assert math.log(growth) / math.log(2) == pytest.approx(share, abs=0.12), name
    assert surface.lines[0].startswith("best for each phi: neck_width ")
    assert "beta what neck_width does" in surface.lines[0]


@pytest.mark.parametrize(
    ("grid", "metric", "trials", "reason"),
    [
        (GRID, "score", [trial(0, TRIPLE, 1.5, metric="score")], "score is no share between 0"),
        ({"budget": None, "phi": 1.0}, "ap", triples(metric="ap"), "no budget that its points"),
        (GRID, "accuracy", triples()[:2], "different networks for the"),
        (GRID, "accuracy", [], "two dimensions at least"),
        (
            GRID,
            "accuracy",
            [trial(n, {"alpha": 1.0, "beta": b, "gamma": 1.0}, b / 9) for n, b in enumerate(STEPS)],
            "two dimensions at least",
        ),
        (
            GRID,
            "ap",
            [
                trial(n, {"beta": 1 + n / 9, "neck_width": 1 + n / 8}, n / 9, metric="ap")
                for n in range(1, 9)
            ],
            "beta and neck_width both vary, and a surface has one width",
        ),
    ],
)
def test_why_there_is_no_surface(grid, metric, trials, reason):
    surface = surface_of(grid, metric, D0 if metric == "ap" else B0, trials)
    assert surface.response is None
    assert reason in surface.reason
    assert surface.lines == (f"no surface: {surface.reason}; the best mean counts",)


def test_without_a_surface_the_best_mean_counts():
    few = triples()[:2]
    surface = surface_of(GRID, "accuracy", B0, few)
    best = max(few, key=lambda t: t.scores["accuracy"])
    assert best_point(points(few, "accuracy"), surface).first == best
