"""Studies whose workers and drivers are killed: they end as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from scalesearch.cli.main import app
from scalesearch.history.record import open_storage, read_trials
from scalesearch.study import run as module
from scalesearch.study.run import run
from tests.fakes import write_study

IMAGES, EPOCHS = 32, 4
# In the first batch of all, and in the last of the third epoch.
MOMENTS = [1, 3 * IMAGES - 1]


def study(folder: Path, executor: str, after: int, victim: str = "itself") -> Path:
    """A study of one training of four epochs of four batches."""
    folder.mkdir(exist_ok=True)
    (folder / "notes").mkdir()
    evaluator = {
        "name": "tests.dying:Evaluator",
        "place": str(folder / "notes"),
        "epochs": EPOCHS,
        "batch_size": 8,
        "ema": 0.9,
        "after": after,
        "victim": victim,
    }
    execution = {"executor": executor, "checkpoint_every": 1}
    return write_study(
        folder,
        evaluator=evaluator,
        execution=execution,
        dataset={"name": "tests.fakes:Dataset", "images": IMAGES},
        search={"space": "space.yaml", "sampler": {"name": "random"}, "trials": 1},
        without=("grid", "family"),
    )


def started(file: Path) -> int:
    """The exit code of the study in a process of its own."""
    code = (
        "import os, pathlib, sys\n"
        "from scalesearch.study.run import run\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "(folder / 'notes' / 'driver').write_text(str(os.getpid()))\n"
        "if __name__ == '__main__':\n"
        "    run(folder / 'study.yaml', folder=folder / 'run')\n"
    )
    script = file.parent / "script.py"
    script.write_text(code)
    output = file.parent / "output"
    with output.open("w") as log:  # a pipe would be held open by what Ray leaves behind
        code = subprocess.run(
            [sys.executable, str(script), str(file.parent)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=400,
            check=False,
        ).returncode
    assert code in (0, -signal.SIGKILL), output.read_text()
    return code


def weights(folder: Path) -> bytes:
    (file,) = (folder / "run" / "checkpoints").glob("search-*.safetensors")
    return file.read_bytes()


def read(folder: Path) -> int:
    """How many images were read in training."""
    return (folder / "notes" / "read").stat().st_size


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(study(folder, "serial", 10**9), folder=folder / "run")
    return weights(folder)


@pytest.mark.slow
@pytest.mark.parametrize("after", MOMENTS)
def test_a_killed_run_repeats_one_epoch_at_most(tmp_path, undisturbed, after):
    file = study(tmp_path, "serial", after)
    assert started(file) == -signal.SIGKILL
    assert started(file) == 0
    assert weights(tmp_path) == undisturbed
    assert read(tmp_path) <= (EPOCHS + 1) * IMAGES + 16, "batches that were read ahead"
    assert not list((tmp_path / "run").glob("unfinished/*")), "it is finished"


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["itself", "driver"])
def test_a_killed_worker_or_driver_repeats_one_epoch_at_most(tmp_path, undisturbed, victim):
    file = study(tmp_path, "ray", 2 * IMAGES + 1, victim)
    code = started(file)
    assert code == (0 if victim == "itself" else -signal.SIGKILL)
    if code:
        assert started(file) == 0
    assert weights(tmp_path) == undisturbed
    assert read(tmp_path) <= (EPOCHS + 1) * IMAGES + 16
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert trials["state"].tolist() == ["assessed"]
    assert trials["attempts"].tolist() == [2 if victim == "itself" else 1]


def test_failed_trials_are_tried_again_and_no_others(tmp_path):
    """What fails for a reason outside of the study is tried again under its numbers and seeds."""
    calls = tmp_path / "calls"
    evaluator = {"name": "tests.fakes:Evaluator", "calls": str(calls), "fail_on": 2}
    file = write_study(tmp_path, evaluator=evaluator, without=("grid", "family"))
    before = run(file, folder=tmp_path / "run").trials
    failed = before[before["state"] == "failed"]
    assert len(failed)
    well = write_study(
        tmp_path, evaluator={**evaluator, "fail_on": None}, without=("grid", "family")
    )
    whole = run(well, folder=tmp_path / "whole").trials
    calls.unlink()
    # The same study, as a run folder holds: what made them fail is mended in the meantime.
    for name in ("study.yaml", "resolved.yaml"):
        stored = tmp_path / "run" / name
        stored.write_text(stored.read_text().replace("fail_on: 2", "fail_on: null"))
    arguments = ["run", str(well), "--folder", str(tmp_path / "run"), "--retry-failed"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert f"trial {failed['number'].iloc[0]} of the search is tried again: " in result.output
    after = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert not (after["state"] == "failed").any()
    assert len(calls.read_text().splitlines()) == failed["digest"].nunique()
    kept = before[before["state"] == "assessed"]["number"]
    assert set(kept) <= set(after[after["state"] == "assessed"]["number"])
    # The trials up to the first failure are those of a study that never failed.
    first = failed["number"].iloc[0]
    columns = ["number", "digest", "accuracy"]
    same = before["number"] <= first
    assert (
        after[columns][after["number"] <= first].to_csv()
        == whole[columns][whole["number"] <= first].to_csv()
    ), same
    kept = tmp_path / "run" / "record.before-retry"
    as_it_was = kept.read_bytes()
    again = CliRunner().invoke(app, arguments)
    assert "no trial has failed" in again.output
    assert kept.read_bytes() == as_it_was, "the record of before the one retry that there was"
    states = [t.state for t in read_trials(open_storage(kept, repair=False), "search")]
    assert states.count("failed") == len(failed)


def test_phases_that_rest_on_what_is_tried_again_are_named(tmp_path, monkeypatch):
    evaluator = {"name": "tests.fakes:Evaluator", "fail_on": 2}
    file = write_study(tmp_path, evaluator=evaluator)
    folder = run(file, folder=tmp_path / "run")
    assert (folder.trials.query("phase == 'search'")["state"] == "failed").any()
    monkeypatch.setattr(module, "carry_out", lambda context: None)
    run(file, folder=folder.path, retry_failed=True)
    log = (folder.path / "log.txt").read_text()
    assert "the grid, family rest on what the search found: if it finds another" in log
    assert str(folder.path / "record.before-retry") in log
