"""Selections of trials, on a table small enough to check by eye."""

from __future__ import annotations

import io
from dataclasses import replace

import pandas as pd
import pytest


def test_phase_comes_in_the_order_of_numbers(small):
    shuffled = replace(small, trials=small.trials.sample(frac=1, random_state=0))
    assert list(shuffled.phase("search")["number"]) == list(range(9))


def test_scored_leaves_out_refused_failed_and_stopped(small):
    assert list(small.scored("search")["number"]) == [0, 2, 4, 5, 6]


def test_front_by_hand(small):
    # Trial 6 is the same network as trial 0: copies stay on the front.
    assert list(small.front("search")["number"]) == [0, 6, 2, 5]


def test_ranking_by_objective_has_each_network_once(small):
    # Trial 6 is the same network as trial 0.
    assert list(small.ranking("search")["number"]) == [5, 2, 4, 0]
    trials = small.trials.assign(objective=1 - small.trials["accuracy"])
    assert list(replace(small, trials=trials).ranking("search")["number"]) == [0, 4, 2, 5]


def test_a_pair_of_objectives_ranks_by_the_metric(small):
    trials = small.trials.assign(objective=0.5, objective_2=small.trials["flops"])
    assert list(replace(small, trials=trials).ranking("search")["number"]) == [5, 2, 4, 0]


def test_baseline_is_found_in_the_search_or_is_the_member_of_phi_0(small):
    assert small.baseline_row()["flops"] == 2_900_000
    assert small.baseline_row()["phase"] == "search"
    given = replace(small, baseline_trial=None)
    assert given.baseline_row()["phase"] == "family"
    assert replace(small, baseline_trial=3).baseline_row() is None  # it failed


def test_winner_is_matched_in_spite_of_binary_noise(small):
    trials = small.trials.copy()
    trials["beta"] = trials["beta"] + 2e-16
    assert replace(small, trials=trials).winner()["number"] == 0
    assert replace(small, coefficients=None).winner() is None


@pytest.mark.parametrize("phase", ["search", "grid", "family"])
def test_nothing_recorded_gives_nothing(empty, phase):
    assert empty.phase(phase).empty
    assert empty.scored(phase).empty
    assert empty.front(phase).empty
    assert empty.winner() is None
    assert empty.baseline_row() is None


def test_a_table_read_back_from_csv_selects_the_same(small):
    text = small.trials.to_csv(index=False)
    again = replace(small, trials=pd.read_csv(io.StringIO(text)))
    for phase in ("search", "grid", "family"):
        assert list(again.ranking(phase)["number"]) == list(small.ranking(phase)["number"])
    assert list(again.front("search")["number"]) == [0, 6, 2, 5]


def test_coefficients_are_those_of_the_task_that_were_recorded(small, detectors, empty):
    assert small.coefficient_names() == ["alpha", "beta", "gamma"]
    assert detectors.coefficient_names() == ["neck_width", "resolution"]
    assert empty.coefficient_names() == []
    # A parameter of the search may have the name of a coefficient.
    searched = detectors.trials["phase"] == "search"
    trials = detectors.trials.assign(neck_depth=[2.0 if each else None for each in searched])
    assert replace(detectors, trials=trials).coefficient_names() == ["neck_width", "resolution"]


def test_winner_of_detectors_is_matched_by_the_columns_there_are(detectors):
    assert detectors.winner()["number"] == 1
    other = replace(detectors.coefficients, neck_width=1.2)
    assert replace(detectors, coefficients=other).winner()["number"] == 0
