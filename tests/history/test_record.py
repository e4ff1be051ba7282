"""The record, held against Optuna reading the same journal."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from scalesearch.cost.cost import Cost
from scalesearch.cost.limits import Limit
from scalesearch.errors import UserError
from scalesearch.history.objective import Objective
from scalesearch.history.record import Record, now, open_storage, read_trials
from scalesearch.history.stopping import Stopping
from scalesearch.history.trials import Trial
from tests.pool import Assessor, Pool, carry_out, facts, opened, plan

COST = Cost(1_000, 1_100, 50, 200, 4_000, 9_000)
CHOICES = {"stage1.width": (4, 6, 8), "stage1.se": (0.0, 0.25), "stage2": ("identity", "mbconv")}
STATES = {
    "assessed": TrialState.COMPLETE,
    "reused": TrialState.COMPLETE,
    "infeasible": TrialState.PRUNED,
    "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


@pytest.fixture
def record(tmp_path):
    return reopened(tmp_path / "record.journal")


def reopened(path, choices=CHOICES, directions=("maximize",)):
    made = Record(open_storage(path, repair=True), "search", choices, directions)
    made.open_sampler_study()
    return made


def by_optuna(path):
    """The search as Optuna alone reads it from the journal."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name="search", storage=storage)


def shown(record):
    """The trials that a sampler sees when it is asked for the next proposal."""

    class Spy(optuna.samplers.RandomSampler):
        def infer_relative_search_space(self, study, trial):
            self.trials = study.get_trials(deepcopy=True)[: record.next_number]
            return super().infer_relative_search_space(study, trial)

    spy = Spy()
    record.propose(spy)
    return spy.trials


def proposed(record, **fields):
    number = record.next_number
    parameters = record.propose(optuna.samplers.RandomSampler(seed=number))
    violations = {"flops.max": -0.5}
    made = {
        "state": "running",
        "digest": f"d{number}",
        "cost": COST,
        "violations": violations,
    } | fields
    return Trial(number=number, parameters=parameters, **made)


def finished(trial, **fields):
    from dataclasses import replace

    done = {"state": "assessed", "objective": (0.5,), "scores": {"accuracy": 0.5}, "seconds": 2.5}
    return replace(trial, **(done | fields), finished=now())


def every_state(path):
    """A search with trials of each state."""
    wanted = plan("tpe", trials=12, stopping=Stopping(rungs=(1,), keep=0.6))
    fails = Assessor(epochs=2, fail=lambda job: job.architecture.stages[0].width == 4)
    trials = carry_out(path, wanted, Pool(), fails)
    assert {t.state for t in trials} == set(STATES)
    return trials


def test_optuna_reads_what_was_recorded(tmp_path):
    path = tmp_path / "record.journal"
    trials = every_state(path)
    study = by_optuna(path)
    assert len(study.trials) == len(trials)
    for ours, theirs in zip(trials, study.trials, strict=True):
        assert theirs.number == ours.number
        assert theirs.state == STATES[ours.state]
        assert theirs.params == dict(ours.parameters)
        assert theirs.constraints == pytest.approx(dict(ours.violations))
        assert theirs.intermediate_values == dict(ours.curve)
        assert theirs.user_attrs["flops"] == ours.cost.flops
        if ours.has_result:
            assert theirs.values == list(ours.objective)
    best = max((t for t in trials if t.has_result), key=lambda t: t.objective[0])
    assert study.best_value == best.objective[0]
    assert study.best_trial.user_attrs["digest"] == best.digest


def test_a_pair_is_a_multi_objective_study(tmp_path):
    wanted = plan(trials=6, objective=Objective(cost="flops"))
    trials = carry_out(tmp_path / "j", wanted, Pool())
    study = by_optuna(tmp_path / "j")
    names = [direction.name for direction in study.directions]
    assert names == ["MAXIMIZE", "MINIMIZE"]
    assert [t.values for t in study.trials if t.state == TrialState.COMPLETE] == [
        [t.scores["accuracy"], t.cost.flops] for t in trials if t.has_result
    ]


