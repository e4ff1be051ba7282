"""Whole runs: the same twice, gone on with after any end, one message for each mistake."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from optuna.storages.journal import JournalFileBackend

from scalesearch.errors import UserError
from scalesearch.files import write as files
from scalesearch.history.table import TIMES
from scalesearch.study import run as running
from scalesearch.study.folder import is_running
from scalesearch.study.run import load_study, run
from tests.fakes import SPACE, STUDY, write_study


@pytest.fixture
def quick(monkeypatch):
    """Leaves the figures out, which take longer than all the rest."""
    monkeypatch.setattr(running, "report", lambda folder: [])


def rows(folder: Path) -> list[str]:
    """The lines of `trials.csv` without their times."""
    frame = pd.read_csv(folder / "trials.csv", dtype=str)
    return frame.drop(columns=list(TIMES), errors="ignore").to_csv(index=False).splitlines()


def calls(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_same_study_twice_gives_the_same_table(tmp_path, quick, deterministic):
    execution = {"deterministic": deterministic}
    file = write_study(tmp_path, execution=execution, without=("family",))
    tables = [rows(run(file, folder=tmp_path / name).path) for name in "ab"]
    assert tables[0] == tables[1]
    other = rows(run(file, ["seed=1"], folder=tmp_path / "c").path)
    assert other != tables[0]


def test_a_finished_study_run_again_does_nothing(tmp_path, quick):
    counted = tmp_path / "calls"
    evaluator = {"name": "tests.fakes:Evaluator", "calls": str(counted)}
    file = write_study(tmp_path, evaluator=evaluator)
    folder = run(file, folder=tmp_path / "run")
    first, times = calls(counted), folder.trials["finished"].tolist()
    # The estimate of the grid's time tries no network: the search has told.
    own = folder.trials
    assert len(first) == ((own["state"] == "assessed").sum())
    run(file, folder=tmp_path / "run")
    assert calls(counted) == first
    assert folder.trials["finished"].tolist() == times


def test_files_of_a_run(whole):
    names = {path.name for path in whole.folder.path.iterdir()}
    assert names >= {
        "study.yaml",
        "resolved.yaml",
        "record.journal",
        "trials.csv",
        "baseline.yaml",
        "coefficients.yaml",
        "family",
        "checkpoints",
        "figures",
        "report.html",
        "export",
        "log.txt",
        "environment.json",
        "data.json",
    }
    assert (whole.folder.path / "study.yaml").read_text() == whole.file.read_text()
    assert load_study(whole.folder.path).coefficients == whole.folder.coefficients


def test_runs_lie_below_the_current_folder_by_the_studys_name(tmp_path, quick, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, str(Path(__file__).parents[2]))
    try:
        folder = run(write_study(tmp_path, without=("grid", "family")))
    finally:
        sys.path.pop(0)
    assert folder.path == Path("runs/small")
    assert (tmp_path / "runs" / "small" / "trials.csv").exists()


def test_ctrl_c_while_the_record_is_unlocked_is_an_interrupt(tmp_path, quick, monkeypatch):
    def interrupted(context):
        try:
            raise KeyboardInterrupt
        except BaseException:
            (tmp_path / "record.journal.lock").unlink()  # as Optuna does it
            raise

    monkeypatch.setattr("scalesearch.study.run.carry_out", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(write_study(tmp_path), folder=tmp_path / "run")


def test_a_changed_study_is_told_and_stopped(tmp_path, quick):
    file = write_study(tmp_path, without=("grid", "family"))
    run(file, folder=tmp_path / "run")
    with pytest.raises(UserError, match="holds another study") as error:
        run(file, ["search.trials=7", "seed=1"], folder=tmp_path / "run")
    assert "search.trials: 6 -> 7" in str(error.value)
    assert "seed: 0 -> 1" in str(error.value)


def test_a_run_of_a_version_with_fewer_options_is_resumed(tmp_path, quick):
    """What it did not know has its default; another value is another study."""
    file = write_study(tmp_path, without=("grid", "family"))
    run(file, folder=tmp_path / "run")
    resolved = tmp_path / "run" / "resolved.yaml"
    settings = yaml.safe_load(resolved.read_text())
    for section in (settings, settings["search"]):
        del section["evaluator"]["delay"]
    resolved.write_text(yaml.safe_dump(settings))
    run(file, folder=tmp_path / "run")
    with pytest.raises(UserError, match=r"evaluator\.delay: .* -> 0\.01"):
        run(file, ["evaluator.delay=0.01"], folder=tmp_path / "run")


def test_a_changed_space_file_is_told_and_stopped(tmp_path, quick):
    """Its path in the study is the same, but its networks are not."""
    file = write_study(tmp_path, without=("grid", "family"))
    run(file, folder=tmp_path / "run")
    (tmp_path / "space.yaml").write_text(SPACE.replace("[4, 6, 8]", "[4, 6, 10]"))
    with pytest.raises(UserError, match=r"stage1\.width: 4, 6, 8 -> 4, 6, 10"):
        run(file, folder=tmp_path / "run")
    (tmp_path / "space.yaml").write_text(SPACE.replace("head: {width: 8", "head: {width: 10"))
    with pytest.raises(UserError, match="was another network"):
        run(file, folder=tmp_path / "run")
    (tmp_path / "space.yaml").write_text(SPACE)
    run(file, folder=tmp_path / "run")


def test_networks_that_fail_are_recorded_each_with_its_reason(tmp_path, quick):
    evaluator = {"name": "tests.fakes:Evaluator", "raise_on": 2}
    file = write_study(tmp_path, evaluator=evaluator, without=("grid", "family"))
    trials = run(file, folder=tmp_path / "run").trials
    failed = trials[trials["state"] == "failed"]
    assert len(failed) > 0
    assert all(reason.startswith("memory: RuntimeError: Default") for reason in failed["reason"])
    assert set(trials["state"]) >= {"assessed", "failed"}


def test_a_score_that_is_no_number_is_a_failed_trial(tmp_path, quick):
    evaluator = {"name": "tests.fakes:Evaluator", "nan_on": 2}
    file = write_study(tmp_path, evaluator=evaluator, without=("grid", "family"))
    trials = run(file, folder=tmp_path / "run").trials
    failed = trials[trials["state"] == "failed"]
    assert set(failed["reason"]) == {"error: the objective is (nan,)"}


@pytest.mark.parametrize("write", [0, 3, 12, 30])
def test_a_full_disk_is_one_message_and_nothing_finished_is_lost(
    tmp_path, quick, monkeypatch, write
):
    counted = tmp_path / "calls"
    evaluator = {"name": "tests.fakes:Evaluator", "calls": str(counted)}
    file = write_study(tmp_path, evaluator=evaluator)
    original, count = JournalFileBackend.append_logs, 0

    def append(self, logs):
        nonlocal count
        count += 1
        if count > write:
            with Path(self._file_path).open("a") as journal:
                journal.write('{"op_code":')  # what fitted on the disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", append)
        with pytest.raises(UserError, match="no space is left on the disk") as error:
            run(file, folder=tmp_path / "run")
    assert "free some space and run it again" in error.value.hint
    done = len(calls(counted))
    folder = run(file, folder=tmp_path / "run")
    assert len(calls(counted)) - (folder.trials["state"] == "assessed").sum() <= 1
    assert len(calls(counted)) >= done


UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL)


@pytest.mark.parametrize("code", UNSUPPORTED, ids=lambda code: errno.errorcode[code])
def test_a_disk_without_links_locks_and_flushing(tmp_path, quick, monkeypatch, code):
    """All is as on another disk, and what is not guarded is said."""

    def missing(*_, **__):
        raise OSError(code, os.strerror(code))

    file = write_study(tmp_path, without=("grid", "family"))
    expected = run(file, folder=tmp_path / "with").trials
    for name in ("os.symlink", "os.link", "fcntl.flock", "fcntl.lockf"):
        monkeypatch.setattr(name, missing)
    folder = run(file, folder=tmp_path / "without")
    same = ["number", "state", "accuracy"]
    assert folder.trials[same].equals(expected[same])
    assert "has no locks: nothing keeps a second process" in (folder.path / "log.txt").read_text()
    assert not is_running(folder)
    assert not list(folder.path.glob("*.lock*"))
    assert run(file, folder=tmp_path / "without").trials[same].equals(expected[same])


FAULTS = [
    (errno.EROFS, "Read-only file system"),
    (errno.EDQUOT, "no space is left on the disk of "),
    (errno.ENOSPC, "no space is left on the disk of "),
    (errno.EIO, "Input/output error"),
    (errno.EACCES, "permission denied"),
]


@pytest.mark.parametrize(("code", "said"), FAULTS, ids=lambda each: str(each))
@pytest.mark.parametrize("name", ["os.symlink", "fcntl.flock", "os.rename"])
def test_a_disk_that_fails_is_one_message(tmp_path, quick, monkeypatch, name, code, said):
    def fails(*_, **__):
        raise OSError(code, os.strerror(code))

    file = write_study(tmp_path, without=("grid", "family"))
    with monkeypatch.context() as patch:
        patch.setattr(name, fails)
        with pytest.raises(UserError) as raised:
            run(file, folder=tmp_path / "run")
    text = str(raised.value)
    # Optuna renames its lock to release it, and does not pass on why it could not.
    assert said in text or (name == "os.rename" and "its lock was removed" in text)
    assert len(text.splitlines()) == 2
    assert run(file, folder=tmp_path / "run").trials["state"].isin(["assessed", "reused"]).any()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_only_be_read(tmp_path, quick):
    file = write_study(tmp_path)
    (tmp_path / "run").mkdir(mode=0o555)
    with pytest.raises(UserError, match=r"permission denied\n  choose another --folder"):
        run(file, folder=tmp_path / "run")


def test_a_disk_that_is_full_for_files(tmp_path, quick, monkeypatch):
    file = write_study(tmp_path)
    original = files.os.fsync

    def full(descriptor):
        if "checkpoints" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        original(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(UserError, match="the disk is full") as error:
            run(file, folder=tmp_path / "run")
    assert "search-0.safetensors" in str(error.value)
    assert run(file, folder=tmp_path / "run").family


def start(file: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scalesearch", "run", str(file), "--folder", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*command, *options], **pipes, start_new_session=True)


def wait_for(counted: Path, many: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while len(calls(counted)) < many:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _states(folder: Path) -> Counter[tuple[str, str]]:
    frame = pd.read_csv(folder / "trials.csv")
    return Counter(zip(frame["phase"], frame["state"], strict=True))


def _cut_off_in_each_phase(tmp_path, execution, cuts=4):
    """Runs a study that is ended in its search, grid and family; returns the counts of calls.

    With fewer `cuts` the later ones alone.
    """
    counted = tmp_path / "calls"
    evaluator = {"name": "tests.fakes:Evaluator", "delay": 0.15, "calls": str(counted)}
    file = write_study(tmp_path, evaluator=evaluator, execution=execution)
    plain = write_study(tmp_path / "whole", execution={"executor": "serial"})
    whole = run(plain, folder=tmp_path / "whole" / "run").path
    own = {phase: n for (phase, state), n in _states(whole).items() if state == "assessed"}
    spots = [
        (2, signal.SIGINT),
        (4, signal.SIGKILL),
        (own["search"] + 3, signal.SIGKILL),
        (own["search"] + own["grid"] + 2, signal.SIGKILL),
    ][-cuts:]
    for repeated, (many, number) in enumerate(spots):
        process = start(file, tmp_path / "run")
        wait_for(counted, many + repeated, process)
        if repeated == 0:
            with pytest.raises(UserError, match="another process is running the study"):
                run(file, folder=tmp_path / "run")
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        if number == signal.SIGINT:
            assert process.returncode == 130, said
            assert "stopped: every finished trial is recorded" in said
            assert "Traceback" not in said
        else:
            assert process.returncode == -signal.SIGKILL
    run(file, folder=tmp_path / "run")
    return whole, sum(own.values()), len(calls(counted)), len(spots)


def test_a_run_cut_off_in_every_phase_ends_as_if_it_had_not_been(tmp_path, quick):
    (tmp_path / "whole").mkdir()
    whole, own, called, cuts = _cut_off_in_each_phase(tmp_path, {"executor": "serial"})
    assert rows(tmp_path / "run") == rows(whole)
    assert own <= called <= own + cuts, "only what was under way is done again"


@pytest.mark.slow
def test_a_run_with_two_workers_cut_off_in_its_grid_and_its_family(tmp_path, quick):
    (tmp_path / "whole").mkdir()
    execution = {"executor": "ray", "workers": 2}
    whole, own, called, cuts = _cut_off_in_each_phase(tmp_path, execution, cuts=2)
    mine, theirs = _states(tmp_path / "run"), _states(whole)
    assert mine["search", "assessed"] == theirs["search", "assessed"] == 6
    assert mine["search", "running"] == mine["grid", "running"] == 0
    # The two searches may find different baselines, so the rest is held against itself.
    frame = pd.read_csv(tmp_path / "run" / "trials.csv")
    done = frame[frame["state"] == "assessed"]
    assert not done.duplicated(["phase", "digest"]).any()
    for phase, part in frame.groupby("phase"):
        assert part["number"].tolist() == list(range(len(part))), phase
    assert called <= len(done) + 2 * cuts
    assert own > 0


@pytest.mark.slow
def test_a_worker_that_dies_is_a_failed_trial(tmp_path, quick):
    evaluator = {"name": "tests.fakes:Evaluator", "die_on": 2}
    execution = {"executor": "ray", "workers": 2, "retries": 0}
    search = STUDY["search"] | {"trials": 4}
    file = write_study(
        tmp_path,
        evaluator=evaluator,
        execution=execution,
        search=search,
        without=("grid", "family"),
    )
    trials = run(file, folder=tmp_path / "run").trials
    failed = trials[trials["state"] == "failed"]
    assert len(failed) > 0
    assert all(reason.startswith("died: the worker died") for reason in failed["reason"])


@pytest.mark.slow
def test_two_workers_in_deterministic_mode_give_the_same_table(tmp_path, quick):
    execution = {"executor": "ray", "workers": 2, "deterministic": True}
    search = STUDY["search"] | {"trials": 8}
    file = write_study(tmp_path, execution=execution, search=search, without=("grid", "family"))
    tables = [rows(run(file, folder=tmp_path / name).path) for name in "ab"]
    assert tables[0] == tables[1]
