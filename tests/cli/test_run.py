from __future__ import annotations

import errno
import os

import pytest
from optuna.storages.journal import JournalFileBackend

from scalesearch.executors import serial
from scalesearch.study import run as running
from scalesearch.study.folder import RunFolder, opened
from tests.fakes import write_study


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: [])


def test_a_run_prints_its_progress_and_its_results(scalesearch, whole):
    """Resumed after its end, so only the results are new."""
    done = scalesearch("run", whole.file, "--folder", whole.folder.path)
    assert done.code == 0
    assert "search: 0 of 6 trials to go" in done.out
    triple = whole.folder.coefficients
    assert f"alpha {triple.alpha:g} (depth), beta {triple.beta:g} (width)" in done.out
    assert f"report        {whole.folder.path / 'report.html'}" in done.out
    rows = [line.split() for line in done.out.splitlines()]
    for member in whole.folder.family:
        assert [f"{member.phi:g}", member.strategy] in [row[:2] for row in rows]
    assert f"({len(whole.folder.family) + 1} Python files)" in done.out
    assert "\x1b" not in done.out


def test_lines_for_a_pipe(scalesearch, tmp_path, quick):
    file = write_study(tmp_path, without=("grid", "family"))
    done = scalesearch("run", file, "--folder", tmp_path / "run")
    assert done.code == 0
    assert "search: 6 of 6 trials to go" in done.out
    assert "search [6/6] trial" in done.out
    assert "search: 6 assessed" in done.out


def test_quiet_prints_the_results_alone(scalesearch, tmp_path, quick):
    file = write_study(tmp_path, without=("grid", "family"))
    done = scalesearch("run", file, "--folder", tmp_path / "run", "--quiet", "seed=5")
    words = [line.split()[0] for line in done.out.splitlines() if line]
    assert words == ["baseline", "confidence", "report"]
    assert "one training of each network, no probability known; add `search.confirm`" in done.out
    assert "trials:" not in done.out


def test_fractions_of_phi_have_their_row(scalesearch, tmp_path, quick):
    file = write_study(tmp_path, family={"phi": [0, 0.3333333333]})
    done = scalesearch("run", file, "--folder", tmp_path / "run", "-q")
    assert done.code == 0
    assert ["0.333333", "compound"] in [line.split()[:2] for line in done.out.splitlines()]


def test_another_metric_has_its_column(scalesearch, tmp_path, quick):
    evaluator = {"name": "tests.fakes:Evaluator", "metric": "f1"}
    file = write_study(tmp_path, evaluator=evaluator)
    done = scalesearch("run", file, "--folder", tmp_path / "run", "-q", "search.objective=f1")
    assert done.code == 0
    (head,) = [line for line in done.out.splitlines() if line.split()[:2] == ["phi", "strategy"]]
    assert head.split()[-1] == "f1"


def test_a_metric_that_is_not_there(wrong, tmp_path, quick):
    file = write_study(tmp_path)
    message = wrong("run", file, "--folder", tmp_path / "run", "-q", "search.objective=accurcy")
    assert "the evaluator gives no 'accurcy'" in message
    assert "did you mean 'accuracy'?" in message


def test_a_folder_of_another_study(wrong, whole):
    message = wrong("run", whole.file, "--folder", whole.folder.path, "-q", "search.trials=7")
    assert "holds another study" in message
    assert "search.trials: 6 -> 7" in message


def test_a_folder_that_another_process_has(wrong, whole):
    folder = RunFolder(whole.folder.path)
    with opened(folder, folder.settings, whole.file.read_text()):
        message = wrong("run", whole.file, "--folder", folder.path, "-q")
    assert "another process is running the study" in message


def test_a_folder_that_cannot_be_made(wrong, tmp_path):
    (tmp_path / "file").write_text("")
    message = wrong("run", write_study(tmp_path), "--folder", tmp_path / "file" / "run", "-q")
    assert "cannot be made" in message


def test_a_full_disk(wrong, tmp_path, quick, monkeypatch):
    def full(self, logs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    message = wrong("run", write_study(tmp_path), "--folder", tmp_path / "run", "-q")
    assert "no space is left on the disk" in message
    assert "free some space and run it again" in message


def test_ctrl_c_ends_with_130_and_a_word(scalesearch, tmp_path, quick, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt("SIGINT")

    file = write_study(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(serial.Executor, "_outcome", interrupted)
        done = scalesearch("run", file, "--folder", tmp_path / "run", "-q")
    assert done.code == 130
    assert "run the same command to resume" in done.out
    assert scalesearch("run", file, "--folder", tmp_path / "run", "-q").code == 0
