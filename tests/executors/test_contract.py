"""One contract, three executors: each case runs over `serial`, `ray` and `ray_tune`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from scalesearch.errors import UserError
from scalesearch.executors._quiet import quiet_ray
from scalesearch.history.jobs import Failure, Infeasible, Job, Result, Score, Stopped
from tests.executors.plays import COST, PLAYS, Play, Told, job, make, run
from tests.executors.processes import gone

NAMES = ("serial", "ray", "ray_tune")
NO_WORKERS = "serial has no worker process that could die or be killed"


@pytest.fixture(scope="module", autouse=True)
def ray_session() -> Iterator[None]:
    """One Ray for all cases: executors must use it and leave it running."""
    quiet_ray()
    import ray

    quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
    ray.init(num_cpus=2, num_gpus=1, **quiet)  # the GPU is on paper only
    yield
    assert ray.is_initialized()
    ray.shutdown()


@pytest.fixture(scope="module", params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def told(name, tmp_path_factory) -> Told:
    return run(make(name), tmp_path_factory.mktemp(name), PLAYS)


@pytest.fixture(scope="module")
def disaster(name, tmp_path_factory) -> Told:
    if name == "serial":
        pytest.skip(NO_WORKERS)
    plays = {0: "die", 1: "die once", 2: "hang", 3: "score", 4: "unpicklable"}
    return run(make(name, retries=1, timeout=4), tmp_path_factory.mktemp(name), plays)


def test_every_job_is_told_once(told):
    assert sorted(number for number, _ in told.outcomes) == list(PLAYS)


def test_a_job_ends_with_its_result(told):
    for number in (0, 7, 8, 9):
        assert isinstance(told.of(number), Result)
        assert told.of(number).values["accuracy"] == 0.5
        assert told.of(number).cost == COST


def test_a_job_may_end_with_a_refusal(told):
    assert told.of(10) == Infeasible(COST, 0.5)


def test_what_a_job_raises_is_its_failure_alone(told):
    assert told.of(1).kind == "error"
    assert told.of(1).reason.startswith("ValueError: no such layer (executors/plays.py:")
    assert told.of(2) == Failure("error", "loss is nan in epoch 2")
    assert told.of(3).kind == "memory"
    assert told.of(4).kind == "memory"
    assert told.of(5).kind == "error"
    assert told.of(5).reason.startswith("SystemExit: 3")


def test_keep_stops_a_job_which_then_cleans_up(told):
    assert told.of(6) == Stopped(Score(1, {"accuracy": 0.25}))
    assert not told.notes("closed-6"), "it was stopped before its second score"


def test_workers_stay_warm_and_are_prepared_once(told, name):
    pids = {result.values["pid"] for _, result in told.outcomes if isinstance(result, Result)}
    slots = 1 if name == "serial" else 2
    assert 1 <= len(pids) <= slots
    prepared = [line.split() for line in told.notes("prepared")]
    assert {threads for _, threads in prepared} == {"1"}
    assert len({pid for pid, _ in prepared}) == len(prepared) <= slots


def test_without_gpus_none_is_seen(told):
    assert {r.values["gpus"] for _, r in told.outcomes if isinstance(r, Result)} == {""}


@pytest.mark.parametrize("name", ["ray", "ray_tune"])
def test_two_workers_share_one_gpu(name, tmp_path):
    told = run(make(name, gpus=0.5), tmp_path, {0: "score", 1: "score", 2: "score"})
    assert {result.values["gpus"] for _, result in told.outcomes} == {"0"}


def test_data_are_pickled_once_and_shared_read_only(told, name):
    writeable = {r.values["writeable"] for _, r in told.outcomes if isinstance(r, Result)}
    if name == "serial":
        assert (told.play.pickled, writeable) == (0, {True})
    else:
        assert (told.play.pickled, writeable) == (1, {False})


def test_a_job_whose_worker_dies_is_tried_again_then_told(disaster):
    assert disaster.of(0).kind == "died"
    assert disaster.of(0).reason.startswith("the worker died: ")
    assert disaster.of(0).reason.endswith("(try 2 of 2)")
    assert len(disaster.notes("tries-0")) == 2


def test_a_job_whose_worker_died_once_still_gives_its_result(disaster):
    assert isinstance(disaster.of(1), Result)
    assert len(set(disaster.notes("tries-1"))) == 2


def test_a_hung_job_is_killed_at_its_deadline_and_not_tried_again(disaster):
    assert disaster.of(2) == Failure("timeout", "took longer than its deadline of 4 s")
    (pid,) = disaster.notes("tries-2")
    assert gone([int(pid)])


def test_the_other_jobs_outlive_the_disaster(disaster):
    assert sorted(number for number, _ in disaster.outcomes) == [0, 1, 2, 3, 4]
    assert isinstance(disaster.of(3), Result)


def test_a_result_that_cannot_travel_is_a_failure_and_not_tried_again(disaster):
    assert disaster.of(4).kind == "error"
    assert "cannot pickle" in disaster.of(4).reason
    assert len(disaster.notes("tries-4")) == 1


def test_a_job_that_closes_in_time_is_closed_when_stopped(name, tmp_path):
    told = Told(Play(tmp_path, {0: "score", 1: "score"}))
    jobs = iter([job(0), job(1)])
    make(name).run(
        lambda: next(jobs, None),
        told.play,
        lambda job, score: score.step < 2,
        lambda job, outcome: told.outcomes.append((job.number, outcome)),
    )
    assert told.of(0) == told.of(1) == Stopped(Score(2, {"accuracy": 0.5}))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not told.notes("closed-1"):
        time.sleep(0.02)
    assert told.notes("closed-0") == told.notes("closed-1") == [""]


def test_ask_is_asked_again_after_a_tell(name, tmp_path):
    """Each job is known only when the one before has been told."""
    told: list[int] = []
    asked: list[int] = []

    def ask() -> Job | None:
        if len(told) == len(asked) < 4:
            asked.append(len(asked))
            return job(asked[-1])
        return None

    play = Play(tmp_path, dict.fromkeys(range(4), "score"))
    make(name).run(ask, play, lambda *_: True, lambda job, outcome: told.append(job.number))
    assert told == [0, 1, 2, 3]


def test_no_job_at_all_is_no_run(name, tmp_path):
    told = run(make(name), tmp_path, {})
    assert told.outcomes == []
    assert not list(tmp_path.iterdir()), "no worker was prepared"


@pytest.mark.parametrize(
    ("where", "error"),
    [("ask", UserError("no more space")), ("keep", OSError(28, "disk")), ("tell", None)],
)
def test_errors_of_the_driver_come_out_and_end_the_workers(name, where, error, tmp_path):
    error = error or KeyboardInterrupt("enough")
    play = Play(tmp_path, {0: "score", 1: "hang", 2: "score"})
    if name == "serial":
        play.plays[1] = "score"
    numbers = iter(play.plays)

    def hook(hook_name: str, give: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            if hook_name == where and (where != "ask" or (tmp_path / "tries-1").exists()):
                raise error
            return give(*args)

        return call

    def ask() -> Job | None:
        number = next(numbers, None)
        return None if number is None else job(number)

    with pytest.raises(type(error)) as raised:
        make(name).run(
            hook("ask", ask), play, hook("keep", lambda *_: True), hook("tell", lambda *_: None)
        )
    assert raised.value is error
    pids = [int(line.split()[0]) for line in (tmp_path / "prepared").read_text().splitlines()]
    assert name == "serial" or gone(pids)


@pytest.mark.parametrize("name", ["ray", "ray_tune"])
def test_a_worker_that_cannot_be_prepared_is_no_trials_fault(name, tmp_path):
    class Unready(Play):
        def prepare(self, threads: int) -> None:
            raise UserError("no data set here", key="dataset")

    with pytest.raises(UserError, match="dataset: no data set here"):
        make(name).run(
            lambda: job(0), Unready(tmp_path, {0: "score"}), lambda *_: True, lambda *_: None
        )


@pytest.mark.parametrize("name", ["ray", "ray_tune"])
def test_what_the_cluster_can_never_give_is_refused_at_once(name, tmp_path):
    with pytest.raises(UserError, match="gpus: 2 workers of 1 CPUs and 2 GPUs each do not fit"):
        run(make(name, gpus=2), tmp_path, {0: "score"})
    with pytest.raises(UserError, match="has 2 CPUs and 1 GPUs, room for 1"):
        run(make(name, cpus=1.5), tmp_path, {0: "score"})
