from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.cost.cost import Cost
from scalesearch.errors import UserError
from scalesearch.history.ranking import ranked, require_results
from scalesearch.history.trials import Trial


def trial(number, value=None, flops=100, state="assessed", **fields):
    objective = () if value is None else (value,)
    return Trial(
        number=number,
        state=state,
        parameters={},
        digest=f"d{number}",
        cost=Cost(flops, flops, 1, 1, 1, 1),
        objective=objective,
        **fields,
    )


def test_the_best_of_a_front_is_its_most_accurate_network():
    pair = [
        replace(trial(n, value), objective=(value, 100.0)) for n, value in enumerate((0.5, 0.9))
    ]
    assert ranked(pair)[0].number == 1


def test_ranked_leaves_out_what_has_no_result_of_its_own():
    reused = trial(2, 0.9, state="reused", source=1)
    failed = trial(3, state="failed", reason="x")
    every = [trial(0, 0.5), trial(1, 0.9), reused, failed, trial(4, 0.7), trial(5, 0.7, flops=50)]
    assert [t.number for t in ranked(every)] == [1, 5, 4, 0]


def test_one_result_is_enough():
    require_results([trial(0, state="failed", reason="x"), trial(1, 0.5)], "grid")


def test_without_any_result_the_error_has_the_reasons():
    failed = [trial(n, state="failed", reason="error: no memory") for n in range(3)]
    failed.append(trial(9, state="failed", reason="error: no memory", source=0))
    failed.append(trial(3, state="stopped", reason="stopped after step 1"))
    over = [trial(4 + n, state="infeasible", violations={"flops.max": 0.25 + n}) for n in range(2)]
    with pytest.raises(UserError, match="no trial of the search has a result") as error:
        require_results([*failed, *over], "search")
    assert error.value.hint == (
        "3 x error: no memory; 1 x stopped after step 1; "
        "2 infeasible, the closest over its limits by 25.0%"
    )


def test_no_trials_at_all():
    with pytest.raises(UserError, match="no trial of the family has a result"):
        require_results([], "family")


def test_ties_go_to_the_network_with_fewer_flops_then_to_the_earlier_trial():
    trials = [
        trial(0, 0.9, flops=300),
        trial(1, 0.9, flops=200),
        trial(2, 0.9, flops=200),
        trial(3, 0.9, flops=200, state="reused", source=1),
        trial(4, 0.95, flops=900),
        trial(5, state="infeasible", violations={"flops.max": 0.1}),
    ]
    expected = [4, 1, 2, 0]
    for order in (trials, trials[::-1]):
        assert [t.number for t in ranked(order)] == expected


def test_when_nothing_is_within_the_limits_the_closest_networks_are_shown():
    shares = (0.5, 0.1, 0.3, 0.2)
    over = [
        replace(
            trial(n, state="infeasible", violations={"latency.max": share, "flops.max": -0.5}),
            parameters={"width": 8 + n, "depth": 2},
        )
        for n, share in enumerate(shares)
    ]
    again = replace(over[1], number=4)  # the same network
    with pytest.raises(UserError, match="none of 5 was within the limits") as error:
        require_results([*over, again], "search")
    assert error.value.hint.splitlines() == [
        "the closest:",
        "  trial 1, over latency.max by 10.0%: width 9, depth 2",
        "  trial 3, over latency.max by 20.0%: width 11, depth 2",
        "  trial 2, over latency.max by 30.0%: width 10, depth 2",
    ]
