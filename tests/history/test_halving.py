"""Successive halving by hand arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.history.fidelity import Fidelity, Schedule
from scalesearch.history.halving import Halving, spread, usual_rungs
from scalesearch.history.stopping import Stopping

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


def test_epochs_on_less_data_and_smaller_images_count_by_their_work():
    stopping = Stopping(rungs=(1, 2), data=(0.25, 0.5), resolution=(0.5, 0.75))
    plan = replace(PLAN, schedule=stopping.schedule)
    # Epoch 1 is 1/4 * 1/4 of a whole one, epoch 2 1/2 * 9/16, epochs 3 and 4 are whole.
    assert plan.each == (1 / 16 + 9 / 32 + 2) / 4
    assert plan.spent(20) == (20 / 16 + 10 * 9 / 32 + 5 * 2) / 4
    left = 20 - plan.spent(20)  # 16.48, each repeat .586 of it
    assert plan.total(20) == 20 + math.floor(left / plan.each) == 20 + 28
    assert plan.words(20) == (
        "20 to epoch 1 on 25 % of the images at 50 % of the side, "
        "10 to epoch 2 on 50 % of the images at 75 % of the side, "
        "5 to epoch 4 on all images, then up to 28 repeats of the best"
    )
    # Of 30 trainings 10 would be left for 8 finalists, where whole epochs were too many.
    assert plan.entrants(30) == 30
    results = {4: [0.5], 7: [0.7], 9: [0.6]}
    assert plan.repeats(results, dict.fromkeys(results, 1), spent=18.8) == [7, 9]


def test_a_budget_counts_trainings_as_the_phase_has_them():
    less = replace(PLAN, schedule=Schedule(then=Fidelity(data=0.25, resolution=0.5)))
    assert less.each == PLAN.each == 1
    assert less.spent(20) == PLAN.spent(20)
    assert less.words(20) == PLAN.words(20)


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


@given(
    st.integers(1, 60),
    st.integers(1, 30),
    st.integers(1, 12),
    st.floats(0.1, 1),
    st.floats(0.1, 1),
)
def test_no_plan_spends_more_than_its_budget(count, trainings, epochs, keep, share):
    rungs = usual_rungs(epochs)
    schedule = Schedule(tuple((rung, Fidelity(data=share)) for rung in rungs))
    plan = Halving(epochs=epochs, trainings=trainings, rungs=rungs, keep=keep, schedule=schedule)
    begin = plan.entrants(count)
    assert begin == 0 or plan.spent(begin) < trainings
    repeats = plan.total(begin) - begin
    assert plan.spent(begin) + repeats * plan.each <= trainings + 1e-6 or not begin
    numbers = [each for _, each in plan.stages(max(1, begin))]
    assert numbers == sorted(numbers, reverse=True)
