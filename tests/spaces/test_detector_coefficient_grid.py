"""The space of a detector's coefficients: what the budget leaves, by counting FLOPs."""

from __future__ import annotations

from itertools import product

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.scale import scale
from scalesearch.spaces.detector_coefficient_grid import DetectorCoefficientGrid

D0 = published("efficientdet_d0")
WIDTHS = (1.2, 1.25, 1.3, 1.35, 1.4, 1.45)  # those that the paper chose 1.35 from
CHOICES = {"neck_width": WIDTHS, "resolution": (64.0, 128.0)}


def test_without_a_budget_every_combination_counts():
    space = DetectorCoefficientGrid(baseline=D0, choices=CHOICES)
    assert space.size == 12
    points = list(space.points())
    assert [(p["neck_width"], p["resolution"]) for p in points] == list(product(WIDTHS, (64, 128)))
    assert all(p["alpha"] == 1.2 and p["head_depth"] == 1 / 3 for p in points)
    assert space.parameters["neck_width"] == WIDTHS
    paper = DetectorCoefficients()
    assert space.decode(dict(space.encode(scale(D0, paper, 1)))) == scale(D0, paper, 1)


def test_the_budget_is_a_ratio_of_counted_flops():
    every = DetectorCoefficientGrid(baseline=D0, choices=CHOICES)
    within = DetectorCoefficientGrid(baseline=D0, choices=CHOICES, budget=2.5, tolerance=0.3)
    base = cost(D0).flops
    fits = [p for p in every.points() if abs(cost(every.decode(p)).flops / base - 2.5) <= 0.3]
    assert 0 < len(fits) < every.size
    assert list(within.points()) == fits


def test_coefficients_of_a_point():
    space = DetectorCoefficientGrid(baseline=D0, choices=CHOICES)
    point = next(iter(space.points()))
    assert space.coefficients(point) == DetectorCoefficients(neck_width=1.2, resolution=64.0)
    assert space.decode(point) == scale(D0, space.coefficients(point), 1.0)
    for wrong in ({**point, "neck_width": 9.0}, {**point, "more": 1}, {}):
        with pytest.raises(UserError, match="is not a combination of this grid"):
            space.decode(wrong)
    with pytest.raises(UserError, match="no combination of this grid gives"):
        space.encode(D0)


def test_nothing_within_the_budget():
    with pytest.raises(UserError) as told:
        DetectorCoefficientGrid(baseline=D0, choices=CHOICES, budget=9.0)
    assert str(told.value).startswith("budget: no combination gives 9 times the FLOPs, within 0.1")
    many = {name: tuple(1 + i / 100 for i in range(30)) for name in ("alpha", "beta", "neck_width")}
    with pytest.raises(UserError, match="27,000 combinations of coefficients"):
        DetectorCoefficientGrid(baseline=D0, choices=many)
