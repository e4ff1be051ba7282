"""Whether a ranking holds, against SciPy's Kendall tau."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from scalesearch.cost.cost import Cost
from scalesearch.history.drift import drift
from scalesearch.history.trials import Trial

WAYS = ("1.2, 1.1, 1.15", "1.3, 1.1, 1.1", "depth alone", "width alone", "resolution alone")
COST = Cost(flops=1, flops_total=1, params=1, activations=1, inference_bytes=1, training_bytes=1)


def trials(table, same=()):
    """Trials of `{(length, phi): values of the ways}`; None failed; lists are repeats.

    Of ways in `same` all are one network.
    """
    made = []
    for (length, phi), values in table.items():
        for way, value in zip(WAYS, values, strict=True):
            for repeat, each in enumerate(value if isinstance(value, list) else [value]):
                given = {"way": way, "phi": phi, "length": length, "repeat": repeat}
                state = "failed" if each is None else "assessed"
                scores = {} if each is None else {"accuracy": each}
                made.append(
                    Trial(
                        number=len(made),
                        state=state,
                        parameters=given,
                        digest="same" if way in same else way,
                        cost=COST,
                        scores=scores,
                    )
                )
    return made


def test_the_rank_correlation_is_kendalls_tau_b():
    random = np.random.default_rng(0)
    short, long = random.random(5).round(1), random.random(5).round(1)
    found = drift(trials({(1.0, 1.0): short.tolist(), (3.0, 1.0): long.tolist()}), "accuracy")
    first, other = found.conditions
    assert first.rank is None
    assert other.rank == pytest.approx(kendalltau(short, long).statistic)
    low, high = other.interval
    assert low <= other.rank <= high


def test_repeats_are_averaged_and_the_smallest_and_shortest_comes_first():
    table = {
        (3.0, 2.0): [0.8, 0.7, 0.6, 0.5, 0.4],
        (1.0, 1.0): [[0.5, 0.7], 0.62, 0.5, 0.4, 0.3],
    }
    found = drift(trials(table), "accuracy")
    assert [(c.length, c.phi) for c in found.conditions] == [(1.0, 1.0), (3.0, 2.0)]
    assert found.conditions[0].best == "1.3, 1.1, 1.1"
    assert found.conditions[0].values["1.2, 1.1, 1.15"] == pytest.approx(0.6)
    assert found.conditions[1].best == "1.2, 1.1, 1.15"
    assert found.conditions[1].words == "phi 2, 3 times as long"


def test_the_same_ranking_holds_and_a_turned_one_does_not_survive():
    up = [0.5, 0.4, 0.3, 0.2, 0.1]
    same = drift(trials({(1.0, 1.0): up, (3.0, 1.0): [v + 0.3 for v in up]}), "accuracy")
    assert same.holds is True
    assert same.sentences == (
        "phi 1, 3 times as long: 1.2, 1.1, 1.15 is still the best; rank correlation with "
        "phi 1, as long 1.00 [1.00, 1.00] over 5 ways",
    )
    turned = drift(trials({(1.0, 1.0): up, (3.0, 1.0): up[::-1]}), "accuracy")
    assert turned.holds is False
    assert turned.sentences[0].endswith("the ranking does not survive")
    assert "resolution alone is the best" in turned.sentences[0]


def test_ways_that_are_one_network_count_once_and_share_their_trainings():
    alike = ("1.3, 1.1, 1.1", "width alone")
    up = [0.5, 0.4, 0.3, 0.2, 0.1]
    found = drift(trials({(1.0, 1.0): up, (3.0, 1.0): up}, alike), "accuracy")
    other = found.conditions[1]
    assert other.ways == 4
    assert other.values["width alone"] == other.values["1.3, 1.1, 1.1"] == pytest.approx(0.3)
    fewer = drift(trials({(1.0, 1.0): up, (3.0, 1.0): up}, (*alike, "depth alone")), "accuracy")
    assert fewer.conditions[1].rank is None


def test_a_ranking_is_not_lost_by_an_interval_that_says_nothing():
    """Kendall's tau of these is -.2, and draws of five ways can be anything."""
    table = {(1.0, 1.0): [0.5, 0.4, 0.3, 0.2, 0.1], (2.0, 1.0): [0.2, 0.1, 0.4, 0.5, 0.05]}
    found = drift(trials(table), "accuracy")
    assert found.conditions[1].rank <= 0.2
    assert found.holds is None


def test_one_swap_among_few_says_nothing():
    table = {(1.0, 1.0): [0.5, 0.4, 0.3, 0.2, None], (2.0, 1.0): [0.5, 0.3, 0.4, 0.2, None]}
    found = drift(trials(table), "accuracy")
    assert found.holds is None
    assert "over 4 ways: too few ways to say whether" in found.sentences[0]


def test_the_first_condition_is_the_grids_own():
    values = [0.5, 0.4, 0.3, 0.2, 0.1]
    found = drift(trials({(0.5, 1.0): values, (1.0, 2.0): values, (1.0, 1.0): values}), "accuracy")
    assert [(c.length, c.phi) for c in found.conditions] == [(1.0, 1.0), (0.5, 1.0), (1.0, 2.0)]
    at_two = drift(trials({(1.0, 1.0): values, (1.0, 2.0): values}), "accuracy", phi=2.0)
    assert at_two.conditions[0].phi == 2.0


def test_few_ways_and_failures_say_nothing_of_the_ranking():
    few = drift(trials({(1.0, 1.0): [0.5, 0.4, None, None, 0.1]}), "accuracy")
    assert few.holds is None
    short = drift(
        trials({(1.0, 1.0): [0.5, 0.4, 0.3, None, None], (3.0, 1.0): [0.5, 0.4, 0.6, 0.1, 0.2]}),
        "accuracy",
    )
    assert short.conditions[1].rank is None
    assert short.sentences == ("phi 1, 3 times as long: depth alone is the best",)
    assert drift(trials({(1.0, 1.0): [None] * 5}), "accuracy") is None
    ties = drift(trials({(1.0, 1.0): [0.5] * 5, (2.0, 1.0): [0.1, 0.2, 0.3, 0.4, 0.5]}), "accuracy")
    assert ties.conditions[1].rank is None
