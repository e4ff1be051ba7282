from __future__ import annotations

import io
import math
from dataclasses import fields

import pandas as pd

from scalesearch.cost.cost import Cost
from scalesearch.history.table import table
from scalesearch.history.trials import Trial

COSTS = [field.name for field in fields(Cost) if field.name != "latency"]


def trial(number, state="assessed", **more):
    made = {"parameters": {"stage1.width": 8, "stage2": "identity"}, "digest": f"d{number}"}
    made |= {"cost": Cost(1, 2, 3, 4, 5, 6), "finished": "2026-01-02T03:04:05+00:00"}
    return Trial(number=number, state=state, **(made | more))


INFEASIBLE = trial(
    0, "infeasible", reason="over its limits: flops.max by 5.0%", violations={"flops.max": 0.05}
)
DONE = trial(1, objective=(0.75,), scores={"accuracy": 0.75, "loss": 0.25}, seconds=1.23456)
REUSED = trial(2, "reused", objective=(0.75,), scores={"accuracy": 0.75, "loss": 0.25}, source=1)
TRIPLE = {"alpha": 1.0, "beta": 1.4, "gamma": 1.0}
GRID = trial(0, objective=(0.8,), scores={"accuracy": 0.8}, parameters=TRIPLE)


def test_columns_stand_in_the_order_of_the_convention():
    """Also where the first trial has neither scores nor an objective."""
    frame = table({"search": [INFEASIBLE, DONE, REUSED], "grid": [GRID]})
    assert list(frame.columns) == [
        "phase",
        "number",
        "state",
        "reason",
        "digest",
        "reused_from",
        "objective",
        "accuracy",
        "loss",
        *COSTS,
        "violation",
        "stage1.width",
        "stage2",
        "alpha",
        "beta",
        "gamma",
        "attempts",
        "seconds",
        "finished",
    ]


def test_a_row_says_what_came_of_a_trial():
    frame = table({"search": [INFEASIBLE, DONE, REUSED], "grid": [GRID]})
    assert list(frame["phase"]) == ["search"] * 3 + ["grid"]
    assert list(frame["state"]) == ["infeasible", "assessed", "reused", "assessed"]
    assert frame["reused_from"].isna().tolist() == [True, True, False, True]
    assert frame["reused_from"][2] == 1
    assert frame["violation"].tolist() == [0.05, 0, 0, 0]
    assert math.isnan(frame["accuracy"][0])
    assert frame["seconds"].tolist() == [0, 1.235, 0, 0]


def test_whole_numbers_stay_whole_in_a_file():
    text = table({"search": [INFEASIBLE, DONE, REUSED], "grid": [GRID]}).to_csv(index=False)
    rows = text.splitlines()
    width = rows[0].split(",").index("stage1.width")
    assert [row.split(",")[width] for row in rows[1:]] == ["8", "8", "8", ""]
    again = pd.read_csv(io.StringIO(text))
    assert again["alpha"].tolist()[3] == 1.0
    assert again["reused_from"].tolist()[2] == 1


def test_a_pair_has_two_objectives():
    pair = trial(0, objective=(0.75, 100.0), scores={"accuracy": 0.75})
    frame = table({"search": [pair]})
    assert (frame["objective"][0], frame["objective_2"][0]) == (0.75, 100.0)
    assert list(frame.columns)[-3:] == ["attempts", "seconds", "finished"]


def test_no_trials_are_an_empty_table_with_columns():
    frame = table({})
    assert frame.empty
    assert {
        "phase",
        "number",
        "state",
        "objective",
        *COSTS,
        "attempts",
        "seconds",
        "finished",
    } <= set(frame.columns)


def test_latency_has_columns_where_it_was_measured_or_predicted():
    timed = trial(3, cost=Cost(1, 2, 3, 4, 5, 6, latency=0.0123), predicted_latency=0.012)
    infeasible = trial(4, "infeasible", predicted_latency=0.03)
    frame = table({"search": [DONE, timed, infeasible]})
    names = list(frame.columns)
    assert names[names.index("training_bytes") + 1 :][:3] == [
        "latency",
        "predicted_latency",
        "violation",
    ]
    assert frame["latency"].tolist()[1] == 0.0123
    assert frame["latency"].isna().tolist() == [True, False, True]
    assert frame["predicted_latency"].tolist()[1:] == [0.012, 0.03]
    measured = table({"search": [trial(0, cost=Cost(1, 2, 3, 4, 5, 6, latency=0.0123))]})
    assert "latency" in measured
    assert "predicted_latency" not in measured
