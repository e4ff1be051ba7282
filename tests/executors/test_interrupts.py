from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scalesearch import plugins
from scalesearch.executors._interrupts import ignore_interrupt, on_interrupt, raise_interrupt
from tests.executors.plays import gone

SCRIPT = """
import sys
sys.path.remove(sys.path[0])  # the folder of this file: only the working directory is left

from scalesearch import plugins
from scalesearch.arch.published import published
from scalesearch.history.jobs import Job

if __name__ == "__main__":
    numbers = iter(range(9))
    options = {} if sys.argv[1] == "serial" else {"workers": 2}
    try:
        plugins.load("executors", sys.argv[1])(**options).run(
            lambda: Job("search", next(numbers), published("efficientnet_b0"), 0),
            plugins.load_object("my_plugin:assess"),
            lambda *_: True,
            lambda job, outcome: print("outcome", outcome),
        )
    except KeyboardInterrupt:
        print("interrupted")
"""
PLUGIN = """
import os, pathlib, time

def assess(job):
    pathlib.Path("pids", str(job.number)).write_text(str(os.getpid()))
    time.sleep(600)
    yield
"""


def test_handlers_are_in_place_for_a_while_only():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), on_interrupt(raise_interrupt):
        signal.raise_signal(signal.SIGTERM)
    with on_interrupt(raise_interrupt), on_interrupt(ignore_interrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_leaves_signals_alone():
    calls: list[str] = []

    def run() -> None:
        with on_interrupt(raise_interrupt):
            calls.append("ran")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert calls == ["ran"]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("serial", signal.SIGINT),
        ("ray", signal.SIGTERM),  # for which Ray installs a handler of its own
        pytest.param("ray", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_leaves_no_worker_alive(name, number, tmp_path):
    """A program with a Ray and a plug-in of its own, from a shell that has SIGINT ignored."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "script.py").write_text(SCRIPT)
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    pids = tmp_path / "pids"
    pids.mkdir()
    process = subprocess.Popen(
        [sys.executable, "elsewhere/script.py", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(plugins.__file__).parents[1])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    expected = 1 if name == "serial" else 2
    deadline = time.monotonic() + 60
    while sum(bool(path.read_text()) for path in pids.iterdir()) < expected:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert output == "interrupted\n"
    assert gone([int(path.read_text()) for path in pids.iterdir()])
