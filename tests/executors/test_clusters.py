"""Clusters that grow, shrink and fail node by node, simulated on one machine."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from scalesearch.errors import UserError
from scalesearch.executors.ray import Executor, quiet_ray
from scalesearch.history.jobs import Job, Result, Score
from tests.executors.plays import COST
from tests.executors.test_failing_machines import run

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    """A head without CPUs; nodes are added by a case."""
    quiet_ray()
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    ray.shutdown()
    made.shutdown()


@dataclass
class Slow:
    """Jobs of four steps that say where they are; what a node is named stands in its resources."""

    folder: Path
    seconds: float = 0.3
    broken: str = ""  # a node, by its identity

    def __call__(self, job: Job) -> Generator[Score, None, Result]:
        import ray

        node = ray.get_runtime_context().get_node_id()
        if node == self.broken:
            raise FileNotFoundError(2, "No such file or directory", "/data")
        for step in range(1, 5):
            time.sleep(self.seconds)
            (self.folder / f"pid-{job.number}").write_text(str(os.getpid()))
            yield Score(step, {"accuracy": 0.5})
        return Result({"accuracy": 0.5, "node": node}, COST, 0.0)


@contextlib.contextmanager
def joining(address: str, seconds: float) -> Iterator[None]:
    """A node that joins a cluster after some seconds, as another machine would."""
    ray = Path(sys.executable).with_name("ray")
    command = f"sleep {seconds}; exec {ray} start --address={address} --num-cpus=1 --block"
    process = subprocess.Popen(
        ["sh", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        for each in (*children, psutil.Process(process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()


def test_a_run_begins_when_the_first_node_joins_and_takes_others_as_they_come(
    cluster, tmp_path, caplog
):
    executor = Executor(workers=2, address=cluster.address, wait=120.0)
    with joining(cluster.address, 7), joining(cluster.address, 9):
        ended = run(executor, Slow(tmp_path, 0.25), 40, caplog)
    assert len(ended.of) == 40
    assert not ended.failed
    assert len({outcome.values["node"] for outcome in ended.of.values()}) == 2
    assert any("2 of 2 workers wait for room" in line for line in ended.said)


def test_a_wait_that_was_in_vain_is_one_error(cluster, tmp_path, caplog):
    executor = Executor(workers=2, address=cluster.address, wait=6.0)
    with pytest.raises(UserError, match="no worker has found room for") as caught:
        run(executor, Slow(tmp_path), 4, caplog)
    assert "1 nodes with 0 CPUs" in str(caught.value)


def test_without_wait_a_cluster_that_is_too_small_is_refused(cluster, tmp_path, caplog):
    with pytest.raises(UserError, match="room for 0") as caught:
        run(Executor(workers=2, address=cluster.address), Slow(tmp_path), 4, caplog)
    assert "wait: 10m" in str(caught.value)


def test_nodes_may_leave_four_times_in_a_row(cluster, tmp_path, caplog):
    nodes = [cluster.add_node(num_cpus=1)]
    executor = Executor(workers=1, address=cluster.address, wait=120.0)
    left = []

    def leave(told: Job, score: Score) -> bool:
        """In the second step of a job its node goes away, and another one is there."""
        if score.step == 2 and len(left) < 4:
            left.append(told.number)
            nodes.append(cluster.add_node(num_cpus=1))
            worker = psutil.Process(int((tmp_path / f"pid-{told.number}").read_text()))
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
            psutil.wait_procs([worker], timeout=60)  # it outlives its node for some moments
        return True

    ended = run(executor, Slow(tmp_path, 0.2), 2, caplog, leave)
    assert len(left) == 4  # one more than deaths of a network on a single node may be
    assert len(ended.of) == 2
    assert not ended.failed
    # A worker may meet the end of its node before anybody knows of it: then it is tried once more.
    assert sum(len(outcome.where.attempts) for outcome in ended.of.values()) >= 4


class Deadly(Slow):
    """One network ends its process wherever it comes."""

    def __call__(self, job: Job) -> Generator[Score, None, Result]:
        if job.number == 1:
            os._exit(1)
        return (yield from super().__call__(job))


def test_a_network_that_has_failed_on_every_node_is_tried_once_more_and_ends(
    cluster, tmp_path, caplog
):
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    executor = Executor(workers=2, address=cluster.address, retries=2)
    ended = run(executor, Deadly(tmp_path, 0.01), 4, caplog)
    assert list(ended.failed) == [1]
    assert len(ended.of) == 4


class Unfit(Slow):
    """A node where every worker dies before it has a job."""

    def prepare(self, threads: int) -> None:
        import ray

        if ray.get_runtime_context().get_node_id() == self.broken:
            os._exit(1)


@pytest.mark.parametrize(
    ("kind", "retries", "why"),
    [(Slow, 1, "No such file or directory"), (Unfit, 0, "workers die before their first job")],
    ids=["without its data", "where no worker lives"],
)
def test_a_node_that_is_of_no_use_is_left_out_and_named(
    cluster, tmp_path, caplog, kind, retries, why
):
    bad, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    executor = Executor(workers=2, address=cluster.address, retries=retries)
    ended = run(executor, kind(tmp_path, 0.25, broken=bad.node_id), 20, caplog)
    assert len(ended.of) == 20
    assert not ended.failed
    (said,) = [line for line in ended.said if "is left out" in line]
    assert bad.node_id[:8] in said
    assert why in said