def test_trials_read_back_are_the_same(tmp_path):
    path = tmp_path / "record.journal"
    trials = every_state(path)
    again = read_trials(open_storage(path, repair=False), "search")
    assert again == trials
    assert read_trials(open_storage(path, repair=False), "grid") == []


def test_a_trial_costs_few_lines(record, tmp_path):
    """One for an infeasible trial; a run one has its proposal, a line a step, outcome and state."""
    path = tmp_path / "record.journal"

    def lines():
        return len(path.read_text().splitlines())

    before = lines()
    record.add(proposed(record, state="infeasible", violations={"flops.max": 0.2}))
    assert lines() - before == 1
    trial = proposed(record)
    record.add(trial)
    record.report(trial.number, 1, 0.4)
    record.finish(finished(trial))
    assert lines() - before == 1 + 4
    record.publish(trial.number)
    assert lines() - before == 5, "what is published is not a matter of the journal"


def test_nothing_is_written_before_add(record, tmp_path):
    size = (tmp_path / "record.journal").stat().st_size
    proposed(record)
    assert (tmp_path / "record.journal").stat().st_size == size


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_dropped(record, tmp_path, cut):
    path = tmp_path / "record.journal"
    record.add(finished(proposed(record)))
    whole = path.read_bytes()
    record.add(finished(proposed(record)))
    path.write_bytes(path.read_bytes()[:-cut])
    again = reopened(path)
    assert list(again.trials) == [0]
    assert path.read_bytes().startswith(whole)
    assert all(line.endswith(b"\n") and json.loads(line) for line in path.open("rb"))
    again.add(finished(proposed(again)))
    assert list(reopened(path).trials) == [0, 1]


@pytest.mark.parametrize("after", ["\n", "\n\n \n", '{"op_code": 4, "wor\n', "words\n\n", "{\n"])
def test_a_torn_line_that_an_editor_ended_is_dropped(record, tmp_path, after):
    path = tmp_path / "record.journal"
    whole = path.read_bytes()
    path.write_bytes(whole + after.encode())
    open_storage(path, repair=True)
    assert path.read_bytes() == whole


def test_a_whole_last_line_with_the_ending_of_another_system_stays(record, tmp_path):
    path = tmp_path / "record.journal"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    whole = path.read_bytes()
    open_storage(path, repair=True)
    assert path.read_bytes() == whole


def test_a_file_that_is_all_one_torn_line_is_emptied(tmp_path):
    path = tmp_path / "record.journal"
    path.write_text('{"op_code":0,"worker_id":"' + 200_000 * "x")
    assert reopened(path).trials == {}


def test_a_reader_leaves_the_file_as_it_is(record, tmp_path):
    path = tmp_path / "record.journal"
    record.add(finished(proposed(record)))
    with path.open("a") as file:
        file.write('{"op_code":4,"wor')
    torn = path.read_bytes()
    assert len(read_trials(open_storage(path, repair=False), "search")) == 1
    assert path.read_bytes() == torn


def test_the_lock_of_a_killed_process_is_dropped_at_once(record, tmp_path):
    """Optuna on its own waits 30 s for it."""
    path = tmp_path / "record.journal"
    path.with_name(f"{path.name}.lock").symlink_to(path)
    started = time.monotonic()
    again = reopened(path)
    again.add(finished(proposed(again)))
    assert time.monotonic() - started < 5


def test_a_trial_killed_between_outcome_and_state_is_finished(record, tmp_path, monkeypatch):
    trial = proposed(record)
    record.add(trial)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(JournalStorage, "set_trial_state_values", killed)
    with pytest.raises(KeyboardInterrupt):
        record.finish(finished(trial))
    monkeypatch.undo()
    again = reopened(tmp_path / "record.journal")
    assert again.trials[0].state == "assessed"
    study = by_optuna(tmp_path / "record.journal")
    assert study.trials[0].state == TrialState.COMPLETE
    assert study.trials[0].values == [0.5]
    assert shown(again)[0].state == TrialState.COMPLETE


