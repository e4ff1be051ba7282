"""The loop under every order of events, and cut off at every write to its record."""

from __future__ import annotations

import contextlib
import math
import os
import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.history.jobs import Failure, Result, Score
from scalesearch.history.objective import Objective
from scalesearch.history.stopping import Stopping
from scalesearch.interfaces import Sampler
from scalesearch.spaces.repeated import RepeatedSpace
from scalesearch.study.loop import Listener
from tests.fakes import FOUR, SPACE
from tests.pool import Assessor, Killed, Pool, carry_out, facts, kill_at, opened, plan, space

SAMPLERS = ("random", "tpe", "nsga2")
FAILING = Assessor(fail=lambda job: job.architecture.stages[0].kernel == 5)


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def took(network):
    """A made-up latency: wider networks of this small space take longer, 4 to 8 ms."""
    return network.stages[0].width / 1000


# Latencies are 4, 6 and 8 ms: a third of the networks are over the limit, as their workers find.
TIMED = {"flops": Limit(max=15_000), "latency": Limit(max=0.007)}
TIMING = Assessor(latency=took, most=0.007, fail=FAILING.fail)


def check(trials, wanted):
    """What must be true of every record at its end."""
    assert [t.number for t in trials] == list(range(len(trials)))
    own = [t for t in trials if t.source is None and t.state != "infeasible"]
    assert all(t.state in ("assessed", "stopped", "failed") for t in own)
    if not wanted.repeats:
        assert len({t.digest for t in own}) == len(own), "a network was assessed twice"
    assert len(own) <= wanted.trials
    assert len(trials) <= wanted.proposals
    for trial in trials:
        assert (trial.state == "infeasible") == (max(trial.violations.values(), default=0) > 0)
        if trial.source is not None:
            source = trials[trial.source]
            assert source.number < trial.number
            assert source.source is None
            assert (trial.digest, trial.objective) == (source.digest, source.objective)
            assert trial.state == ("reused" if source.state == "assessed" else source.state)
    return own


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_assesses_as_many_networks_as_wanted(tmp_path, sampler):
    wanted = plan(sampler)
    trials = carry_out(tmp_path / "j", wanted, Pool())
    assert len(check(trials, wanted)) == 8
    # At random only what is within the limits is proposed; what is learnt oversteps them at times.
    assert any(t.state == "infeasible" for t in trials) == (sampler != "random")
    assert {t.cost.flops for t in trials if t.state != "infeasible"} <= set(range(15_001))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objective", [Objective(), Objective(cost="flops")], ids=["one", "pair"])
def test_samplers_cope_with_refusals_failures_and_two_objectives(tmp_path, sampler, objective):
    wanted = plan(sampler, trials=11, objective=objective, limits={"flops": Limit(max=9_000)})
    trials = carry_out(tmp_path / "j", wanted, Pool(slots=3, pick=lambda jobs: -1), FAILING)
    states = Counter(t.state for t in check(trials, wanted))
    assert states["assessed"] > 0
    assert states["failed"] > 0
    assert all(len(t.objective) == len(objective.directions) for t in trials if t.has_result)


def test_tpe_learns_from_the_objective(tmp_path):
    """Its proposals after the start are better than random ones, within the same limits."""
    means = {}
    for sampler in ("random", "tpe"):
        scores = []
        for seed in range(5):
            wanted = plan(sampler, seed=seed, trials=14, limits={})
            trials = carry_out(tmp_path / f"{sampler}{seed}", wanted, Pool())
            scores += [t.objective[0] for t in trials[4:10] if t.has_result]
        means[sampler] = sum(scores) / len(scores)
    assert means["tpe"] > means["random"] + 0.02


