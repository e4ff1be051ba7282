"""Known results that a search starts from."""

from __future__ import annotations

import pandas as pd
import pytest
from typer.testing import CliRunner

from scalesearch.cli.main import app
from scalesearch.errors import UserError
from scalesearch.history.record import Record
from scalesearch.spaces.space import Space
from scalesearch.study.known import import_known
from scalesearch.study.run import run
from tests.fakes import accuracy_of, write_study


@pytest.fixture
def study(tmp_path):
    file = write_study(tmp_path, without=("grid", "family"))
    space = Space.load(tmp_path / "space.yaml")
    rows = []
    for point in space.points():
        rows.append({**point, "accuracy": accuracy_of(space.decode(point))})
    pd.DataFrame(rows[:12]).to_csv(tmp_path / "known.csv", index=False)
    return file, tmp_path


def test_a_search_starts_from_known_results_and_still_makes_its_own(study):
    file, folder = study
    asked = [str(file), str(folder / "known.csv"), "--folder", str(folder / "run")]
    result = CliRunner().invoke(app, ["import-trials", *asked])
    assert result.exit_code == 0, result.output
    before = pd.read_csv(folder / "run" / "trials.csv")
    assert f"{len(before)} results were added" in result.output
    assert before["reason"].str.startswith("imported from known.csv").all()
    again = CliRunner().invoke(app, ["import-trials", *asked])
    assert "0 results were added" in again.output
    trials = run(file, folder=folder / "run").trials
    own = trials[(trials["phase"] == "search") & ~trials["reason"].str.startswith("imported")]
    assert (own["state"] == "assessed").sum() == 6
    assert not set(own[own["state"] == "assessed"]["digest"]) & set(before["digest"])
    resumed = run(file, folder=folder / "run").trials
    assert len(resumed) == len(trials)


def test_an_interrupted_import_goes_on(study, monkeypatch):
    file, folder = study
    whole = Record.add_known
    calls = []

    def third_fails(self, trial):
        calls.append(trial)
        if len(calls) == 3:
            raise KeyboardInterrupt
        whole(self, trial)

    monkeypatch.setattr(Record, "add_known", third_fails)
    with pytest.raises(KeyboardInterrupt):
        import_known(file, folder / "known.csv", folder=folder / "run")
    monkeypatch.undo()
    added, _ = import_known(file, folder / "known.csv", folder=folder / "run")
    fresh, _ = import_known(file, folder / "known.csv", folder=folder / "other")
    assert added == fresh - 2


def test_a_table_that_does_not_fit(study):
    file, folder = study
    (folder / "bad.csv").write_text("stage1.width,accuracy\n4,0.5\n")
    with pytest.raises(UserError, match="has no column"):
        import_known(file, folder / "bad.csv", folder=folder / "run")


def test_a_study_that_measures_latency_takes_no_known_results(study):
    file, folder = study
    where = "latency={device: cpu, batch: 1, threads: 1}"
    for override in ("search.limits.latency.max=1s", "search.objective=[accuracy, latency]"):
        with pytest.raises(UserError, match="needs latencies, which known results do not have"):
            import_known(file, folder / "known.csv", [where, override], folder=folder / "run")


def test_more_known_results_than_a_search_has_proposals(study):
    """Imported trials are none of the search's own."""
    file, folder = study
    added, _ = import_known(
        file, folder / "known.csv", ["search.proposals=8"], folder=folder / "run"
    )
    assert added > 8
    trials = run(file, ["search.proposals=8"], folder=folder / "run").trials
    assert len(trials[trials["phase"] == "search"]) == added + 8
    assert "after 8 proposals" in (folder / "run" / "log.txt").read_text()


def test_a_reward_takes_no_errors(study):
    file, folder = study
    reward = "search.objective={reward: accuracy, flops: 1M}"
    with pytest.raises(UserError, match="reward"):
        import_known(
            file, folder / "known.csv", [reward], direction="minimize", folder=folder / "run"
        )


def test_results_of_other_trainings_are_said_to_be_others(study):
    file, folder = study
    asked = ["evaluator.name=training", "search.fidelity.data=0.5"]
    _, said = import_known(file, folder / "known.csv", asked, folder=folder / "run")
    assert (
        "the search's trainings take 50 % of the images; results of other trainings do not "
        "compare with its own"
    ) in said
