"""Rounds of a grid: as many trainings as halving says, whatever the order, wherever it is cut."""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass, replace

import pytest

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.limits import Limit
from scalesearch.errors import TrialError
from scalesearch.history.halving import Halving
from scalesearch.history.jobs import Result, Score
from scalesearch.history.points import REPEAT, spent
from scalesearch.history.record import Record, open_storage
from scalesearch.history.stopping import Stopping
from scalesearch.spaces.coefficient_grid import CoefficientGrid
from scalesearch.spaces.trainings import TrainingsSpace
from scalesearch.study.loop import Listener
from scalesearch.study.rounds import Rounds
from tests.pool import Killed, Pool, facts, kill_at, plan

B0 = published("efficientnet_b0")
GRID = CoefficientGrid(baseline=B0, step=0.1, match="nominal")
SPACE = TrainingsSpace(coefficients_of=GRID)
EPOCHS = 4
HALVING = Halving(epochs=EPOCHS, trainings=20, rungs=(1, 2))
SHARES = Stopping(rungs=(1, 2), data=(0.25, 0.5), resolution=(0.5, 0.75))
SMALL = replace(HALVING, trainings=12, schedule=SHARES.schedule)
LIMITS = {"flops": Limit(max=950_000_000)}


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@dataclass
class Trainings:
    """Made-up trainings: best where depth and width grow alike, with noise by seed.

    Attributes:
        noise: standard deviation of an accuracy.
        fails: numbers of the trials that fail in the epoch `fails_in`.
        resumes: a job that comes again goes on where it paused, as with a checkpoint.
        epochs: how many were trained in all.
        work: of these, in whole epochs.
    """

    noise: float = 0.003
    fails: tuple[int, ...] = ()
    fails_in: int = 2
    resumes: bool = True
    epochs: int = 0
    work: float = 0.0

    def __post_init__(self):
        self.reached = {}

    def __call__(self, job):
        net = job.architecture
        wide = net.stages[-1].width / B0.stages[-1].width
        deep = sum(s.depth for s in net.stages) / sum(s.depth for s in B0.stages)
        off = math.log(wide) ** 2 + math.log(deep / 1.4) ** 2
        noise = random.Random(job.seed).gauss(0, self.noise)
        for epoch in range(1, EPOCHS + 1):
            if epoch == self.fails_in and job.number in self.fails:
                raise TrialError("made to fail")
            new = epoch > self.reached.get(job.number, 0) or not self.resumes
            self.epochs += new
            self.work += new * job.schedule.at(epoch).work
            self.reached[job.number] = max(epoch, self.reached.get(job.number, 0))
            learned = job.schedule.work(epoch) if job.schedule else epoch
            value = (0.8 - 0.2 * off + noise) * (1 - 0.5**learned)
            yield Score(epoch, {"accuracy": value})
        return Result({"accuracy": value}, cost(net), 1.0)


WANTED = plan("grid", phase="grid", space=SPACE, limits=LIMITS)
ENTRANTS = tuple(range(GRID.size))


def loop_over(path, halving=HALVING, listener=None):
    storage = open_storage(path, repair=True)
    record = Record(storage, "grid", SPACE.parameters, WANTED.objective.directions)
    wanted = replace(WANTED, schedule=halving.schedule)
    return Rounds(wanted, record, listener or Listener(), halving, ENTRANTS)


def carried_out(path, pool=None, assess=None, halving=HALVING):
    loop, assess = loop_over(path, halving), assess or Trainings()
    (pool or Pool()).run(loop.ask, assess, loop.keep, loop.tell)
    return loop.finish()


def trained(trials):
    return [t for t in trials if t.source is None and t.state != "infeasible"]


def test_as_many_are_trained_as_halving_says_and_the_best_to_the_end(tmp_path):
    trainings = Trainings()
    trials = carried_out(tmp_path / "j", assess=trainings)
    first = [t for t in trained(trials) if t.parameters[REPEAT] == 0]
    reached = [max(t.curve) for t in first]
    stages = dict(HALVING.stages(len(first)))
    assert {until: sum(r >= until for r in reached) for until in (1, 2, 4)} == stages
    for rung in (1, 2):
        there = [t for t in first if rung in t.curve]
        beyond = [t.curve[rung] for t in there if max(t.curve) > rung]
        others = [t.curve[rung] for t in there if max(t.curve) == rung]
        assert min(beyond) >= max(others)
    assert {t.state for t in first} == {"assessed", "stopped"}
    stopped = next(t for t in first if t.state == "stopped")
    assert stopped.scores == {"accuracy": stopped.curve[max(stopped.curve)]}
    assert stopped.reason == f"stopped after step {max(stopped.curve)}"
    assert any(t.state == "infeasible" for t in trials)
    assert trainings.epochs <= HALVING.trainings * EPOCHS
    # What was promoted went on: no epoch was trained twice.
    assert trainings.epochs == sum(max(t.curve) for t in trained(trials))


