"""Studies with evaluators of one's own, as far as they are other than those that ship."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from scalesearch.errors import UserError
from scalesearch.history.jobs import Score
from scalesearch.study import run as running
from scalesearch.study.run import load_study, run
from tests import fakes
from tests.fakes import write_study


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Leaves the figures out, which take longer than all the rest."""
    monkeypatch.setattr(running, "report", lambda folder: [])


@dataclass(frozen=True, kw_only=True)
class Slashes(fakes.Evaluator):
    """Names its scores as trackers do."""

    def evaluate(self, model, architecture, data, seed):
        for score in super().evaluate(model, architecture, data, seed):
            accuracy = score.values["accuracy"]
            yield Score(score.step, {"val/acc": accuracy, "val/loss": 1 - accuracy})


def test_scores_with_a_slash_are_scores_of_the_whole(tmp_path):
    file = write_study(tmp_path, evaluator={"name": f"{__name__}:Slashes"})
    folder = run(file, ["search.objective=val/acc"], folder=tmp_path / "run")
    written = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert {"val/acc", "val/loss"} <= set(written.columns)
    assert written["val/acc"].max() == folder.trials["val/acc"].max()


@dataclass(frozen=True, kw_only=True)
class Sparse(fakes.Evaluator):
    """Scores when it is time to, which is at other steps in each attempt."""

    steps: str = ""

    def evaluate(self, model, architecture, data, seed):
        mark = Path(self.steps)
        first = not mark.exists()
        mark.touch()
        accuracy = fakes.accuracy_of(architecture, seed)
        for step in (1, 2, 3) if first else (1, 4):
            yield Score(step, {"accuracy": accuracy + step / 1000})
            if first and step == 3:
                raise KeyboardInterrupt


def test_a_second_attempt_may_score_at_other_steps(tmp_path):
    """What the first one recorded is no damage."""
    options = {"name": f"{__name__}:Sparse", "steps": str(tmp_path / "mark")}
    file = write_study(tmp_path, evaluator=options, without=("grid", "family"))
    with pytest.raises(KeyboardInterrupt):
        run(file, folder=tmp_path / "run")
    run(file, folder=tmp_path / "run")
    trials = load_study(tmp_path / "run").read()["search"]
    assert {tuple(trial.curve) for trial in trials if trial.was_job} == {(1, 4)}


@dataclass(frozen=True, kw_only=True)
class Backwards(fakes.Evaluator):
    """Scores step 5 after step 10."""

    def evaluate(self, model, architecture, data, seed):
        for step in (10, 5):
            yield Score(step, {"accuracy": 0.5})


def test_steps_ascend(tmp_path):
    file = write_study(tmp_path, evaluator={"name": f"{__name__}:Backwards"})
    with pytest.raises(UserError, match="yielded a score of step 5 after one of step 10"):
        run(file, folder=tmp_path / "run")


@dataclass(frozen=True, kw_only=True)
class Picky(fakes.Evaluator):
    """Takes small minima alone."""

    least: int = 9

    def check(self, architecture):
        if self.least > 3:
            raise UserError(f"{self.least} is too large", key="least", allowed="up to 3")


@pytest.mark.parametrize("own", [True, False], ids=["of the phase", "of the study"])
def test_an_option_is_placed_where_it_is_written_and_can_be_mended(tmp_path, own):
    evaluator = {"name": f"{__name__}:Picky", "least": 2 if own else 9}
    search = fakes.STUDY["search"] | ({"evaluator": {"least": 9}} if own else {})
    file = write_study(tmp_path, evaluator=evaluator, search=search, without=("grid", "family"))
    key = "search.evaluator.least" if own else "evaluator.least"
    with pytest.raises(UserError, match="9 is too large") as caught:
        run(file, folder=tmp_path / "run")
    assert caught.value.key == key
    line = file.read_text().splitlines()[caught.value.line - 1]
    assert "9" in line
    # Nothing was finished, so the folder is not bound to the mistake.
    run(file, [f"{key}=1"], folder=tmp_path / "run")


def test_a_metric_that_no_score_has_is_placed_and_can_be_mended(tmp_path):
    file = write_study(tmp_path, without=("grid", "family"))
    with pytest.raises(UserError, match="gives no 'acuracy'") as caught:
        run(file, ["search.objective=acuracy"], folder=tmp_path / "run")
    assert (caught.value.key, caught.value.file) == ("search.objective", "command line")
    run(file, folder=tmp_path / "run")


def test_a_folder_with_members_of_a_family_is_not_taken_for_a_new_one(tmp_path):
    file = write_study(tmp_path)
    run(file, folder=tmp_path / "run")
    for name in ("record.journal", "trials.csv"):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(UserError, match="holds another study"):
        run(file, ["seed=5"], folder=tmp_path / "run")


@dataclass(frozen=True, kw_only=True)
class Executor:
    """One of a stranger's, which adds nothing to `serial`."""

    slots: int = 1
    threads: int = 1

    def connect(self):
        from scalesearch.executors.serial import Executor as Serial

        return Serial().connect()

    def run(self, ask, assess, keep, tell):
        from scalesearch.executors.serial import Executor as Serial

        Serial().run(ask, assess, keep, tell)


def test_a_full_disk_is_not_the_fault_of_an_executor(tmp_path, monkeypatch):
    def full(self, trial):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scalesearch.history.record.Record.finish", full)
    file = write_study(tmp_path, execution={"executor": f"{__name__}:Executor"})
    with pytest.raises(UserError, match="no space is left on the disk"):
        run(file, folder=tmp_path / "run")


def test_a_study_file_that_is_gone_hides_no_mistake(tmp_path, monkeypatch):
    file = write_study(tmp_path)

    def fails(context):
        file.unlink()
        raise UserError("is wrong", key="search.trials")

    monkeypatch.setattr("scalesearch.study.run.carry_out", fails)
    with pytest.raises(UserError, match=r"study\.yaml:\d+: search\.trials: is wrong"):
        run(file, folder=tmp_path / "run")