@pytest.mark.parametrize("objective", [Objective(), Objective(cost="flops")], ids=["one", "pair"])
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_reopened_record_proposes_what_an_open_one_would(tmp_path, sampler, objective):
    """Also with stopped trials, which TPE ranks by the last of their scores."""
    wanted = plan(
        sampler,
        trials=14,
        limits={"flops": Limit(max=9_000)},
        objective=objective,
        stopping=Stopping(rungs=(1, 2), keep=0.3),
    )
    fails = Assessor(epochs=3, fail=lambda job: job.architecture.stages[0].width == 4)
    loop = opened(tmp_path / "j", wanted)
    Pool().run(loop.ask, fails, loop.keep, loop.tell)
    trials = loop.finish()
    states = {"stopped", "failed"} if sampler == "random" else {"stopped", "infeasible", "failed"}
    assert states <= {t.state for t in trials}
    again = opened(tmp_path / "j", wanted).record
    for seed in range(8):
        asked = (wanted.space, seed, wanted.limits, wanted.workload)
        makers = [wanted.sampler.make(*asked) for _ in range(2)]
        first, second = loop.record.propose(makers[0]), again.propose(makers[1])
        assert first == second
    for ours, theirs in zip(shown(loop.record), shown(again), strict=True):
        names = ["number", "state", "values", "params", "constraints"]
        names += ["intermediate_values"] if ours.state == TrialState.PRUNED else []
        for name in names:
            assert getattr(ours, name) == getattr(theirs, name), (ours.number, name)


def test_unpublished_trials_look_unfinished_to_the_sampler(record, tmp_path):
    for _ in range(3):
        record.add(finished(proposed(record)))
    again = Record(
        open_storage(tmp_path / "record.journal", repair=True), "search", CHOICES, ["maximize"]
    )
    again.open_sampler_study(unpublished=[1])
    states = [trial.state.name for trial in shown(again)]
    assert states == ["COMPLETE", "RUNNING", "COMPLETE"]
    again.publish(1)
    assert shown(again)[1].values == [0.5]
    assert shown(again)[1].params == record.trials[1].parameters


def test_other_choices_than_those_recorded_are_refused(record, tmp_path):
    record.add(finished(proposed(record)))
    path = tmp_path / "record.journal"
    changed = CHOICES | {"stage1.width": (4, 6, 10)}
    with pytest.raises(UserError, match=r"stage1\.width: 4, 6, 8 -> 4, 6, 10") as error:
        reopened(path, changed)
    assert "another name or --folder" in str(error.value)
    fewer = {name: c for name, c in CHOICES.items() if name != "stage2"}
    with pytest.raises(UserError, match="stage2: identity, mbconv -> not there"):
        reopened(path, fewer)


def test_a_journal_of_before_0_2_is_read_and_continued(tmp_path):
    """It says `refused` and `excess` for what is infeasible and its violations now."""
    path = tmp_path / "record.journal"
    shutil.copy(Path(__file__).parent / "data" / "before_0.2.journal", path)
    assessed, infeasible, slow, running = read_trials(open_storage(path, repair=False), "search")
    assert (assessed.state, assessed.objective, assessed.curve[3]) == ("assessed", (0.919,), 0.919)
    assert (assessed.cost.flops, assessed.digest) == (849_564, "392521036f267d72")
    assert (infeasible.state, infeasible.was_job) == ("infeasible", False)
    assert infeasible.violations["flops.max"] == pytest.approx(0.13, abs=1e-3)
    assert (slow.state, slow.was_job, slow.cost.latency) == ("infeasible", True, 0.05)
    assert slow.violations["latency.max"] == 0.25
    assert (running.state, running.curve) == ("running", {1: 0.619})
    choices = {"stage1.width": (8, 12, 16), "stage1.kernel": (3, 5), "stage2.width": (16, 24, 32)}
    record = reopened(path, choices)
    record.finish(finished(running))
    record.publish(running.number)
    assert [trial.state.name for trial in shown(record)] == [
        *("COMPLETE", "PRUNED", "PRUNED", "COMPLETE")
    ]
    assert read_trials(open_storage(path, repair=False), "search")[3].state == "assessed"


