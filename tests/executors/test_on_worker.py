"""Workers import what the driver imports, in the driver's order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalesearch.executors._on_worker import WorkerSetup
from tests.fakes import write_study

ROOT = Path(__file__).parents[2]
HIDING = ("numpy", "random", "torch", "yaml", "pandas", "optuna")
# An `assess` of the user's own, beside the call.
OWN = """\
import subprocess
import sys

from scalesearch.cost.cost import Cost
from scalesearch.history.jobs import Result


class Own:
    def __call__(self, job):
        import numpy, random, torch, yaml
        import scalesearch.study.assess
        child = subprocess.run(
            [sys.executable, "-c", "import sys; sys.path.remove(''); import numpy, yaml"],
            capture_output=True, text=True,
        )
        yield from ()
        values = {"path": list(sys.path), "child": child.stderr, "file": scalesearch.__file__}
        return Result(values, Cost(1, 2, 3, 4, 5, 6), 0.0)
"""
DRIVER = """\
import json, sys
sys.path[:] = [path for path in sys.path if path]
from scalesearch import plugins
from scalesearch.arch.published import published
from scalesearch.history.jobs import Job

if __name__ == "__main__":
    assess = plugins.load_object("own_assess:Own")()
    seen = {"driver": sys.path}
    for name in ("ray",):
        jobs = [Job("search", 0, published("efficientnet_b0"), seed=0)]
        executor = plugins.load("executors", name)(workers=2)
        executor.run(
            lambda: jobs.pop() if jobs else None,
            assess,
            lambda job, score: True,
            lambda job, outcome: seen.update({name: getattr(outcome, "values", str(outcome))}),
        )
    print(json.dumps(seen))
"""


@pytest.fixture
def here(tmp_path):
    """A current folder with files named as libraries are."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in HIDING:
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the wrong {name}')\n")
    return folder


def called(here, *arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_files_of_the_current_folder_hide_no_library_on_workers(here, tmp_path):
    (here / "own_assess.py").write_text(OWN)
    driver = tmp_path / "elsewhere" / "driver.py"
    driver.parent.mkdir()
    driver.write_text(DRIVER)
    done = called(here, driver)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    for name in ("ray",):
        worker = seen[name]
        assert isinstance(worker, dict), worker
        assert worker["path"][-1] == str(here)
        assert worker["path"].count(str(here)) == 1
        assert worker["child"] == ""
        assert Path(worker["file"]).parents[1] == ROOT
        known = [path for path in worker["path"][:-1] if path in seen["driver"]]
        assert known == [path for path in seen["driver"] if path in known]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_nor_in_a_study_called_as_a_module(here, workers):
    """`python -m` puts the current folder first; the command `scalesearch` does not."""
    (here / "own.py").write_text("from tests.fakes import Evaluator\n")
    own = {"name": "own:Evaluator"}
    write_study(here, evaluator=own, execution={"workers": workers}, without=("grid", "family"))
    if workers == 1:
        done = called(here, "-m", "scalesearch", "check", "study.yaml")
        assert "study.yaml is valid" in done.stdout, done.stderr
    else:
        done = called(here, "-m", "scalesearch", "run", "study.yaml", "search.trials=2")
    assert done.returncode == 0, done.stderr


def setup(paths, here="/here"):
    return WorkerSetup(
        assess=[], paths=paths, here=here, package="/no/scalesearch", threads=1, gpus=0
    )


@pytest.mark.parametrize(
    ("driver", "worker", "expected"),
    [
        # Ray itself, or a user's own `ray.init`, puts the current folder first.
        (("/bin", "/lib", "/here"), ["/here", "/ray", "/lib"], ["/bin", "/lib", "/ray", "/here"]),
        # A worker of a machine with its libraries elsewhere.
        (("/lib", "/here"), ["/here", "/opt/lib"], ["/lib", "/opt/lib", "/here"]),
        # A script's folder stays where Python put it.
        (("/here", "/lib"), ["/ray", "/lib"], ["/here", "/lib", "/ray"]),
        ((), ["/lib"], ["/lib"]),
    ],
)
def test_the_order_of_import_paths(monkeypatch, driver, worker, expected):
    monkeypatch.setattr(sys, "path", list(worker))
    setup(driver).take_imports()
    assert sys.path == expected
