"""Bounds on costs: the violations by hand, and every mistake in one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.cost.cost import UNITS, Cost
from scalesearch.cost.limits import (
    Limit,
    check_limits,
    measured,
    predicted_violations,
    violations,
    worst,
)
from scalesearch.errors import UserError

SPENT = Cost(
    flops=500, flops_total=520, params=40, activations=7, inference_bytes=64, training_bytes=512
)


def test_excess_is_a_share_of_the_bound():
    # 500 of at most 400 is 25 % over; 40 of at least 50 is 20 % short; 512 of 1024 is half of it.
    limits = {
        "flops": Limit(max=400),
        "params": Limit(min=50),
        "training_bytes": Limit(max=1024),
        "inference_bytes": Limit(min=32, max=64),
    }
    over = violations(SPENT, limits)
    assert over == {
        "flops.max": pytest.approx(0.25),
        "params.min": pytest.approx(0.2),
        "training_bytes.max": pytest.approx(-0.5),
        "inference_bytes.max": 0.0,
        "inference_bytes.min": pytest.approx(-1.0),
    }
    assert worst(over) == pytest.approx(0.25)


def test_within_every_bound_nothing_is_over():
    assert worst(violations(SPENT, {"flops": Limit(max=500)})) == 0.0
    assert worst(violations(SPENT, {"flops": Limit(min=500)})) == 0.0
    assert worst({}) == 0.0


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.sampled_from(sorted(UNITS)))
def test_the_sign_tells_who_is_within(value, bound, name):
    spent = Cost(**dict.fromkeys(UNITS, value))
    assert (worst(violations(spent, {name: Limit(max=bound)})) > 0) == (value > bound)
    assert (worst(violations(spent, {name: Limit(min=bound)})) > 0) == (value < bound)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({}, "a limit needs a bound\n  allowed: min, max or both"),
        ({"max": 0}, "max: 0 cannot be a bound\n  allowed: more than 0, at most 1e+24"),
        ({"min": -1}, "min: -1 cannot be a bound\n  allowed: more than 0, at most 1e+24"),
        (
            {"max": float("nan")},
            "max: nan cannot be a bound\n  allowed: more than 0, at most 1e+24",
        ),
        ({"min": 5, "max": 4}, "min 5 is above max 4: nothing can meet both"),
    ],
)
def test_an_impossible_limit_is_told(bounds, text):
    with pytest.raises(UserError) as told:
        Limit(**bounds)
    assert str(told.value) == text


def test_equal_bounds_are_possible():
    assert worst(violations(SPENT, {"params": Limit(min=40, max=40)})) == 0.0


def test_a_limit_on_no_cost_is_told_with_the_nearest():
    check_limits({"flops": Limit(max=1)})
    with pytest.raises(UserError) as told:
        check_limits({"flop": Limit(max=1)})
    assert str(told.value) == (
        "flop: 'flop' is not a cost\n"
        "  allowed: flops, flops_total, params, activations, inference_bytes, training_bytes, "
        "latency\n"
        "  did you mean 'flops'?"
    )


TIMED = {"flops": Limit(max=400), "latency": Limit(min=0.01, max=0.02)}


def test_a_limit_on_latency_waits_until_it_is_measured():
    assert violations(SPENT, TIMED) == {"flops.max": pytest.approx(0.25)}
    over = violations(replace(SPENT, latency=0.025), TIMED)
    assert over == {
        "flops.max": pytest.approx(0.25),
        "latency.max": pytest.approx(0.25),
        "latency.min": pytest.approx(-1.5),
    }
    assert measured(over) == {"latency.max": over["latency.max"], "latency.min": -1.5}


def test_a_prediction_has_an_excess_of_its_own_name():
    assert predicted_violations(0.03, TIMED) == {
        "predicted_latency.max": pytest.approx(0.5),
        "predicted_latency.min": pytest.approx(-2),
    }
    assert predicted_violations(None, TIMED) == {}
    assert predicted_violations(0.03, {"flops": Limit(max=1)}) == {}
    assert measured(predicted_violations(0.03, TIMED)) == {}, "a prediction is no measurement"