def test_phases_share_a_file_and_not_their_trials(tmp_path):
    path = tmp_path / "j"
    search = plan(trials=3, limits={"flops": Limit(max=1e9)})
    first = carry_out(path, search, Pool())
    grid = plan("grid", phase="grid", trials=24, proposals=24)
    second = carry_out(path, grid, Pool())
    storage = open_storage(path, repair=False)
    assert facts(read_trials(storage, "search")) == facts(first)
    assert facts(read_trials(storage, "grid")) == facts(second)


def test_equal_distributions_of_a_journal_are_one_object(record, tmp_path):
    parse = optuna.distributions.json_to_distribution
    for _ in range(2):
        record.add(proposed(record, state="infeasible"))
    again = reopened(tmp_path / "record.journal")
    first, second = open_storage(tmp_path / "record.journal", repair=False).get_all_trials(0)
    assert first.distributions == by_optuna(tmp_path / "record.journal").trials[0].distributions
    for name in CHOICES:
        assert first.distributions[name] is second.distributions[name]
    one, other = shown(again)[:2]
    assert one.distributions == other.distributions == first.distributions
    assert optuna.storages.journal._storage.json_to_distribution is parse


def test_now_is_in_utc_to_the_second():
    from datetime import UTC, datetime

    moment = datetime.fromisoformat(now())
    assert moment.tzinfo == UTC
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 3
    assert moment.microsecond == 0


def test_notes_of_a_sampler_are_kept(tmp_path):
    """Optuna's own NSGA-II marks each trial with its generation, and needs that to go on."""

    class Sampler:
        def make(self, space, seed, limits, workload):
            return optuna.samplers.NSGAIISampler(population_size=4, seed=seed)

    carry_out(tmp_path / "j", plan(Sampler(), trials=6), Pool())
    trials = by_optuna(tmp_path / "j").trials
    notes = [t.system_attrs.get("NSGAIISampler:generation") for t in trials]
    assert set(notes) >= {0, 1}
    assert None not in notes


SLOW = {"flops.max": -0.5, "latency.max": 0.25}


def slow(trial):
    from dataclasses import replace

    timed = replace(trial.cost, latency=0.05)
    return finished(trial, state="infeasible", objective=(), scores={}, cost=timed, violations=SLOW)


def test_what_a_worker_found_out_of_its_limits_is_a_constraint(record, tmp_path):
    trial = proposed(record)
    record.add(trial)
    assert shown(record)[0].constraints == {"flops.max": -0.5}
    record.finish(slow(trial))
    assert shown(record)[0].constraints == {"flops.max": -0.5}, "not before it is published"
    record.publish(trial.number)
    assert shown(record)[0].constraints == SLOW
    (theirs,) = by_optuna(tmp_path / "record.journal").trials
    assert theirs.state == TrialState.PRUNED
    assert theirs.constraints == SLOW
    again = reopened(tmp_path / "record.journal")
    assert again.trials[0] == record.trials[0]
    assert shown(again)[0].constraints == SLOW


def test_an_unpublished_trial_does_not_show_what_its_worker_found(record, tmp_path):
    trial = proposed(record)
    record.add(trial)
    record.finish(slow(trial))
    again = Record(
        open_storage(tmp_path / "record.journal", repair=True), "search", CHOICES, ("maximize",)
    )
    again.open_sampler_study([0])
    (only,) = shown(again)
    assert only.state == TrialState.RUNNING
    assert only.constraints == {"flops.max": -0.5}
    again.publish(0)
    assert shown(again)[0].constraints == SLOW
    assert again.trials[0].violations == SLOW


@pytest.mark.parametrize("name", ["set_trial_system_attr", "set_trial_state_values"])
def test_a_trial_refused_by_its_worker_is_final_once_that_is_written(
    record, tmp_path, monkeypatch, name
):
    trial = proposed(record)
    record.add(trial)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(JournalStorage, name, killed)
    with pytest.raises(KeyboardInterrupt):
        record.finish(slow(trial))
    monkeypatch.undo()
    again = reopened(tmp_path / "record.journal")
    assert again.trials[0].state == "infeasible"
    assert again.trials[0].cost.latency == 0.05
    study = by_optuna(tmp_path / "record.journal")
    assert study.trials[0].state == TrialState.PRUNED
    assert study.trials[0].constraints == SLOW
