"""The points of a grid and what their trainings say, by hand arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from scalesearch.cost.cost import Cost
from scalesearch.history.fidelity import Fidelity, Schedule
from scalesearch.history.points import evidence, points, spent
from scalesearch.history.trials import Trial

COST = Cost(flops=200, flops_total=1, params=1, activations=1, inference_bytes=1, training_bytes=1)


def trial(number, network, curve, state="assessed", **others):
    """A trial of a network named by a letter; its alpha is the letter's place."""
    given = {"alpha": 1.0 + (ord(network) - ord("a")) / 10, "beta": 1.0, "repeat": 0}
    given |= others.pop("given", {})
    steps = dict(enumerate(curve, start=1))
    scores = {"accuracy": curve[-1]} if state in ("assessed", "stopped") and curve else {}
    return Trial(
        number=number,
        state=state,
        parameters=given,
        digest=network,
        cost=COST,
        scores=scores,
        curve=steps,
        **others,
    )


TRIALS = [
    trial(0, "a", [0.2, 0.5, 0.6]),
    trial(1, "b", [0.3, 0.4], "stopped"),
    trial(2, "c", [0.1], "stopped"),
    trial(3, "d", [0.4, 0.6, 0.7]),
    trial(4, "a", [0.3, 0.6, 0.8], given={"repeat": 1}),
    trial(5, "e", [0.9], "failed"),
    trial(6, "b", [0.3, 0.4], "stopped", source=1, given={"alpha": 1.15}),
    trial(7, "f", [], "infeasible"),
]


def test_whole_trainings_rank_by_their_mean_and_the_stopped_by_how_far_they_came():
    found = points(TRIALS, "accuracy")
    assert [point.first.digest for point in found] == ["a", "d", "b", "c"]
    assert found[0].scores["accuracy"] == found[0].mean == pytest.approx(0.7)
    assert math.isnan(found[3].mean)
    assert len(found[0].trainings) == 2
    # One network with two trainings: the pooled deviation is .1414, of a mean of two .1.
    assert found[0].error == pytest.approx(0.1)
    assert found[1].error is None
    assert [given["alpha"] for given in found[2].parameters] == [1.1, 1.15]
    cheaper = [replace(TRIALS[0], number=9, digest="g", cost=replace(COST, flops=100))]
    ties = points([TRIALS[0], *cheaper], "accuracy")
    assert [point.first.digest for point in ties] == ["g", "a"]


def test_epochs_add_up_to_whole_trainings():
    # a, a again and d to the end, b two epochs, c and the failed one a single one.
    assert spent(TRIALS, 3) == pytest.approx(3 + (2 + 1 + 1) / 3)


def test_epochs_on_less_data_add_up_by_their_work():
    schedule = Schedule(((1, Fidelity(data=0.5, resolution=0.5)),))
    # An eighth for the first epoch of each of six trainings: three whole ones with two more epochs
    # each, b with one more, c and the failed one without.
    assert spent(TRIALS, 3, schedule) == pytest.approx((6 / 8 + 3 * 2 + 1) / 3)


def test_stopped_trainings_are_turned_into_whole_ones_by_those_that_have_both():
    """At a rung every first training counts, of those that went on, too."""
    rows = evidence(points(TRIALS, "accuracy"), "accuracy", flops=100)
    at_end, at_one, at_two = ["a", "a", "d"], ["a", "d", "b", "c"], ["a", "d", "b"]
    assert list(rows.networks) == [*at_end, *at_one, *at_two]
    # With a single repeat all whole trainings say how errors shrink: those of a, a again and d.
    from_one = [0.4 / 0.8, 0.2 / 0.7, 0.3 / 0.6]
    from_two = [0.4 / 0.5, 0.2 / 0.4, 0.3 / 0.4]
    one, two = np.prod(from_one) ** (1 / 3), np.prod(from_two) ** (1 / 3)
    expected = [0.4, 0.2, 0.3, *(one * np.array([0.8, 0.6, 0.7, 0.9]))]
    assert rows.errors == pytest.approx([*expected, *(two * np.array([0.5, 0.4, 0.6]))])
    noise = np.var(np.log([0.4, 0.2]), ddof=1)
    weights = [noise / (noise + np.var(np.log(each), ddof=1)) for each in (from_one, from_two)]
    assert rows.weights == pytest.approx([1] * 3 + [weights[0]] * 4 + [weights[1]] * 3)
    assert rows.growth == pytest.approx([2] * 10)
    assert rows.parameters["alpha"][5] == pytest.approx(math.sqrt(1.1 * 1.15))
    assert set(rows.parameters) == {"alpha", "beta"}


def test_two_repeats_say_how_errors_shrink_as_nobody_selected_them():
    again = trial(8, "d", [0.2, 0.3, 0.9], given={"repeat": 1})
    rows = evidence(points([*TRIALS, again], "accuracy"), "accuracy", flops=100)
    factor = math.sqrt(0.2 / 0.7 * 0.1 / 0.8)
    assert rows.errors[4 + 3] == pytest.approx(0.9 * factor)
    assert rows.networks[4 + 3] == "c"


def test_without_repeats_a_stopped_training_weighs_the_share_of_its_epochs():
    rows = evidence(points([TRIALS[0], TRIALS[2]], "accuracy"), "accuracy", flops=100)
    assert rows.weights == pytest.approx([1, 1 / 3, 1 / 3])


def test_without_repeats_a_smaller_training_weighs_the_share_of_its_work():
    schedule = Schedule(((1, Fidelity(data=0.5, resolution=0.5)),))
    found = points([TRIALS[0], TRIALS[2]], "accuracy")
    rows = evidence(found, "accuracy", flops=100, schedule=schedule)
    assert rows.weights == pytest.approx([1, *[(1 / 8) / (1 / 8 + 2)] * 2])


def test_where_no_training_was_whole_there_is_nothing_to_compare_with():
    rows = evidence(points([TRIALS[2]], "accuracy"), "accuracy", flops=100)
    assert len(rows.errors) == 0
