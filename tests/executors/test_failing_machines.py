"""Machines that fail under a run: workers are replaced, jobs put back, and no network is blamed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import UserError
from scalesearch.executors.ray import Executor, quiet_ray
from scalesearch.executors.serial import Executor as Serial
from scalesearch.history.jobs import Failure, Job, Outcome, Result, Score
from tests.executors.plays import COST, job

POISON = "CUDA error: an illegal memory access was encountered"


@pytest.fixture(scope="module", autouse=True)
def ray_session() -> Iterator[None]:
    """One Ray for all cases."""
    quiet_ray()
    import ray

    quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
    ray.init(address="local", num_cpus=3, num_gpus=3, **quiet)  # which no case here computes on
    yield
    ray.shutdown()


@dataclass
class Machine:
    """An `assess` whose process or disk misbehaves as `fault` says; notes are files in a folder."""

    folder: Path
    fault: str
    here = None  # what one process knows: how many jobs it has had

    def __call__(self, job: Job) -> Generator[Score, None, Result]:
        had = self.had()
        yield Score(1, {"accuracy": 0.5})
        getattr(self, self.fault)(job, had)
        yield Score(2, {"accuracy": 0.75})
        return Result({"accuracy": 0.75, "pid": os.getpid()}, COST, 0.0)

    def had(self) -> int:
        file = self.folder / f"jobs-{os.getpid()}"
        with file.open("a") as notes:
            notes.write("x")
        return file.stat().st_size

    def once(self, name: str) -> bool:
        """Whether nobody has asked this before."""
        with contextlib.suppress(FileExistsError), (self.folder / name).open("x") as file:
            file.write(str(os.getpid()))
            return True
        return False

    def is_first(self, name: str) -> bool:
        """Whether this process was the first to ask."""
        return self.once(name) or (self.folder / name).read_text() == str(os.getpid())

    def wait_for(self, names: str, number: int) -> None:
        """Until there are so many notes."""
        deadline = time.monotonic() + 60
        while len([*self.folder.glob(names)]) < number and time.monotonic() < deadline:
            time.sleep(0.05)

    def poisoned(self, job: Job, had: int) -> None:
        """One process answers nothing any more after its fifth job."""
        if had > 5 and self.is_first("poisoned"):
            raise RuntimeError(POISON)

    def read_error(self, job: Job, had: int) -> None:
        """One read fails once."""
        if job.number == 3 and self.once("read"):
            raise OSError(5, "Input/output error", "/data/7.png")

    def unmounted(self, job: Job, had: int) -> None:
        """One process sees no data."""
        if self.is_first("unmounted"):
            raise FileNotFoundError(2, "No such file or directory", "/data")

    def network(self, job: Job, had: int) -> None:
        """One network kills the GPU's context wherever it comes."""
        if job.number == 2:
            raise RuntimeError(POISON)

    def everything(self, job: Job, had: int) -> None:
        """The machine's disk is gone."""
        raise OSError(5, "Input/output error", "/data")

    def stops_once(self, job: Job, had: int) -> None:
        """A process is stopped, as by a debugger or a node that hangs."""
        if job.number == 1 and self.once("stopped"):
            os.kill(os.getpid(), signal.SIGSTOP)

    def hiccup(self, job: Job, had: int) -> None:
        """At one moment the disk answers none of six jobs."""
        if job.number < 6 and self.once(f"hiccup-{job.number}"):
            self.wait_for("hiccup-*", 6)
            raise OSError(5, "Input/output error", "/data")

    def sick_gpu(self, job: Job, had: int) -> None:
        """The second GPU of the machine fails at all that it is given, three times at least."""
        if os.environ["CUDA_VISIBLE_DEVICES"] == "1":
            self.once(f"sick-{job.number}")
            raise RuntimeError(POISON)
        self.wait_for("sick-*", 3)

    def slow(self, job: Job, had: int) -> None:
        """A network that needs longer than its deadline, and is heard of all the time."""
        if job.number == 1:
            time.sleep(0.9)


class Ended:
    """The outcomes of a run by number, and what was said."""

    def __init__(self, outcomes: dict[int, Outcome], said: list[str]) -> None:
        self.of, self.said = outcomes, said

    @property
    def failed(self) -> dict[int, Failure]:
        return {n: each for n, each in self.of.items() if isinstance(each, Failure)}


def goes_on(told: Job, score: Score) -> bool:
    return True


