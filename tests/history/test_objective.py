"""Objectives against the papers' reward, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.cost.cost import Cost
from scalesearch.errors import UserError
from scalesearch.history.objective import Objective


def spent(flops):
    return Cost(flops, flops, 1, 1, 1, 2048)


def test_one_metric_is_maximised():
    objective = Objective()
    assert objective.directions == ("maximize",)
    assert objective.values({"accuracy": 0.75, "loss": 2.0}, spent(10)) == (0.75,)
    assert Objective(metric="top5").values({"top5": 0.9}, spent(10)) == (0.9,)


def test_the_reward_of_mnasnet_by_hand():
    # MnasNet (Tan et al. 2019), section 3: with w = -0.07 twice the latency weighs 5 % of
    # accuracy: 2 ** -0.07 = 0.9526.
    objective = Objective(cost="flops", target=400e6)
    assert objective.exponent == -0.07
    assert objective.directions == ("maximize",)
    at_target = objective.values({"accuracy": 0.771}, spent(400_000_000))
    assert at_target == (pytest.approx(0.771),)
    twice = objective.values({"accuracy": 0.5}, spent(800_000_000))
    assert twice == (pytest.approx(0.5 * 0.9526, abs=1e-4),)
    half = objective.values({"accuracy": 0.5}, spent(200_000_000))
    assert half == (pytest.approx(0.5 / 0.9526, abs=1e-4),)


def test_five_percent_of_accuracy_and_twice_the_cost_are_about_the_same():
    # The trade from which the paper derives its exponent: Reward(2 l, a (1 + 5 %)) = Reward(l, a).
    objective = Objective(cost="flops", target=1000.0)
    small = objective.values({"accuracy": 0.7}, spent(1000))[0]
    large = objective.values({"accuracy": 0.7 * 1.05}, spent(2000))[0]
    assert large == pytest.approx(small, rel=2e-3)


def test_another_cost_and_exponent():
    objective = Objective(cost="training_bytes", target=1024, exponent=-1)
    assert objective.values({"accuracy": 0.6}, spent(1)) == (pytest.approx(0.3),)


def test_a_pair_is_a_pareto_search():
    objective = Objective(cost="flops")
    assert objective.directions == ("maximize", "minimize")
    assert objective.values({"accuracy": 0.6}, spent(10)) == (0.6, 10.0)


def test_a_label_says_what_is_optimised():
    assert Objective().label == "accuracy"
    assert Objective(cost="flops").label == "accuracy against flops"
    assert Objective(cost="flops", target=400e6).label == "accuracy * (flops / 400,000,000) ^ -0.07"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"cost": "seconds"},
            "objective: 'seconds' is not a cost\n  allowed: flops, flops_total, params, "
            "activations, inference_bytes, training_bytes, latency",
        ),
        (
            {"target": 1.0},
            "objective: a reward needs a cost and a target above 0\n"
            "  allowed: {reward: accuracy, flops: 400M, exponent: -0.07}",
        ),
        (
            {"cost": "flops", "target": 0},
            "objective: a reward needs a cost and a target above 0\n"
            "  allowed: {reward: accuracy, flops: 400M, exponent: -0.07}",
        ),
    ],
)
def test_an_objective_that_cannot_be_is_told(fields, text):
    with pytest.raises(UserError) as told:
        Objective(**fields)
    assert str(told.value) == text


def test_a_metric_that_was_not_scored_is_a_mistake_of_the_evaluator():
    with pytest.raises(KeyError, match="accuracy"):
        Objective().values({"loss": 1.0}, spent(1))


def test_a_reward_on_latency_reads_as_a_time():
    wanted = Objective(cost="latency", target=0.02)
    assert wanted.label == "accuracy * (latency / 20.0 ms) ^ -0.07"
    timed = replace(spent(1), latency=0.04)
    assert wanted.values({"accuracy": 0.5}, timed) == pytest.approx((0.5 * 2**-0.07,))
    assert Objective(cost="latency").values({"accuracy": 0.5}, timed) == (0.5, 0.04)


def test_a_latency_that_was_not_measured_cannot_be_weighed():
    with pytest.raises(KeyError, match="latency"):
        Objective(cost="latency").values({"accuracy": 0.5}, spent(1))
