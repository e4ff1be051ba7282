from __future__ import annotations

from types import SimpleNamespace

import pytest

from scalesearch.history.record import open_storage
from scalesearch.interfaces import Executor
from scalesearch.study.context import Context
from scalesearch.study.folder import RunFolder
from scalesearch.study.load import load_study
from scalesearch.study.watch import Watches
from tests.fakes import Evaluator, write_study
from tests.pool import space


@pytest.fixture
def context(tmp_path):
    def make(*overrides):
        study = load_study(write_study(tmp_path), overrides)
        folder = RunFolder(tmp_path / "run")
        folder.path.mkdir(exist_ok=True)
        return Context(study, folder, open_storage(folder.record, repair=True), Watches([]))

    return make


def planned(context, **others):
    sampler = context.study.search.sampler.make()
    return context.plan("search", space(), sampler, Evaluator(), **others)


def test_a_plan_goes_through_its_whole_space_unless_told_otherwise(context):
    plan = planned(context())
    assert (plan.trials, plan.proposals, plan.seed, plan.result_lag) == (24, 24, 0, 0)
    assert (plan.limits, plan.stopping, plan.keep_weights) == ({}, None, False)
    assert plan.workload == Evaluator().workload
    assert planned(context(), trials=3).trials == 3


def test_deterministic_mode_keeps_as_many_jobs_behind_as_there_are_workers(context):
    several = ("execution.executor=ray", "execution.workers=3", "execution.deterministic=true")
    assert planned(context(*several)).result_lag == 3
    assert planned(context(*several[:2])).result_lag == 0


def test_every_phase_has_the_metric_of_the_search(context):
    plan = planned(context("search.objective=[f1, flops]"))
    assert (plan.objective.metric, plan.objective.cost) == ("f1", None)


def test_nothing_is_started_for_a_phase_that_is_done(context, monkeypatch):
    made = context()
    wanted = planned(made, trials=2, proposals=10)
    first = made.carry_out(wanted, Evaluator())
    assert (made.folder.path / "trials.csv").exists()
    again = context()

    class Never(Executor):
        def run(self, *_):
            raise AssertionError("started")

    monkeypatch.setitem(vars(again), "executor", Never())
    assert again.carry_out(wanted, Evaluator()) == first


def test_checkpoints_of_other_settings_and_of_finished_trials_go(context, monkeypatch):
    before = context()
    (before.unfinished / "search-0").mkdir(parents=True)
    assert context("execution.timeout=60").unfinished == before.unfinished, "how it is carried out"
    made = context("dataset.images=50")
    assert made.unfinished != before.unfinished, "a network trained on other images"
    for number in (0, 1):
        (made.unfinished / f"search-{number}").mkdir(parents=True)
    trials = [SimpleNamespace(number=0, state="running"), SimpleNamespace(number=1, state="failed")]
    monkeypatch.setattr(RunFolder, "read", lambda folder, storage: {"search": trials})
    made.tidy_unfinished()
    assert not before.unfinished.exists()
    assert [folder.name for folder in made.unfinished.iterdir()] == ["search-0"]
    trials[0].state = "assessed"
    made.tidy_unfinished()
    assert not made.unfinished.parent.exists()