def run(executor: Any, assess: Any, number: int, caplog: Any, keep: Any = goes_on) -> Ended:
    """The outcomes of that many jobs."""
    jobs = iter(range(number))
    outcomes: dict[int, Outcome] = {}

    def ask() -> Job | None:
        following = next(jobs, None)
        return None if following is None else job(following)

    def tell(told: Job, outcome: Outcome) -> None:
        assert told.number not in outcomes
        outcomes[told.number] = outcome

    caplog.set_level("INFO", logger="scalesearch")
    try:
        executor.run(ask, assess, keep, tell)
    finally:
        said = [record.getMessage() for record in caplog.records]
    return Ended(outcomes, said)


def test_a_poisoned_process_is_replaced_and_no_trial_fails(tmp_path, caplog):
    ended = run(Executor(workers=2, cpus=1), Machine(tmp_path, "poisoned"), 54, caplog)
    assert len(ended.of) == 54
    assert not ended.failed
    (said,) = ended.said
    assert POISON in said
    assert "is put back" in said
    poisoned = int((tmp_path / "poisoned").read_text())
    pids = Counter(outcome.values["pid"] for outcome in ended.of.values())
    assert pids[poisoned] == 5
    assert len(pids) in (2, 3), "its replacement may be too late for these short jobs"
    tried = [outcome.where.attempts for outcome in ended.of.values() if outcome.where.attempts]
    ((attempt,),) = tried
    assert POISON in attempt.reason


@pytest.mark.parametrize("executor", [Executor(workers=2), Serial()], ids=["ray", "serial"])
def test_a_read_error_fails_no_trial(tmp_path, caplog, executor):
    ended = run(executor, Machine(tmp_path, "read_error"), 8, caplog)
    assert len(ended.of) == 8
    assert not ended.failed
    assert "Input/output error" in ended.said[0]


def test_a_worker_without_its_data_fails_no_trial(tmp_path, caplog):
    ended = run(Executor(workers=2), Machine(tmp_path, "unmounted"), 10, caplog)
    assert len(ended.of) == 10
    assert not ended.failed


def test_a_network_that_fails_on_two_workers_is_recorded_failed(tmp_path, caplog):
    ended = run(Executor(workers=2), Machine(tmp_path, "network"), 8, caplog)
    assert list(ended.failed) == [2]
    assert len(ended.of) == 8
    assert ended.failed[2].kind == "device"
    assert len(ended.failed[2].where.attempts) == 1


def test_a_machine_that_fails_everything_ends_the_run(tmp_path, caplog):
    with pytest.raises(
        UserError, match=r"trials in a row failed on .*Input/output error"
    ) as caught:
        run(Executor(workers=2), Machine(tmp_path, "everything"), 40, caplog)
    assert "run the same command again" in str(caught.value)


def test_a_moment_in_which_every_job_fails_ends_no_run(tmp_path, caplog):
    ended = run(Executor(workers=6, cpus=0.5), Machine(tmp_path, "hiccup"), 12, caplog)
    assert len(ended.of) == 12
    assert not ended.failed


def test_one_gpu_of_several_is_left_out(tmp_path, caplog):
    """Its jobs are assessed by others, and a worker without jobs keeps it from being given out."""
    executor = Executor(workers=3, cpus=1, gpus=1)
    ended = run(executor, Machine(tmp_path, "sick_gpu"), 30, caplog)
    assert len(ended.of) == 30
    assert not ended.failed
    (said,) = [line for line in ended.said if "is left out" in line]
    assert said.startswith("GPU 1 of node ")
    assert POISON in said
    assert sum(len(outcome.where.attempts) for outcome in ended.of.values()) == 3


def test_a_gpu_that_failed_in_the_only_process_ends_the_run(tmp_path, caplog):
    with pytest.raises(UserError, match=r"the GPU of this process has failed: .*illegal memory"):
        run(Serial(), Machine(tmp_path, "poisoned"), 10, caplog)


def test_a_stopped_worker_is_replaced(tmp_path, caplog):
    executor = Executor(workers=2, timeout=2.0)
    ended = run(executor, Machine(tmp_path, "stops_once"), 6, caplog)
    assert len(ended.of) == 6
    assert not ended.failed
    assert "timeout" in ended.said[0]
    stopped = int((tmp_path / "stopped").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{stopped}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{stopped}").exists()


def test_a_network_that_is_merely_slow_is_over_its_deadline_at_once(tmp_path, caplog):
    @dataclass
    class Slow(Machine):
        def __call__(self, job: Job) -> Generator[Score, None, Result]:
            for step in range(1, 60 if job.number == 1 else 3):
                time.sleep(0.1)
                yield Score(step, {"accuracy": 0.5})
            return Result({"accuracy": 0.5}, COST, 0.0)

    ended = run(Executor(workers=2, timeout=1.5), Slow(tmp_path, "slow"), 4, caplog)
    assert list(ended.failed) == [1]
    assert ended.failed[1].kind == "timeout"
    assert not ended.failed[1].where.attempts
