from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from scalesearch.errors import UserError
from scalesearch.executors._options import Options, Resources
from scalesearch.executors._ray_cluster import ensure_cluster, workers_on
from tests.executors.plays import make, run
from tests.fakes import write_study


def test_how_many_workers_fit_on_a_node():
    cases = [
        ({"CPU": 4}, {"cpus": 1}, 4),
        ({"CPU": 4}, {"cpus": 1.5}, 2),
        ({"CPU": 1}, {"cpus": 0.1}, 10),
        ({"CPU": 4}, {"gpus": 1}, 0),
        # 12 actors of 0.3 GPU go on 4 GPUs, three on each, and not 13: measured on Ray.
        ({"CPU": 64, "GPU": 4}, {"gpus": 0.3}, 12),
        ({"CPU": 64, "GPU": 4}, {"gpus": 1}, 4),
        ({"CPU": 64, "GPU": 2, "disk": 1}, {"resources": Resources(custom={"disk": 0.25})}, 4),
        ({"CPU": 64, "GPU": 2}, {"resources": Resources(custom={"disk": 0.25})}, 0),
        ({"CPU": 8, "accelerator_type:T4": 1}, {"resources": Resources(accelerator_type="T4")}, 8),
        (
            {"CPU": 8, "accelerator_type:T4": 1},
            {"resources": Resources(accelerator_type="H100")},
            0,
        ),
        ({"CPU": 3, "GPU": 4}, {"gpus": 0.5}, 3),
        ({}, {}, 0),
    ]
    for resources, options, count in cases:
        assert workers_on(resources, Options(**options)) == count, (resources, options)


def test_a_cluster_that_is_not_there():
    for address in ("127.0.0.1:9", "no-such-host.invalid:6379", "ray://127.0.0.1:9", "[::1]:9"):
        with pytest.raises(UserError) as raised, ExitStack() as stack:
            ensure_cluster(Options(address=address), stack)
        assert str(raised.value).startswith(f"address: no Ray cluster answers at {address!r}: ")


def test_what_answers_but_is_not_ray_is_found_out_at_once():
    """Ray itself would try for twelve minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer():
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UserError) as raised, ExitStack() as stack:
            ensure_cluster(Options(address=address), stack)
        thread.join()
    assert str(raised.value).startswith(
        f"address: no Ray cluster answers at {address!r}: what listens there is not Ray\n"
    )


TMP = "/quite/long"
LOCAL = [
    (
        OSError("AF_UNIX path length cannot exceed 107 bytes: /a/plasma_store"),
        "Ray cannot start: its folder '/quite/long' is too long: a socket's path has at most 107 "
        "bytes\n  name a short one: `RAY_TMPDIR=/tmp scalesearch …`",
    ),
    (OSError(28, "No space left on device", "/x"), "no space is left on the disk of its folder"),
    (OSError(98, "Address already in use"), "end the Ray that has it by `ray stop`"),
    (OSError(12, "Cannot allocate memory"), "too little memory is free"),
    (
        ValueError("After taking into account object store, the amount of memory on this node …"),
        "too little memory is free",
    ),
    (
        PermissionError(13, "Permission denied", "/quite/long/ray"),
        "'/quite/long/ray': Permission denied",
    ),
    (
        FileNotFoundError(2, "No such file or directory", "/home/nobody"),
        "'/home/nobody': No such file or directory\n  it keeps a token in the home folder: ",
    ),
    (
        Exception("Timed out waiting for file /quite/long/ray/session/gcs_server_port"),
        "/quite/long/ray/session_latest/logs says why",
    ),
    (
        Exception("The current node timed out during startup. This could happen because …"),
        "/quite/long/ray/session_latest/logs says why",
    ),
    (SystemExit(1), "Ray cannot start: 1"),
    (KeyError("what nobody knew"), "Ray cannot start: 'what nobody knew'\n  `executor: serial`"),
    (RuntimeError(""), "Ray cannot start: RuntimeError"),
    (RuntimeError("x" * 10_000), "xxx...xxx"),
]


@pytest.mark.parametrize(("error", "said"), LOCAL, ids=str)
def test_a_ray_that_cannot_start_says_why_and_what_to_do(monkeypatch, error, said):
    import ray

    def init(**_):
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_TMPDIR", TMP)
    with pytest.raises(UserError) as raised, ExitStack() as stack:
        ensure_cluster(Options(workers=2), stack)
    assert said in str(raised.value)
    assert str(raised.value).startswith("executor: Ray cannot start: ")
    assert len(str(raised.value)) < 700


MISMATCH = (
    "Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.12.4\n"
    "This process on 10.0.0.7 was started with:\n    Ray: 2.60.0\n    Python: 3.11.2\n"
)


def no_token():
    """As Ray 2.60 raises it: the reason stands in the cause only."""
    error = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    error.__cause__ = RuntimeError(
        "Failed to connect to GCS. Last connection error: Traceback (most recent call last):\n"
        "ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is "
        "missing or incorrect."
    )
    return error


JOIN = [
    (
        RuntimeError(MISMATCH),
        "the Ray cluster at 'auto' runs Ray 2.50.0 on Python 3.12.4, this process Ray 2.60.0 on "
        "Python 3.11.2\n  use the same versions of both on all machines",
    ),
    (
        RuntimeError(MISMATCH.replace("2.50.0", "2.60.0").replace("3.12.4", "3.11.9")),
        "or set RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL=minor",
    ),
    (no_token(), "wants its authentication token\n  set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN"),
    (ConnectionError("Could not find any running Ray instance."), "no Ray cluster answers at"),
    (TypeError("anything\nand more"), "no Ray cluster answers at 'auto': anything\n  allowed"),
]


@pytest.mark.parametrize(("error", "said"), JOIN, ids=str)
def test_a_cluster_that_cannot_be_joined_says_why(monkeypatch, capfd, error, said):
    import ray

    def init(**_):
        os.write(2, b"[W] Failed to get cluster ID\n" * 20)  # as its core does
        raise error

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError) as raised, ExitStack() as stack:
        ensure_cluster(Options(address="auto"), stack)
    assert said in str(raised.value)
    assert raised.value.key == "address"
    os.write(2, b"again")
    assert capfd.readouterr().err == "again"


@pytest.mark.parametrize("name", ["ray"])
def test_a_ray_that_is_not_installed(monkeypatch, tmp_path, name):
    for module in [m for m in sys.modules if m.startswith("scalesearch.executors._")]:
        if {"_ray_cluster", "_worker_pool"} & set(module.split(".")):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as raised:
        run(make(name), tmp_path, {0: "score"})
    assert str(raised.value).startswith(
        "executor: the package ray cannot be imported: ModuleNotFoundError: "
    )
    assert "`executor: serial`" in str(raised.value)


@pytest.mark.slow
def test_a_folder_too_long_for_a_socket(tmp_path):
    """Really, in a process of its own, by `check` and by `run`."""
    file = write_study(tmp_path, execution={"workers": 2})
    folder = tmp_path / ("a" * 95)
    folder.mkdir()
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": root}
    environment.pop("RAY_TMPDIR", None)
    for command in ("check", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "scalesearch", command, str(file)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 2, done
        assert "RAY_TMPDIR=/tmp" in done.stderr
        assert "Traceback" not in done.stderr


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
