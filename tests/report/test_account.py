from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from scalesearch.cost.limits import Limit
from scalesearch.report import account

NONE = "\N{EN DASH}"


def test_progress_counts_every_trial_once(small):
    rows = account.progress(small).rows
    # search: 4 assessed, 1 reused, 2 infeasible, 1 stopped, 1 failed; 6 of them took 4 s.
    assert rows[0] == ["search", "9", "4", "1", "2", "1", "1", NONE, "24 s"]
    assert rows[1] == ["grid", "5", "5", *[NONE] * 5, "20 s"]
    assert rows[2][:3] == ["family", "6", "6"]


def test_limits_say_whom_they_turned_away(small):
    assert account.limits(small).rows == [
        ["search", "FLOPs", "at most 3.0 M", "2"],
        ["search", "training memory", "at most 512.0 MiB", "0"],
    ]


def test_one_trial_may_overstep_several_bounds(small):
    trials = small.trials.copy()
    trials.loc[trials["number"] == 7, "reason"] = "flops.max by 200 %, params.min by 5 %"
    limits = {"search": {"flops": Limit(max=3e6), "params": Limit(min=2e4)}}
    rows = account.limits(replace(small, trials=trials, limits=limits)).rows
    assert [row[2:] for row in rows] == [["at most 3.0 M", "2"], ["at least 20.0 k", "1"]]


def test_without_reasons_the_count_stays_open(small):
    trials = small.trials.drop(columns="reason")
    assert account.limits(replace(small, trials=trials)).rows[0][3] == NONE


def test_failures_keep_their_reason_word_for_word(small):
    table = account.failures(small)
    assert table.rows == [
        ["search", "3", "error: loss is not a number <after> epoch 2 & 'later'"],
    ]
    assert table.note == ""


def test_a_missing_reason_is_said_to_be_missing(small):
    trials = small.trials.copy()
    trials.loc[trials["state"] == "failed", "reason"] = None
    rows = account.failures(replace(small, trials=trials)).rows
    assert rows[0][2] == "no reason was recorded"


def test_hundreds_of_failures_are_cut_and_counted(small):
    failed = [{"phase": "grid", "number": i, "state": "failed", "reason": "x"} for i in range(100)]
    table = account.failures(replace(small, trials=pd.DataFrame(failed)))
    assert (table.caption, len(table.rows)) == ("Failed trials (100)", 40)
    assert table.note == "60 more are in trials.csv."


@pytest.mark.parametrize("make", [account.progress, account.limits, account.failures])
def test_nothing_recorded_gives_no_rows(empty, make):
    assert make(empty).rows == []


def test_a_predicted_latency_is_turned_away_by_the_limit_on_latency(small):
    trials = small.trials.copy()
    trials.loc[trials["number"] == 1, "reason"] = "over its limits: predicted_latency.max by 5.0%"
    trials.loc[trials["number"] == 7, "reason"] = "over its limits: latency.max by 5.0%"
    limits = {"search": {"latency": Limit(max=0.02)}}
    rows = account.limits(replace(small, trials=trials, limits=limits)).rows
    assert rows == [["search", "latency", "at most 20.0 ms", "2"]]
