"""Successive halving by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.history.halving import Halving, spread, usual_rungs

PLAN = Halving(epochs=4, trainings=20, rungs=(1, 2))


def test_each_rung_halves_what_goes_on_down_to_three():
    assert PLAN.stages(20) == ((1, 20), (2, 10), (4, 5))
    assert PLAN.stages(5) == ((1, 5), (2, 3), (4, 3))
    assert PLAN.stages(2) == ((1, 2), (2, 2), (4, 2))
    # 20 epochs, then 10 more epochs, then 5 times two.
    assert PLAN.spent(20) == (20 + 10 + 10) / 4
    assert PLAN.total(20) == 20 + 10
    assert PLAN.words(20) == (
        "20 to epoch 1, 10 to epoch 2, 5 to epoch 4, then up to 10 repeats of the best"
    )


def test_so_many_begin_that_each_finalist_can_be_repeated_once():
    # 30 take 30 + 15 + 2 * 8 epochs, 15.25 trainings, and 8 repeats: more than 20.
    assert PLAN.spent(30) + 8 > 20
    count = PLAN.entrants(30)
    assert 20 < count < 30
    assert PLAN.spent(count) + PLAN.stages(count)[-1][1] <= 20
    assert PLAN.spent(count + 1) + PLAN.stages(count + 1)[-1][1] > 20
    assert PLAN.entrants(10) == 10
    assert Halving(epochs=4, trainings=1, rungs=(1, 2)).entrants(10) == 0


def test_the_best_go_on_and_the_first_of_equals():
    plan = Halving(epochs=4, trainings=20, rungs=(1,), keep=0.5)
    values = {n: 0.1 * n for n in range(10)} | {3: 0.9}
    assert plan.best(values) == [3, 6, 7, 8, 9]
    assert plan.best(dict.fromkeys(range(10), 0.5)) == [0, 1, 2, 3, 4]


def test_every_leader_is_repeated_once_the_best_first():
    results = {4: [0.5], 7: [0.7], 9: [0.6, 0.61]}
    flops = dict.fromkeys(results, 1)
    assert PLAN.repeats(results, flops, spent=10) == [7, 4]
    assert PLAN.repeats(results, flops, spent=19) == [7]
    assert PLAN.repeats(results, flops, spent=20) == []


def test_only_those_that_may_be_the_best_are_repeated_on():
    flops = {1: 1, 2: 1, 3: 1}
    close = {1: [0.700, 0.704, 0.702], 2: [0.701, 0.699, 0.703], 3: [0.5, 0.501, 0.499]}
    assert sorted(PLAN.repeats(close, flops, spent=10)) == [1, 2]
    settled = {1: [0.7, 0.701], 2: [0.6, 0.601], 3: [0.5, 0.501]}
    assert PLAN.repeats(settled, flops, spent=10) == []
    assert PLAN.repeats({1: [0.7, 0.7]}, {1: 1}, spent=10) == []


@pytest.mark.parametrize(
    ("epochs", "every", "rungs"),
    [(1, 1, ()), (2, 1, (1,)), (3, 1, (1, 2)), (8, 1, (2, 4)), (100, 10, (30, 50)), (4, 3, (3,))],
)
def test_a_quarter_and_a_half_are_the_usual_rungs(epochs, every, rungs):
    assert usual_rungs(epochs, every) == rungs


def test_spread_points_are_the_corners_before_what_lies_between():
    line = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    assert spread(line, 3) == [0, 2, 4]
    assert spread(line, 5) == [0, 1, 2, 3, 4]
    square = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0.5, 0.5], [0.4, 0.5]])
    assert spread(square * [1, 100], 5) == [0, 1, 2, 3, 4]


@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 12), st.floats(0.1, 1))
def test_no_plan_spends_more_than_its_budget(count, trainings, epochs, keep):
    plan = Halving(epochs=epochs, trainings=trainings, rungs=usual_rungs(epochs), keep=keep)
    begin = plan.entrants(count)
    assert begin == 0 or plan.spent(begin) < trainings
    numbers = [each for _, each in plan.stages(max(1, begin))]
    assert numbers == sorted(numbers, reverse=True)
