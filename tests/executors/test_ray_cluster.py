from __future__ import annotations

from contextlib import ExitStack

import pytest

from scalesearch.errors import UserError
from scalesearch.executors._options import Options
from scalesearch.executors._ray_cluster import ensure_cluster, workers_on
from tests.executors.plays import make, run


def test_how_many_workers_fit_on_a_node():
    cases = [
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
    ]
    for resources, options, count in cases:
        assert workers_on(resources, Options(**options)) == count, (resources, options)


def test_a_cluster_that_is_not_there():
    for address in ("127.0.0.1:9", "nowhere", "ray://127.0.0.1:9", "[::1]:9"):
        with pytest.raises(UserError) as raised, ExitStack() as stack:
            ensure_cluster(Options(address=address), stack)
        assert str(raised.value).startswith(f"address: no Ray cluster answers at {address!r}: ")


@pytest.mark.slow
def test_a_cluster_is_started_when_needed_and_shared_between_runs(tmp_path):
    import ray

    executor, nodes = make("ray"), []
    with executor.connect():
        run(executor, tmp_path, {})
        assert not ray.is_initialized(), "there was nothing to run"
        for number in range(2):
            run(executor, tmp_path, {number: "score"})
            nodes.append(ray.nodes()[0]["NodeID"])
        assert ray.cluster_resources()["CPU"] == 2
    assert nodes[0] == nodes[1]
    assert not ray.is_initialized()
