from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import textwrap

import pytest

from scalesearch.arch.published import published
from scalesearch.errors import UserError
from scalesearch.files.architecture import save_architecture
from scalesearch.study.folder import RunFolder, existing, is_running, opened
from tests.pool import Pool, carry_out, plan

SETTINGS = {"name": "small", "seed": 0, "search": {"trials": 6}, "execution": {"workers": 1}}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "small")


def test_a_new_folder_gets_the_study_twice_and_its_environment(folder):
    with opened(folder, SETTINGS, "name: small # mine\n"):
        assert (folder.path / "study.yaml").read_text() == "name: small # mine\n"
        assert folder.settings == SETTINGS
        environment = json.loads((folder.path / "environment.json").read_text())
    assert environment["seed"] == 0
    assert environment["python"] == sys.version.split()[0]
    assert {"torch", "optuna", "scalesearch", "machine", "commit"} <= set(environment)


def test_the_same_study_goes_on_and_another_is_told_apart(folder):
    with opened(folder, SETTINGS, ""):
        folder.record.write_text("{}\n")
    with opened(folder, SETTINGS, ""):
        pass
    changed = SETTINGS | {"seed": 1, "search": {"trials": 7}, "grid": {"step": 0.1}}
    with (
        pytest.raises(UserError, match="holds another study") as error,
        opened(folder, changed, ""),
    ):
        pass
    for change in ("seed: 0 -> 1", "search.trials: 6 -> 7", "grid.step: not set -> 0.1"):
        assert change in str(error.value)
    assert folder.settings == SETTINGS, "the folder is as it was"


def test_a_folder_in_which_nothing_is_recorded_takes_another_study(folder):
    with opened(folder, SETTINGS, ""):
        folder.record.touch()  # as a run leaves it whose data could not be read
    with opened(folder, SETTINGS | {"seed": 1}, ""):
        assert folder.settings["seed"] == 1


@pytest.mark.parametrize("free", ["execution", "export"])
def test_how_a_study_is_carried_out_may_change(folder, free):
    with opened(folder, SETTINGS, ""):
        folder.record.write_text("{}\n")
    with opened(folder, SETTINGS | {free: {"workers": 2}}, ""):
        assert folder.settings[free] == {"workers": 2}


def test_two_processes_cannot_have_the_same_folder(folder):
    program = f"""
        from pathlib import Path
        from scalesearch.study.folder import RunFolder, opened
        with opened(RunFolder(Path({str(folder.path)!r})), {SETTINGS!r}, ""):
            print("in", flush=True)
            input()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "in\n"
        assert is_running(folder)
        with (
            pytest.raises(UserError, match="another process is running the study"),
            opened(folder, SETTINGS, ""),
        ):
            pass
        other.kill()
        other.wait()
    assert not is_running(folder)
    with opened(folder, SETTINGS, ""):
        assert is_running(folder)
    assert not is_running(folder)


def test_looking_does_not_keep_a_run_from_starting(folder):
    """`status` holds the lock for a moment."""
    with opened(folder, SETTINGS, ""):
        pass
    with (folder.path / "lock").open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not is_running(folder)


def test_a_place_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot be made: File exists"),
        opened(RunFolder(tmp_path / "file"), SETTINGS, ""),
    ):
        pass


def test_what_is_no_run_folder(tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder: it has no resolved\.yaml") as error:
        existing(tmp_path)
    assert "runs/quickstart" in error.value.hint
    assert not is_running(RunFolder(tmp_path))
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"


@pytest.mark.parametrize("name", ["baseline", "coefficients"])
def test_a_result_that_is_not_there_yet(folder, name):
    with opened(folder, SETTINGS, ""):
        pass
    with pytest.raises(UserError, match=rf"has no {name}\.yaml yet") as error:
        getattr(folder, name)
    assert "run the study to the end of that phase" in error.value.hint
    assert folder.family == ()
    assert folder.read() == {}
    assert folder.trials.empty


def test_members_are_read_by_name(folder):
    net = published("efficientnet_b0")
    for name in ("width_phi1", "compound_phi1", "compound_phi-0.5"):
        save_architecture(folder.path / "family" / f"{name}.yaml", net, {})
    found = [(m.strategy, m.phi) for m in folder.family]
    assert found == [("compound", -0.5), ("compound", 1.0), ("width", 1.0)]
    assert folder.family[0].architecture == net


def test_trials_are_those_of_the_record(folder):
    folder.path.mkdir(parents=True)
    search = carry_out(folder.record, plan(trials=3), Pool())
    family = carry_out(folder.record, plan("grid", phase="family", trials=24, proposals=24), Pool())
    assert folder.read() == {"search": search, "family": family}
    lines = folder.write_trials().read_text().splitlines()
    assert len(lines) == 1 + len(search) + len(family)
    assert lines[0].startswith("phase,number,state,reason,digest,reused_from,objective,accuracy")
    assert folder.checkpoint("family", 3).name == "family-3.safetensors"