def test_what_is_left_of_the_budget_repeats_the_leaders_with_other_seeds(tmp_path):
    trials = carried_out(tmp_path / "j", assess=Trainings(noise=0.1))
    repeats = [t for t in trials if t.parameters[REPEAT] > 0]
    finalists = {t.digest for t in trials if t.state == "assessed" and t.parameters[REPEAT] == 0}
    assert {t.digest for t in repeats} == finalists
    assert all(max(t.curve) == EPOCHS and t.state == "assessed" for t in repeats)
    scores = [t.scores["accuracy"] for t in trials if t.digest == repeats[0].digest]
    assert len({*scores}) == len(scores) > 1
    spent = sum(max(t.curve) for t in trained(trials)) / EPOCHS
    assert HALVING.trainings - 1 < spent <= HALVING.trainings


def test_without_noise_the_leader_is_settled_long_before_the_budget_is_spent(tmp_path):
    generous = Halving(epochs=EPOCHS, trainings=200, rungs=(1, 2))
    trials = carried_out(tmp_path / "j", assess=Trainings(noise=1e-6), halving=generous)
    assert sum(max(t.curve) for t in trained(trials)) / EPOCHS < 40


def test_less_data_and_smaller_images_count_by_their_work(tmp_path):
    trainings = Trainings(noise=0.1)
    trials = carried_out(tmp_path / "j", assess=trainings, halving=SMALL)
    own = trained(trials)
    work = sum(SMALL.schedule.work(max(t.curve)) for t in own)
    stopped = next(t for t in own if t.state == "stopped" and max(t.curve) == 1)
    assert stopped.reason == "stopped after step 1, on 25 % of the images at 50 % of the side"
    # Repeats are trained under the same schedule: the budget is spent, down to one training.
    assert trainings.work == pytest.approx(work)
    assert any(t.parameters[REPEAT] > 0 for t in own)
    assert SMALL.trainings - SMALL.each < work / EPOCHS <= SMALL.trainings
    assert spent(trials, EPOCHS, SMALL.schedule) == pytest.approx(work / EPOCHS)
    first = [t for t in own if t.parameters[REPEAT] == 0]
    assert sum(SMALL.schedule.work(max(t.curve)) for t in first) / EPOCHS == pytest.approx(
        SMALL.spent(len(first))
    )


@pytest.mark.parametrize(
    ("slots", "halving"), [(2, HALVING), (3, HALVING), (7, HALVING), (2, SMALL)]
)
def test_the_record_is_the_same_whichever_worker_is_faster(tmp_path, slots, halving):
    expected = facts(carried_out(tmp_path / "one", halving=halving))
    draws = random.Random(slots)
    pool = Pool(slots, lambda jobs: draws.randrange(len(jobs)))
    assert facts(carried_out(tmp_path / "many", pool, halving=halving)) == expected


def test_networks_that_fail_are_out_and_the_others_go_on(tmp_path):
    trials = carried_out(tmp_path / "j", assess=Trainings(fails=(0, 3, 25)))
    failed = [t for t in trials if t.state == "failed"]
    assert failed
    assert any(t.state == "assessed" for t in trials)
    assert all(t.state != "running" for t in trials)


def test_where_all_fail_the_phase_ends(tmp_path):
    from scalesearch.errors import UserError

    with pytest.raises(UserError, match="all failed alike: error: made to fail"):
        carried_out(tmp_path / "j", assess=Trainings(fails=tuple(range(200)), fails_in=1))


@pytest.mark.parametrize(
    ("torn", "resumes", "halving"),
    [
        *((False, True, HALVING), (False, False, HALVING), (True, True, HALVING)),
        *((True, False, HALVING), (False, True, SMALL)),
    ],
    ids=["whole", "whole, no checkpoint", "torn", "torn, no checkpoint", "small"],
)
def test_it_goes_on_after_a_kill_at_any_write(tmp_path, monkeypatch, torn, resumes, halving):
    with monkeypatch.context() as patch:
        writes = kill_at(patch, -1, torn)
        expected = facts(carried_out(tmp_path / "whole", halving=halving))
        count = writes()
    for moment in random.Random(torn).sample(range(count), 6):
        path = tmp_path / f"{moment}"
        with monkeypatch.context() as patch:
            kill_at(patch, moment, torn)
            with pytest.raises(Killed):
                carried_out(path, Pool(2), halving=halving)
        again = carried_out(path, assess=Trainings(resumes=resumes), halving=halving)
        assert facts(again) == expected