@given(draw=st.randoms(use_true_random=False), slots=st.integers(1, 5), data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_order_of_events_keeps_every_promise(draw, slots, data):
    sampler = data.draw(st.sampled_from(SAMPLERS))
    wanted = plan(sampler, seed=data.draw(st.integers(0, 99)))
    flying = set()
    pool = Pool(slots, lambda jobs: draw.randrange(len(jobs)))

    def handed_out(trial):
        if trial.state == "running":
            assert trial.digest not in flying, "the same network twice at once"
            flying.add(trial.digest)
        else:
            flying.discard(trial.digest)

    with TemporaryDirectory() as folder:
        trials = carry_out(Path(folder) / "j", wanted, pool, FAILING, Listener(handed_out))
    assert len(check(trials, wanted)) == 8
    assert len(pool.started) == len(set(pool.started)) == 8


@given(draw=st.randoms(use_true_random=False), data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_with_a_window_the_record_does_not_depend_on_who_is_faster(draw, data):
    sampler, result_lag = data.draw(st.sampled_from(SAMPLERS)), data.draw(st.integers(1, 4))
    stopping = data.draw(st.sampled_from([None, Stopping(rungs=(1, 2), keep=0.5)]))
    wanted = plan(sampler, result_lag=result_lag, stopping=stopping)
    assess = Assessor(epochs=3, fail=FAILING.fail)
    with TemporaryDirectory() as folder:
        in_order = carry_out(Path(folder) / "a", wanted, Pool(result_lag), assess)
        pool = Pool(result_lag, lambda jobs: draw.randrange(len(jobs)))
        shuffled = carry_out(Path(folder) / "b", wanted, pool, assess)
    assert facts(shuffled) == facts(in_order)


@pytest.mark.parametrize("seed", range(5))
def test_with_a_window_stopping_does_not_depend_on_who_is_faster(tmp_path, seed):
    stopping = Stopping(rungs=(1, 2), keep=0.5)
    wanted = plan(seed=seed, result_lag=4, limits={}, trials=16, stopping=stopping)
    assess = Assessor(epochs=3)
    in_order = carry_out(tmp_path / "in order", wanted, Pool(4), assess)
    assert Counter(t.state for t in in_order)["stopped"] > 3
    for other in range(3):
        draw = random.Random(other)
        pool = Pool(4, lambda jobs, draw=draw: draw.randrange(len(jobs)))
        assert facts(carry_out(tmp_path / str(other), wanted, pool, assess)) == facts(in_order)


def _every_cut(tmp_path, monkeypatch, wanted, make_pool, assess):
    """The record after a run cut off at each write and gone on with; and the uninterrupted one."""
    with monkeypatch.context() as patch:
        count = kill_at(patch, -1, torn=False)
        whole = carry_out(tmp_path / "whole", wanted, make_pool(), assess)
        writes = count()
    assert writes > 15
    for cut in range(writes):
        path = tmp_path / f"cut{cut}"
        first, second = make_pool(), make_pool()
        with monkeypatch.context() as patch:
            kill_at(patch, cut, torn=cut % 2 == 0)
            with pytest.raises(Killed):
                carry_out(path, wanted, first, assess)
        finished = opened(path, wanted).record.trials
        trials = carry_out(path, wanted, second, assess)
        check(trials, wanted)
        again = {n for n in second.started if n in finished and finished[n].state != "running"}
        assert not again, "a finished trial was assessed again"
        yield trials, whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_worker_cut_off_anywhere_ends_as_if_it_had_not_been(tmp_path, monkeypatch, sampler):
    wanted = plan(sampler, trials=6, stopping=Stopping(rungs=(1,), keep=0.5))
    assess = Assessor(epochs=2, fail=FAILING.fail)
    for trials, whole in _every_cut(tmp_path, monkeypatch, wanted, Pool, assess):
        assert facts(trials) == facts(whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_window_cut_off_anywhere_ends_as_if_it_had_not_been(tmp_path, monkeypatch, sampler):
    wanted = plan(
        sampler, trials=7, result_lag=3, stopping=Stopping(rungs=(1,), keep=0.5), space=space()
    )
    assess = Assessor(epochs=2, fail=FAILING.fail)

    def from_behind():
        return Pool(3, pick=lambda jobs: -1)

    for trials, whole in _every_cut(tmp_path, monkeypatch, wanted, from_behind, assess):
        assert facts(trials) == facts(whole)


def test_several_workers_cut_off_anywhere_lose_and_repeat_nothing(tmp_path, monkeypatch):
    wanted = plan("random", trials=8)
    cuts = _every_cut(tmp_path, monkeypatch, wanted, lambda: Pool(3, lambda jobs: -1), FAILING)
    for trials, whole in cuts:
        # Random proposals depend on nothing but their number, so the networks are the same too.
        assert facts(trials) == facts(whole)


@given(
    draw=st.randoms(use_true_random=False),
    cut=st.integers(2, 60),
    torn=st.booleans(),
    data=st.data(),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_window_in_any_order_cut_off_anywhere(draw, cut, torn, data):
    wanted = plan(data.draw(st.sampled_from(SAMPLERS)), result_lag=data.draw(st.integers(1, 4)))

    def pool():
        return Pool(wanted.result_lag, lambda jobs: draw.randrange(len(jobs)))

    with TemporaryDirectory() as folder:
        whole = carry_out(Path(folder) / "a", wanted, Pool(wanted.result_lag), FAILING)
        with pytest.MonkeyPatch.context() as limited:
            kill_at(limited, cut, torn)
            with contextlib.suppress(Killed):
                carry_out(Path(folder) / "b", wanted, pool(), FAILING)
        trials = carry_out(Path(folder) / "b", wanted, pool(), FAILING)
    assert facts(trials) == facts(whole)


def repeating(**others):
    """A plan of two networks that are trained three times each."""
    networks = {number: space().sample(number) for number in (0, 1)}
    repeated = RepeatedSpace(networks=networks, repeats=3)
    fields = {"phase": "confirm", "space": repeated, "trials": 6, "proposals": 6, "limits": {}}
    return plan("grid", **(fields | {"repeats": True} | others))


@pytest.mark.parametrize("lag", [0, 2])
def test_repeats_are_trainings_of_their_own_wherever_they_are_cut_off(tmp_path, monkeypatch, lag):
    wanted = repeating(result_lag=lag)
    assess = Assessor(epochs=2, fail=lambda job: job.number == 3)

    def pool():
        return Pool(lag, pick=lambda jobs: -1) if lag else Pool()

    for trials, whole in _every_cut(tmp_path, monkeypatch, wanted, pool, assess):
        assert facts(trials) == facts(whole)
        states = [trial.state for trial in trials]
        assert states == ["assessed"] * 3 + ["failed"] + ["assessed"] * 2
        assert len({trial.objective for trial in trials}) == 6, "each has a seed of its own"
        assert len({trial.digest for trial in trials}) == 2


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (4, 1), (1, 4), (3, 2)])
def test_the_number_of_workers_may_change_when_a_run_goes_on(tmp_path, monkeypatch, before, after):
    for cut in range(4, 30, 3):
        path = tmp_path / str(cut)
        with monkeypatch.context() as patch:
            kill_at(patch, cut, torn=False)
            with pytest.raises(Killed):
                carry_out(path, plan(result_lag=before), Pool(3, lambda jobs: -1), FAILING)
        wanted = plan(result_lag=after)
        trials = carry_out(path, wanted, Pool(max(1, after), lambda jobs: -1), FAILING)
        assert len(check(trials, wanted)) == 8


class _TwoInTurn(Sampler):
    """Proposes two parameters sets in turn, so that duplicates wait for networks in flight."""

    def make(self, space, seed, limits, workload):
        return optuna.samplers.RandomSampler(seed=seed % 2)


def test_a_network_in_flight_is_waited_for_and_reused(tmp_path):
    wanted = plan(trials=3, proposals=12, limits={}, sampler=_TwoInTurn())
    pool = Pool(slots=4)
    trials = carry_out(tmp_path / "j", wanted, pool)
    assert len(trials) == 12
    assert Counter(t.state for t in trials) == {"assessed": 2, "reused": 10}
    check(trials, wanted)


def test_who_waits_for_a_network_is_ended_by_the_next_process(tmp_path, monkeypatch):
    """Cut off at every write, also between a result and the trials that wait for it."""
    wanted = plan(trials=3, proposals=8, limits={}, sampler=_TwoInTurn())
    for trials, _ in _every_cut(tmp_path, monkeypatch, wanted, lambda: Pool(4), Assessor()):
        assert Counter(t.state for t in trials) == {"assessed": 2, "reused": 6}


def test_a_network_that_failed_is_not_tried_again(tmp_path):
    wanted = plan(trials=3, proposals=9, limits={}, sampler=_TwoInTurn())
    trials = carry_out(tmp_path / "j", wanted, Pool(), Assessor(fail=lambda job: True))
    assert [t.state for t in trials] == ["failed"] * 9
    assert sum(t.source is None for t in trials) == 2
    assert {t.reason for t in trials} == {"error: made to fail"}


@pytest.mark.parametrize("result_lag", [0, 1, 3])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_smaller_than_the_search_ends_it(tmp_path, sampler, result_lag):
    wanted = plan(
        sampler, space=space(FOUR), trials=24, proposals=2400, limits={}, result_lag=result_lag
    )
    assert wanted.space.size == 4
    trials = carry_out(tmp_path / "j", wanted, Pool(max(1, result_lag)))
    assert len(check(trials, wanted)) == 4
    assert len(trials) < 200


@pytest.mark.parametrize("result_lag", [0, 2])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_ends_when_all_within_the_limits_were_tried(tmp_path, sampler, result_lag):
    limits = {"flops": Limit(max=8000)}
    wanted = plan(
        sampler, space=space(FOUR), trials=24, proposals=2400, limits=limits, result_lag=result_lag
    )
    trials = carry_out(tmp_path / "j", wanted, Pool(max(1, result_lag)))
    within = {t.digest for t in trials if t.state == "assessed"}
    assert len(within) == wanted.space.count(limits).value < 4
    assert len(trials) < 60
    if sampler == "random":
        assert {t.state for t in trials} <= {"assessed", "reused"}


def test_proposals_are_bounded(tmp_path):
    wanted = plan(trials=8, proposals=30, limits={"flops": Limit(min=16_000)}, sampler=_TwoInTurn())
    trials = carry_out(tmp_path / "j", wanted, Pool())
    assert [t.state for t in trials] == ["infeasible"] * 30
    assert "flops.min by" in trials[0].reason


@pytest.mark.parametrize("slots", [1, 3])
def test_a_grid_goes_through_its_space_once(tmp_path, slots):
    wanted = plan("grid", phase="grid", trials=24, proposals=24)
    pool = Pool(slots, pick=lambda jobs: -1)
    trials = carry_out(tmp_path / "j", wanted, pool)
    assert [dict(t.parameters) for t in trials] == list(wanted.space.points())
    assert len(pool.started) == sum(t.state == "assessed" for t in trials)


def test_an_objective_that_is_no_number_is_a_failed_trial(tmp_path):
    kept = []
    wanted = plan(trials=4, keep_weights=True)
    assess = Assessor(nan=lambda job: job.architecture.stages[0].kernel == 5, weights=True)
    listener = Listener(weights=lambda trial, done: kept.append((trial.number, done.weights)))
    trials = carry_out(tmp_path / "j", wanted, Pool(), assess, listener)
    own = check(trials, wanted)
    failed = [t for t in own if t.state == "failed"]
    assert failed
    assert all("the objective is (nan,)" in t.reason for t in failed)
    assert [number for number, _ in kept] == [t.number for t in own if t.state == "assessed"]


def test_weights_come_before_the_trial_is_recorded(tmp_path):
    seen = []
    listener = Listener(
        trial=lambda trial: seen.append((trial.number, trial.state)),
        weights=lambda trial, result: seen.append((trial.number, result.weights)),
    )
    wanted = plan(trials=1, limits={}, keep_weights=True)
    carry_out(tmp_path / "j", wanted, Pool(), Assessor(weights=True), listener)
    assert seen == [(0, "running"), (0, b"weights"), (0, "assessed")]


def test_a_metric_that_is_not_there_is_the_users_mistake(tmp_path):
    wanted = plan(objective=Objective(metric="accurcy"))
    with pytest.raises(UserError, match=r"the evaluator gives no 'accurcy'") as error:
        carry_out(tmp_path / "j", wanted, Pool())
    assert error.value.allowed == "accuracy"
    assert error.value.hint == "did you mean 'accuracy'?"


def test_a_cost_is_the_one_that_limits_were_held_against(tmp_path):
    """Memory is counted for the workload of the plan."""
    wanted = plan(trials=3, limits={}, workload=Workload(training_batch=64))
    small = plan(trials=3, limits={})
    a = carry_out(tmp_path / "a", wanted, Pool())
    b = carry_out(tmp_path / "b", small, Pool())
    assert all(
        x.cost.training_bytes > 10 * y.cost.training_bytes for x, y in zip(a, b, strict=True)
    )


def test_successive_halving_stops_the_worse_half(tmp_path):
    wanted = plan(trials=8, limits={}, stopping=Stopping(rungs=(1,), keep=0.5))
    trials = carry_out(tmp_path / "j", wanted, Pool(), Assessor(epochs=2))
    own = check(trials, wanted)
    firsts = {}
    for trial in own:  # by hand: at step 1 it goes on if it is among the best half of all so far
        firsts[trial.number] = trial.curve[1]
        better = sum(value > trial.curve[1] for value in firsts.values())
        goes_on = better < max(1, len(firsts) // 2)
        assert (trial.state == "assessed") == goes_on, trial.number
        assert len(trial.curve) == (2 if goes_on else 1)
    assert {t.reason for t in own} == {"", "stopped after step 1"}


def test_scores_of_numpy_can_be_recorded(tmp_path):
    import numpy as np

    def assess(job):
        yield Score(1, {"accuracy": np.float32(0.5)})
        from scalesearch.cost.closed_form import cost

        return Result({"accuracy": np.float32(0.5)}, cost(job.architecture), 0.1)

    wanted = plan(trials=1, limits={})
    carry_out(tmp_path / "j", wanted, Pool(), assess)
    (trial,) = opened(tmp_path / "j", wanted).record.trials.values()
    assert trial.scores == {"accuracy": 0.5}


def test_every_job_has_its_own_seed_and_the_same_each_time(tmp_path):
    seeds = []

    def assess(job):
        seeds.append((job.number, job.seed))
        return (yield from Assessor()(job))

    for name in "ab":
        carry_out(tmp_path / name, plan(trials=5), Pool(), assess)
    assert seeds[:5] == seeds[5:]
    assert len({seed for _, seed in seeds}) == 5
    carry_out(tmp_path / "c", plan(trials=5, seed=4), Pool(), assess)
    assert not {seed for _, seed in seeds[:5]} & {seed for _, seed in seeds[10:]}


def test_a_record_of_other_networks_is_refused(tmp_path):
    """The file of the space was edited: the same parameters now mean something else."""
    carry_out(tmp_path / "j", plan(trials=3), Pool())
    changed = plan(trials=3, space=space(SPACE.replace("stride: 2, depth", "stride: 1, depth")))
    with pytest.raises(UserError, match="was another network") as error:
        opened(tmp_path / "j", changed)
    assert "another name or --folder" in error.value.hint


def test_counts_and_done(tmp_path):
    wanted = plan("random", trials=8, result_lag=3)
    loop = opened(tmp_path / "j", wanted)
    assert (loop.done, dict(loop.counts)) == (0, {})
    carry_out(tmp_path / "j", wanted, Pool(3), FAILING)
    again = opened(tmp_path / "j", wanted)
    assert again.done == 8
    assert sum(again.counts.values()) == again.record.next_number
    assert again.ask() is None


def test_a_timeout_is_a_failed_trial(tmp_path):
    loop = opened(tmp_path / "j", plan(trials=1, limits={}))
    job = loop.ask()
    loop.tell(job, Failure("timeout", "took longer than its deadline of 5 s"))
    (trial,) = loop.finish()
    assert (trial.state, trial.reason) == (
        "failed",
        "timeout: took longer than its deadline of 5 s",
    )
    assert math.isclose(trial.seconds, 0)


@pytest.mark.parametrize("result_lag", [0, 1, 3])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_worker_refuses_what_it_measures_to_be_too_slow(tmp_path, sampler, result_lag):
    wanted = plan(sampler, trials=8, limits=TIMED, result_lag=result_lag)
    pool = Pool(max(1, result_lag), lambda jobs: -1)
    trials = carry_out(tmp_path / "j", wanted, pool, TIMING)
    assert len(check(trials, wanted)) == 8, "infeasible ones are not among the trials"
    slow = [t for t in trials if t.state == "infeasible" and t.was_job]
    assert slow
    for trial in slow:
        assert trial.cost.latency == 0.008
        assert trial.violations["latency.max"] == pytest.approx(8 / 7 - 1)
        assert trial.reason == "over its limits: latency.max by 14.3%"
        assert (trial.objective, trial.scores, trial.seconds) == ((), {}, 0.25)
    assert {t.number for t in slow} <= set(pool.started), "a worker found out"
    for trial in trials:
        if trial.state in ("assessed", "reused"):
            assert trial.cost.latency == took(wanted.space.decode(trial.parameters))
            assert trial.violations["latency.max"] == pytest.approx(trial.cost.latency / 0.007 - 1)


def test_a_network_that_was_too_slow_is_not_measured_again(tmp_path):
    wanted = plan(trials=3, proposals=9, limits=TIMED, sampler=_TwoInTurn())
    pool = Pool(slots=2)
    trials = carry_out(tmp_path / "j", wanted, pool, Assessor(latency=took, most=0.001))
    assert [t.state for t in trials] == ["infeasible"] * 9
    assert len(pool.started) == 2
    later = [t for t in trials if not t.was_job]
    assert {t.source for t in later} == set(pool.started)
    assert all(t.cost.latency == trials[t.source].cost.latency for t in later)
    assert all(t.violations == trials[t.source].violations for t in later)


@pytest.mark.parametrize("result_lag", [0, 2])
def test_networks_that_were_too_slow_count_when_a_space_is_used_up(tmp_path, result_lag):
    wanted = plan(space=space(FOUR), trials=24, proposals=2400, limits=TIMED, result_lag=result_lag)
    trials = carry_out(tmp_path / "j", wanted, Pool(2), Assessor(latency=took, most=0.001))
    assert {t.state for t in trials} == {"infeasible"}
    assert sum(t.was_job for t in trials) == 4
    assert len(trials) < 200


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("result_lag", [0, 3])
def test_refusals_of_workers_are_final_wherever_a_run_is_cut_off(
    tmp_path, monkeypatch, sampler, result_lag
):
    wanted = plan(sampler, trials=5, limits=TIMED, result_lag=result_lag)

    def pool():
        return Pool(max(1, result_lag), pick=lambda jobs: -1)

    for trials, whole in _every_cut(tmp_path, monkeypatch, wanted, pool, TIMING):
        assert facts(trials) == facts(whole)
        assert any(t.state == "infeasible" and t.was_job for t in trials)


@given(
    draw=st.randoms(use_true_random=False),
    cut=st.integers(2, 60),
    torn=st.booleans(),
    data=st.data(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_with_a_window_refusals_do_not_depend_on_who_is_faster(draw, cut, torn, data):
    most = data.draw(st.sampled_from([0.005, 0.007]))
    limits = TIMED | {"latency": Limit(max=most)}
    wanted = plan(
        data.draw(st.sampled_from(SAMPLERS)),
        result_lag=data.draw(st.integers(1, 5)),
        trials=data.draw(st.integers(1, 6)),
        limits=limits,
    )
    assess = Assessor(latency=took, most=most)

    def pool():
        return Pool(wanted.result_lag, lambda jobs: draw.randrange(len(jobs)))

    with TemporaryDirectory() as folder:
        whole = carry_out(Path(folder) / "a", wanted, Pool(wanted.result_lag), assess)
        check(whole, wanted)
        with pytest.MonkeyPatch.context() as limited:
            kill_at(limited, cut, torn)
            with contextlib.suppress(Killed):
                carry_out(Path(folder) / "b", wanted, pool(), assess)
        trials = carry_out(Path(folder) / "b", wanted, pool(), assess)
    assert facts(trials) == facts(whole)


def test_what_is_predicted_to_be_too_slow_never_reaches_a_worker(tmp_path):
    """What is predicted to be fast enough is measured all the same, and may be infeasible then."""
    wanted = plan(trials=6, limits=TIMED, predict=lambda network: took(network) - 0.001)
    strict = plan(trials=6, limits=TIMED, predict=lambda network: took(network) + 0.001)
    lenient, few = Pool(), Pool()
    lenient_trials = carry_out(tmp_path / "a", wanted, lenient, TIMING)
    assert any(t.state == "infeasible" and t.was_job for t in lenient_trials)
    trials = carry_out(tmp_path / "b", strict, few, TIMING)
    check(trials, strict)
    for trial in trials:
        predicted = took(strict.space.decode(trial.parameters)) + 0.001
        assert trial.predicted_latency == pytest.approx(predicted)
        assert trial.violations["predicted_latency.max"] == pytest.approx(predicted / 0.007 - 1)
        if predicted > 0.007:
            assert trial.state == "infeasible"
            assert trial.cost.latency is None, "a prediction is no measurement"
            assert "predicted_latency.max by" in trial.reason
            assert "latency.max" not in trial.violations
    assert any(t.reason == "over its limits: predicted_latency.max by 28.6%" for t in trials)
    again = opened(tmp_path / "b", strict).record.trials
    assert facts(again.values()) == facts(trials)
    assert [t.predicted_latency for t in again.values()] == [t.predicted_latency for t in trials]


def test_a_trial_that_shows_its_scores_again_is_not_judged_anew_by_them(tmp_path):
    """What it has gone on after once it goes on after again, however good its peers are by now."""
    stopping = Stopping(rungs=(1, 2), keep=0.5)
    wanted = plan("random", trials=4, limits={}, stopping=stopping)
    loop = opened(tmp_path / "j", wanted)
    late = loop.ask()
    assert loop.keep(late, Score(1, {"accuracy": 0.2}))
    assert loop.keep(late, Score(2, {"accuracy": 0.3}))
    for _ in range(3):
        peer = loop.ask()
        for step in (1, 2):
            loop.keep(peer, Score(step, {"accuracy": 0.9}))
    again = opened(tmp_path / "j", wanted)  # its process was killed
    assert again.ask() == late
    assert again.keep(late, Score(1, {"accuracy": 0.2}))
    assert again.record.trials[late.number].curve == {1: 0.2, 2: 0.3}, (
        "the later ones are not forgotten"
    )
    assert not again.keep(late, Score(2, {"accuracy": 0.3})), "nobody knows what was decided here"


def test_other_scores_than_before_are_judged(tmp_path):
    stopping = Stopping(rungs=(1, 2), keep=0.5)
    wanted = plan("random", trials=4, limits={}, stopping=stopping)
    loop = opened(tmp_path / "j", wanted)
    late = loop.ask()
    for step in (1, 2):
        loop.keep(late, Score(step, {"accuracy": 0.5}))
    for _ in range(3):
        loop.keep(loop.ask(), Score(1, {"accuracy": 0.9}))
    assert not loop.keep(late, Score(1, {"accuracy": 0.4})), "as on another kind of GPU"
    assert loop.record.trials[late.number].curve == {1: 0.4}
