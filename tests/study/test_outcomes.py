from dataclasses import replace

import pytest

from scalesearch.cost.cost import Cost
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.history.jobs import (
    Attempt,
    Failure,
    Infeasible,
    Result,
    Score,
    Stopped,
    Whereabouts,
)
from scalesearch.history.objective import Objective
from scalesearch.history.trials import Trial, from_record
from scalesearch.study.outcomes import finished, metric_of, over_limits, require_hope, reused

COST = Cost(1_000, 1_100, 10, 20, 30, 40)
RUNNING = Trial(number=3, state="running", parameters={"a": 1}, digest="d", cost=COST)


def test_a_result_gives_scores_and_the_reward():
    wanted = Objective(metric="accuracy", cost="flops", target=500)
    trial = finished(RUNNING, Result({"accuracy": 0.5}, COST, 2.0), wanted, {})
    assert (trial.state, trial.scores, trial.seconds) == ("assessed", {"accuracy": 0.5}, 2.0)
    assert trial.objective == pytest.approx((0.5 * 2**-0.07,))
    assert trial.finished


def test_a_stop_and_a_failure_have_reasons():
    stopped = finished(RUNNING, Stopped(Score(2, {"accuracy": 0.1})), Objective(), {})
    assert (stopped.state, stopped.reason) == ("stopped", "stopped after step 2")
    failed = finished(RUNNING, Failure("timeout", "too slow"), Objective(), {})
    assert (failed.state, failed.reason, failed.objective) == ("failed", "timeout: too slow", ())


def test_an_objective_that_is_no_number_is_a_failure():
    trial = finished(RUNNING, Result({"accuracy": float("nan")}, COST, 1.0), Objective(), {})
    assert (trial.state, trial.reason) == ("failed", "error: the objective is (nan,)")


def test_a_mistake_in_the_settings_is_the_users_and_no_trials():
    with pytest.raises(UserError, match="no GPU here"):
        finished(RUNNING, Failure("user", "no GPU here"), Objective(), {})


def test_a_reused_result_names_its_source():
    source = finished(RUNNING, Result({"accuracy": 0.5}, COST, 2.0), Objective(), {})
    again = reused(replace(RUNNING, number=7), source)
    assert (again.state, again.source, again.objective, again.seconds) == ("reused", 3, (0.5,), 0)
    failed = finished(RUNNING, Failure("error", "x"), Objective(), {})
    assert reused(replace(RUNNING, number=7), failed).state == "failed"


def _failed(number, reason="error: no disk"):
    return replace(RUNNING, number=number, state="failed", reason=reason)


def test_eight_first_failures_alike_end_the_phase():
    require_hope([_failed(n) for n in range(7)])
    with pytest.raises(UserError, match="first 8 trials all failed alike: error: no disk"):
        require_hope([_failed(n) for n in range(8)])


@pytest.mark.parametrize(
    "other", [_failed(9, "error: another"), replace(RUNNING, number=9, state="assessed")]
)
def test_anything_else_among_them_is_hope(other):
    require_hope([*(_failed(n) for n in range(8)), other])


def test_a_metric_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(UserError) as told:
        metric_of(Score(1, {"accuracy": 0.5}), "acuracy")
    assert "did you mean 'accuracy'?" in str(told.value)


def test_a_refusal_says_which_bound_and_by_how_much():
    trial = replace(RUNNING, violations={"flops.max": 1 / 3, "params.max": -0.5})
    assert over_limits(trial) == "over its limits: flops.max by 33.3%"


LIMITS = {"flops": Limit(max=2_000), "latency": Limit(max=0.02)}
TIMED = replace(COST, latency=0.025)


def test_a_worker_that_finds_a_network_too_slow_refuses_it():
    proposed = replace(RUNNING, violations={"flops.max": -0.5}, predicted_latency=0.015)
    trial = finished(proposed, Infeasible(TIMED, 1.5), Objective(), LIMITS)
    assert (trial.state, trial.cost, trial.seconds) == ("infeasible", TIMED, 1.5)
    assert trial.violations == {"flops.max": -0.5, "latency.max": pytest.approx(0.25)}
    assert trial.reason == "over its limits: latency.max by 25.0%"
    assert (trial.scores, trial.objective, trial.predicted_latency) == ({}, (), 0.015)
    again = reused(replace(RUNNING, number=7, violations={"flops.max": -0.5}), trial)
    assert (again.state, again.source, again.reason) == ("infeasible", 3, trial.reason)
    assert (again.cost, again.violations) == (trial.cost, trial.violations)
    assert not again.was_job


def test_a_result_has_the_latency_that_was_measured():
    fast = replace(COST, latency=0.01)
    wanted = Objective(cost="latency", target=0.02)
    trial = finished(RUNNING, Result({"accuracy": 0.5}, fast, 2.0), wanted, LIMITS)
    assert (trial.state, trial.cost.latency) == ("assessed", 0.01)
    assert trial.violations == {"latency.max": pytest.approx(-0.5)}
    assert trial.objective == pytest.approx((0.5 * 0.5**-0.07,))
    again = reused(replace(RUNNING, number=7), trial)
    assert (again.state, again.cost.latency) == ("reused", 0.01)
    assert again.violations == trial.violations


def test_a_predicted_refusal_says_so():
    trial = replace(RUNNING, violations={"predicted_latency.max": 0.5, "flops.max": -1})
    assert over_limits(trial) == "over its limits: predicted_latency.max by 50.0%"


CARD = Whereabouts("node", "a card", peak_memory=6 * 2**30, device_memory=8 * 2**30)


def test_how_far_a_network_is_from_filling_a_gpu_is_a_constraint():
    fits = finished(RUNNING, Result({"accuracy": 0.5}, COST, 2.0, where=CARD), Objective(), {})
    assert fits.violations == {"device_memory.max": -0.25}
    too_large = Failure("memory", "CUDA out of memory", CARD)
    assert finished(RUNNING, too_large, Objective(), {}).violations == {"device_memory.max": 0.1}
    known = replace(RUNNING, cost=replace(COST, training_bytes=12 * 2**30))
    assert finished(known, too_large, Objective(), {}).violations == {"device_memory.max": 0.5}
    elsewhere = finished(RUNNING, Failure("memory", "no RAM"), Objective(), {})
    assert elsewhere.violations == {}, "a machine's own memory is no bound of the networks"


def test_a_trial_keeps_where_it_was_and_what_failed_there_before():
    where = replace(CARD, attempts=(Attempt("other", "device: CUDA error"),))
    trial = finished(RUNNING, Result({"accuracy": 0.5}, COST, 2.0, where=where), Objective(), {})
    again = from_record(3, {"a": 1}, trial.proposed() | {"outcome": trial.outcome()}, {}, {})
    assert again.where == where
    assert again.violations == trial.violations
