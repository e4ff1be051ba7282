"""The front against hand-drawn cases, the definition, and Optuna's `best_trials`."""

from __future__ import annotations

import random
import time

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.history.pareto import front

BOTH = ("maximize", "minimize")
values = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False))
words = st.sampled_from(["maximize", "minimize"])


def brute(points, directions):
    """The definition, read aloud."""

    def beats(one, other):
        better = [
            a > b if d == "maximize" else a < b
            for a, b, d in zip(one, other, directions, strict=True)
        ]
        worse = [
            a < b if d == "maximize" else a > b
            for a, b, d in zip(one, other, directions, strict=True)
        ]
        return any(better) and not any(worse)

    return [i for i, p in enumerate(points) if not any(beats(q, p) for q in points)]


def test_accuracy_against_flops_by_hand():
    points = [(0.90, 2e6), (0.95, 3e6), (0.93, 4e6), (0.80, 1e6), (0.90, 2.5e6), (0.95, 3.5e6)]
    assert front(points, BOTH) == [0, 1, 3]


@pytest.mark.parametrize(
    ("points", "directions", "expected"),
    [
        ([], BOTH, []),
        ([(1.0, 1.0)], BOTH, [0]),
        ([(1.0, 1.0), (2.0, 2.0), (1.0, 1.0)], BOTH, [0, 1, 2]),  # copies stay
        ([(2.0, 1.0), (1.0, 1.0), (2.0, 1.0)], BOTH, [0, 2]),
        ([(3.0,), (5.0,), (5.0,), (4.0,)], ("maximize",), [1, 2]),
        ([(3.0,), (5.0,), (3.0,)], ("minimize",), [0, 2]),
        ([(1.0, float("inf")), (0.0, float("inf"))], BOTH, [0]),
        ([(1.0, 2.0, 3.0), (1.0, 3.0, 2.0), (1.0, 3.0, 3.0)], ("minimize",) * 3, [0, 1]),
        ([(0.0, -0.0), (-0.0, 0.0)], ("minimize",) * 2, [0, 1]),
    ],
)
def test_small_cases_by_hand(points, directions, expected):
    assert front(points, directions) == expected


@given(st.data(), st.lists(words, min_size=1, max_size=4))
def test_equals_the_definition(data, directions):
    point = st.tuples(*[values] * len(directions))
    points = data.draw(st.lists(point, max_size=25))
    assert front(points, directions) == brute(points, directions)


@pytest.mark.parametrize("directions", [BOTH, ("minimize", "minimize"), ("maximize",) * 3])
def test_equals_optuna_best_trials(directions):
    draw = random.Random(len(directions))
    study = optuna.create_study(directions=directions)
    # A coarse grid of values, so that ties and copies occur.
    points = [tuple(draw.randrange(6) / 2 for _ in directions) for _ in range(60)]
    for point in points:
        study.add_trial(optuna.create_trial(values=list(point)))
    assert front(points, directions) == sorted(trial.number for trial in study.best_trials)


def test_large_counts_are_compared_as_whole_numbers():
    # 2**53 + 1 is no float; the two would be equal as floats.
    assert front([(1, 2**53 + 1), (1, 2**53)], BOTH) == [1]


def test_two_values_take_n_log_n():
    # All on the front, where comparing pairs would take 2 * 10**10 steps.
    points = [(float(i), float(i)) for i in range(200_000)]
    start = time.perf_counter()
    assert len(front(points, BOTH)) == len(points)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("points", "directions", "text"),
    [
        ([(0.5, 1.0), (float("nan"), 1.0)], BOTH, "point 1 is (nan, 1.0)"),
        ([(0.5,)], BOTH, "point 0 has 1 values for 2 directions"),
        ([], ("max", "minimize"), "'max' is not a direction\n  allowed: minimize, maximize"),
    ],
)
def test_mistakes_are_named(points, directions, text):
    with pytest.raises(UserError) as caught:
        front(points, directions)
    assert text in str(caught.value)
