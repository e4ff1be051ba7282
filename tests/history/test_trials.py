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
    return Trial(
        number=draw(st.integers(0, 10_000)),
        state=state,
        parameters=draw(st.dictionaries(NAMES, st.integers() | NAMES | NUMBERS, max_size=3)),
        digest="0123456789abcdef",
        cost=Cost(*draw(st.lists(st.integers(0, 2**50), min_size=6, max_size=6))),
        excess=draw(st.dictionaries(NAMES, NUMBERS, max_size=2)),
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
    again = from_record(trial.number, trial.parameters, attributes, trial.excess, trial.curve)
    assert asdict(again) == asdict(trial)


@pytest.mark.parametrize("state", STATES)
def test_only_scores_that_count_are_a_result(state):
    trial = Trial(number=0, state=state, parameters={}, digest="", cost=Cost(1, 1, 1, 1, 1, 1))
    assert trial.has_result == (state in ("assessed", "reused"))


def test_what_a_dashboard_can_plot_is_flat():
    excess = {"flops.max": 0.25, "params.min": -1}
    trial = Trial(
        number=0,
        state="running",
        parameters={},
        digest="d",
        cost=Cost(1, 2, 3, 4, 5, 6),
        excess=excess,
    )
    assert trial.proposed() == {
        "digest": "d",
        "flops": 1,
        "flops_total": 2,
        "params": 3,
        "activations": 4,
        "inference_bytes": 5,
        "training_bytes": 6,
        "excess": 0.25,
    }
