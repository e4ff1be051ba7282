"""One contract, two executors: each case runs over `serial` and `ray`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from scalesearch.errors import UserError
from scalesearch.executors.ray import quiet_ray
from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score, Stopped
from tests.executors.plays import COST, PLAYS, Play, Run, gone, job, make, run

NAMES = ("serial", "ray")
RAY = NAMES[1:]


@pytest.fixture(scope="module", autouse=True)
def ray_session() -> Iterator[None]:
    """One Ray for all cases: executors must use it and leave it running."""
    quiet_ray()
    import ray

    quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
    ray.init(address="local", num_cpus=2, num_gpus=1, **quiet)  # the GPU is on paper only
    yield
    assert ray.is_initialized()
    ray.shutdown()


@pytest.fixture(scope="module", params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def ended(name, tmp_path_factory) -> Run:
    """A run of jobs that end in every way that leaves their worker alive."""
    return run(make(name), tmp_path_factory.mktemp(name), PLAYS)


def test_every_job_has_one_outcome(ended):
    assert sorted(number for number, _ in ended.outcomes) == list(PLAYS)
    for number in (0, 7, 9):
        assert isinstance(ended.of(number), Result)
        assert ended.of(number).values["accuracy"] == 0.5
        assert ended.of(number).cost == COST
    assert ended.of(10) == Infeasible(COST, 0.5)


def test_what_a_job_raises_is_its_failure_alone(ended):
    assert ended.of(1).kind == "error"
    assert ended.of(1).reason.startswith("ValueError: no such layer (executors/plays.py:")
    assert ended.of(2) == Failure("error", "loss is nan in epoch 2")
    assert ended.of(3).kind == "memory"
    assert ended.of(4).kind == "memory"
    assert ended.of(5).kind == "error"
    assert ended.of(5).reason.startswith("SystemExit: 3")


def test_keep_stops_a_job_which_then_cleans_up(ended):
    assert ended.of(6) == Stopped(Score(1, {"accuracy": 0.25}))
    assert not ended.notes("closed-6"), "it was stopped before its second score"
    assert ended.of(8) == ended.of(11) == Stopped(Score(2, {"accuracy": 0.5}))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not ended.notes("closed-11"):
        time.sleep(0.02)
    assert ended.notes("closed-8") == ended.notes("closed-11") == [""]


def test_workers_stay_warm_and_are_prepared_once(ended, name):
    pids = {result.values["pid"] for result in ended.results()}
    slots = 1 if name == "serial" else 2
    assert 1 <= len(pids) <= slots
    prepared = [line.split() for line in ended.notes("prepared")]
    assert {threads for _, threads in prepared} == {"1"}
    assert len({pid for pid, _ in prepared}) == len(prepared) <= slots


def test_data_are_pickled_once_and_shared_read_only(ended, name):
    expected = (0, {True}) if name == "serial" else (1, {False})
    writeable = {result.values["writeable"] for result in ended.results()}
    assert (ended.play.pickled, writeable) == expected


def test_a_worker_sees_the_gpus_that_it_was_given(ended, name, tmp_path):
    """Here with each job known only when the one before has ended."""
    assert {result.values["gpus"] for result in ended.results()} == {""}
    asked: list[int] = []
    outcomes: list[Result] = []

    def ask() -> Job | None:
        if len(outcomes) == len(asked) < 3:
            asked.append(len(asked))
            return job(asked[-1])
        return None

    play = Play(tmp_path, dict.fromkeys(range(3), "score"))
    executor = make(name) if name == "serial" else make(name, gpus=0.5)
    executor.run(ask, play, lambda *_: True, lambda _, outcome: outcomes.append(outcome))
    assert len(outcomes) == 3
    assert {result.values["gpus"] for result in outcomes} == {"" if name == "serial" else "0"}


@pytest.mark.parametrize("name", RAY)
def test_jobs_whose_workers_die_hang_or_cannot_answer(name, tmp_path):
    plays = {0: "die", 1: "die once", 2: "hang", 3: "score", 4: "unpicklable"}
    ended = run(make(name, retries=1, timeout=2), tmp_path, plays)
    assert sorted(number for number, _ in ended.outcomes) == list(plays)
    # Retried as often as allowed.
    assert ended.of(0).kind == "died"
    assert ended.of(0).reason.startswith("the worker died: ")
    assert ended.of(0).reason.endswith("(attempt 2)")
    assert len(ended.notes("tries-0")) == 2
    assert isinstance(ended.of(1), Result)
    assert len(set(ended.notes("tries-1"))) == 2
    # Killed at its deadline; it was silent, which may have been its worker's fault.
    assert ended.of(2) == Failure("timeout", "took longer than its deadline of 2 s (attempt 2)")
    pids = ended.notes("tries-2")
    assert len(set(pids)) == 2
    assert gone([*map(int, pids)])
    assert isinstance(ended.of(3), Result)
    # An error of the job, which a retry would repeat.
    assert ended.of(4).kind == "error"
    assert "cannot pickle" in ended.of(4).reason
    assert len(ended.notes("tries-4")) == 1


def test_no_job_at_all_prepares_no_worker(name, tmp_path):
    assert run(make(name), tmp_path, {}).outcomes == []
    assert not list(tmp_path.iterdir())


def test_errors_of_the_driver_come_out_and_end_the_workers(name, tmp_path):
    play = Play(tmp_path, {0: "score", 1: "score" if name == "serial" else "hang", 2: "score"})
    numbers = iter(play.plays)
    error = KeyboardInterrupt("enough")

    def tell(*_: object) -> None:
        raise error

    with pytest.raises(KeyboardInterrupt) as raised:
        make(name).run(lambda: job(next(numbers)), play, lambda *_: True, tell)
    assert raised.value is error
    pids = [int(line.split()[0]) for line in (tmp_path / "prepared").read_text().splitlines()]
    assert name == "serial" or gone(pids)


@pytest.mark.parametrize("name", RAY)
def test_a_worker_that_cannot_be_prepared_ends_the_run(name, tmp_path):
    class Unready(Play):
        def prepare(self, threads: int) -> None:
            raise UserError("no data set here", key="dataset")

    play = Unready(tmp_path, {0: "score"})
    with pytest.raises(UserError, match="dataset: no data set here"):
        make(name).run(lambda: job(0), play, lambda *_: True, lambda *_: None)


@pytest.mark.parametrize("name", RAY)
def test_more_than_the_cluster_can_ever_give_is_an_error_at_once(name, tmp_path):
    with pytest.raises(
        UserError, match=r"2 workers of 1 CPUs and 1 GPUs each do not fit.*room for 1"
    ):
        run(make(name, gpus=1), tmp_path, {0: "score"})
    with pytest.raises(UserError, match="has 2 CPUs and 1 GPUs, room for 1"):
        run(make(name, cpus=1.5), tmp_path, {0: "score"})


@dataclass
class Locked:
    """Holds what cannot be sent to another process."""

    lock: Any = field(default_factory=threading.Lock)

    def __call__(self, job):
        yield Score(1, {"accuracy": 0.5})


@dataclass
class Unready:
    """Cannot be set up: `raises` is what a plug-in's code does there."""

    raises: BaseException

    def prepare(self, threads):
        raise self.raises

    def __call__(self, job):
        yield Score(1, {"accuracy": 0.5})


def run_one(name, assess):
    jobs = [job(0)]
    make(name).run(lambda: jobs.pop() if jobs else None, assess, lambda *_: True, lambda *_: None)


@pytest.mark.parametrize("name", RAY)
def test_what_cannot_be_sent_to_a_worker_is_said(name):
    with pytest.raises(UserError) as raised:
        run_one(name, Locked())
    text = str(raised.value)
    assert text.startswith("the data set or the evaluator cannot be sent to workers: TypeError: ")
    assert "a plug-in must be picklable" in text


@pytest.mark.parametrize("name", RAY)
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'theirs'"), "ModuleNotFoundError: No module named"),
        (SystemExit(3), "SystemExit: 3"),
        (UserError("not here"), "not here"),
    ],
    ids=str,
)
def test_a_worker_that_cannot_be_set_up_is_said(name, error, said):
    with pytest.raises(UserError) as raised:
        run_one(name, Unready(error))
    text = str(raised.value)
    assert said in text
    assert text == said or text.startswith("a worker cannot be set up: ")
