from __future__ import annotations

import pytest

from scalesearch.cost.cost import Cost
from scalesearch.errors import UserError
from scalesearch.history.ranking import best_of, ranked, require_results
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


def test_the_best_has_the_highest_objective():
    assert best_of([trial(0, 0.5), trial(1, 0.9), trial(2, 0.7)]).number == 1


def test_fewer_flops_then_the_earlier_one_break_ties():
    assert best_of([trial(0, 0.9, 300), trial(1, 0.9, 200), trial(2, 0.9, 200)]).number == 1


def test_the_best_of_a_front_is_its_most_accurate_network():
    pair = [trial(0, 0.5), trial(1, 0.9)]
    wide = [Trial(**_fields(t) | {"objective": (t.objective[0], 100.0)}) for t in pair]
    assert best_of(wide).number == 1


def _fields(t):
    return {name: getattr(t, name) for name in Trial.__dataclass_fields__}


def test_ranked_leaves_out_what_has_no_result_of_its_own():
    reused = trial(2, 0.9, state="reused", source=1)
    failed = trial(3, state="failed", reason="x")
    every = [trial(0, 0.5), trial(1, 0.9), reused, failed, trial(4, 0.7), trial(5, 0.7, flops=50)]
    assert [t.number for t in ranked(every)] == [1, 5, 4, 0]


def test_results_are_what_has_scores():
    reused = trial(1, 0.5, state="reused", source=0)
    every = [trial(0, 0.5), reused, trial(2, state="failed", reason="x")]
    assert require_results(every, "grid") == every[:2]


def test_without_any_result_the_reasons_are_told():
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
