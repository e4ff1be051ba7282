from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.cost.cost import Cost
from scalesearch.history.trials import STATES, Trial, from_record

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(min_size=1, max_size=8)
SECONDS = st.floats(1e-6, 1e3)


@st.composite
def trials(draw):
    state = draw(st.sampled_from(STATES))
    facts = (
        {}
        if state == "running"
        else {
            "scores": draw(st.dictionaries(NAMES, NUMBERS, max_size=3)),
            "objective": tuple(draw(st.lists(NUMBERS, max_size=2))),
            "reason": draw(st.text(max_size=20)),
            "source": draw(st.none() | st.integers(0, 99)),
            "seconds": draw(st.floats(0, 1e6)),
            "finished": "2026-01-02T03:04:05+00:00",
        }
    )
    # Latency is measured by a worker: no running trial has it.
    latency = None if state == "running" else draw(st.none() | SECONDS)
    over = {} if latency is None else draw(st.sampled_from([{}, {"latency.max": -0.5}]))
    return Trial(
        number=draw(st.integers(0, 10_000)),
        state=state,
        parameters=draw(st.dictionaries(NAMES, st.integers() | NAMES | NUMBERS, max_size=3)),
        digest="0123456789abcdef",
        cost=Cost(*draw(st.lists(st.integers(0, 2**50), min_size=6, max_size=6)), latency),
        predicted_latency=draw(st.none() | SECONDS),
        violations=draw(st.dictionaries(NAMES, NUMBERS, max_size=2)) | over,
        curve=draw(st.dictionaries(st.integers(1, 9), NUMBERS, max_size=3)),
        **facts,
    )


@given(trials())
def test_a_trial_comes_back_from_its_record(trial):
    """Through JSON, as the journal holds it."""
    attributes = trial.proposed()
    if trial.state != "running":
        attributes["outcome"] = trial.outcome()
    attributes = json.loads(json.dumps(attributes))
    proposed = {
        k: over for k, over in trial.violations.items() if k not in trial.measured_violations
    }
    # With what was known at its proposal, or with all that Optuna's constraints hold at its end.
    for known in (proposed, trial.violations):
        again = from_record(trial.number, trial.parameters, attributes, known, trial.curve)
        assert asdict(again) == asdict(trial)


@pytest.mark.parametrize("state", STATES)
def test_only_scores_that_count_are_a_result(state):
    trial = Trial(number=0, state=state, parameters={}, digest="", cost=Cost(1, 1, 1, 1, 1, 1))
    assert trial.has_result == (state in ("assessed", "reused"))


def test_what_a_dashboard_can_plot_is_flat():
    violations = {"flops.max": 0.25, "params.min": -1}
    trial = Trial(
        number=0,
        state="running",
        parameters={},
        digest="d",
        cost=Cost(1, 2, 3, 4, 5, 6),
        violations=violations,
    )
    assert trial.proposed() == {
        "digest": "d",
        "flops": 1,
        "flops_total": 2,
        "params": 3,
        "activations": 4,
        "inference_bytes": 5,
        "training_bytes": 6,
        "violation": 0.25,
    }


def timed(state, latency, **more):
    cost = Cost(1, 2, 3, 4, 5, 6, latency=latency)
    return Trial(number=0, state=state, parameters={}, digest="d", cost=cost, **more)


def test_latency_is_an_outcome_and_a_prediction_is_none():
    trial = timed(
        "infeasible",
        0.02,
        predicted_latency=0.01,
        violations={"flops.max": -0.5, "predicted_latency.max": -0.1, "latency.max": 0.25},
    )
    assert trial.proposed()["predicted_latency"] == 0.01
    assert "latency" not in trial.proposed()
    assert trial.outcome()["latency"] == 0.02
    assert trial.outcome()["violations"] == {"latency.max": 0.25}


def test_a_record_without_latency_says_nothing_of_it():
    """So that journals of studies that measure none are what they were before."""
    trial = timed("assessed", None)
    assert set(trial.proposed()).isdisjoint({"latency", "predicted_latency"})
    assert set(trial.outcome()).isdisjoint({"latency", "violations"})


@pytest.mark.parametrize(
    ("trial", "was"),
    [
        (timed("assessed", None), True),
        (timed("running", None), True),
        (timed("infeasible", None), False),
        (timed("infeasible", 0.5), True),
        (timed("infeasible", 0.5, source=3), False),
        (timed("reused", 0.5, source=3), False),
    ],
)
def test_a_job_is_what_a_worker_had(trial, was):
    assert trial.was_job == was
