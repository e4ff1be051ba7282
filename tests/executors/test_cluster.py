from __future__ import annotations

import pytest
from ray.exceptions import OutOfMemoryError, RayActorError

from scalesearch.errors import UserError
from scalesearch.executors._cluster import cluster, gone, workers_on
from scalesearch.executors._options import Options
from scalesearch.executors._quiet import quiet_ray
from scalesearch.history.jobs import Failure


@pytest.mark.parametrize(
    ("resources", "options", "count"),
    [
        ({"CPU": 4}, {"cpus": 1}, 4),
        ({"CPU": 4}, {"cpus": 1.5}, 2),
        ({"CPU": 1}, {"cpus": 0.1}, 10),
        ({"CPU": 4}, {"gpus": 1}, 0),
        # 12 actors of 0.3 GPU go on 4 GPUs, three on each, and not 13: measured on Ray.
        ({"CPU": 64, "GPU": 4}, {"gpus": 0.3}, 12),
        ({"CPU": 64, "GPU": 4}, {"gpus": 1}, 4),
        ({"CPU": 64, "GPU": 5}, {"gpus": 2}, 2),
        ({"CPU": 3, "GPU": 4}, {"gpus": 0.5}, 3),
        ({}, {}, 0),
    ],
)
def test_how_many_workers_fit_on_a_node(resources, options, count):
    assert workers_on(resources, Options(**options)) == count


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nowhere", "ray://127.0.0.1:9", "[::1]:9"])
def test_a_cluster_that_is_not_there(address):
    with pytest.raises(UserError) as raised, cluster(Options(address=address)):
        pass
    assert str(raised.value).startswith(f"address: no Ray cluster answers at {address!r}: ")


def test_a_cluster_is_started_at_need_and_held_between_runs():
    import ray

    quiet_ray()
    options = Options(workers=2)
    with options.connect():
        assert not ray.is_initialized(), "there may be nothing to run"
        with cluster(options):
            node = ray.nodes()[0]["NodeID"]
            assert ray.cluster_resources()["CPU"] == 2
        assert ray.is_initialized()
        with cluster(options):
            assert ray.nodes()[0]["NodeID"] == node
    assert not ray.is_initialized()


def test_what_is_said_of_a_lost_worker():
    text = """The actor died unexpectedly before finishing this task.
        class_name: Worker
    The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker
    exit detail: Worker unexpectedly exits with a connection error code 2. End of file. Some common
    causes include: (1) the process was killed by the OOM killer by high memory usage, ..."""
    assert gone(RuntimeError(text)) == Failure(
        "died",
        "the worker died: Worker unexpectedly exits with a connection error code 2. End of file.",
    )
    assert gone(RayActorError()).kind == "died"
    low = "2 workers were killed due to the node running low on memory."
    assert gone(OutOfMemoryError(low)).kind == "memory"
    assert gone(RuntimeError(low)).kind == "memory", "as Tune passes it on, as a text"
