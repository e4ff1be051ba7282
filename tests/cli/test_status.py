from __future__ import annotations

import json
import re
import shutil

import pytest
import yaml

from scalesearch.study.folder import RunFolder, opened
from scalesearch.study.run import run
from tests.fakes import STUDY, write_study


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole.folder.path, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_that_is_over(scalesearch, whole):
    done = scalesearch("status", whole.folder.path)
    assert done.code == 0
    assert "small in" in done.out
    assert "not running" in done.out
    rows = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert "6 assessed" in rows["search"]
    best = max(whole.folder.read()["search"], key=lambda t: t.objective or (0,))
    assert f"trial {best.number} assessed: accuracy {best.scores['accuracy']:.4f}" in rows["search"]
    assert set(rows) >= {"search", "grid", "family", "report:"}


def test_json(scalesearch, whole):
    plain = json.loads(scalesearch("status", whole.folder.path, "--json").out)
    trials = whole.folder.trials
    for phase in ("search", "grid", "family"):
        mine = trials[trials["phase"] == phase]
        assert plain[phase]["assessed"] == (mine["state"] == "assessed").sum()
        best = mine.loc[mine["objective"].idxmax()]
        assert plain[phase]["best"]["scores"]["accuracy"] == best["accuracy"]
    assert plain["running"] is False


def test_a_run_before_its_first_trial(scalesearch, copy):
    for name in ("record.journal", "report.html", "trials.csv"):
        (copy / name).unlink()
    done = scalesearch("status", copy)
    assert done.code == 0
    assert done.out.count("no trials") == 3


def test_a_run_under_way(scalesearch, copy):
    folder = RunFolder(copy)
    with opened(folder, folder.settings, (copy / "study.yaml").read_text()):
        assert "running now" in scalesearch("status", copy).out
        assert json.loads(scalesearch("status", copy, "--json").out)["running"] is True


def test_the_last_failure_is_shown(scalesearch, tmp_path):
    failing = {"name": "tests.fakes:Evaluator", "fail_on": 1}
    file = write_study(tmp_path, without=("grid", "family"), evaluator=failing)
    run(file, folder=tmp_path / "run")
    shown = scalesearch("status", tmp_path / "run").out
    assert re.search(r"failures: \d+ error; the last was trial \d+ failed: error: made to", shown)
    assert "--retry-failed" in shown


def test_the_report_is_drawn_anew(scalesearch, copy):
    shutil.rmtree(copy / "figures")
    (copy / "report.html").unlink()
    (copy / "trials.csv").unlink()
    done = scalesearch("report", copy)
    assert done.code == 0
    assert f"the page is {copy / 'report.html'}" in done.out
    for name in ("report.html", "trials.csv", "figures/family.svg"):
        assert (copy / name).exists()


@pytest.mark.parametrize("command", ["status", "report"])
def test_mistakes(wrong, command, tmp_path):
    assert "is not a run folder" in wrong(command, tmp_path)
    assert "is not a run folder" in wrong(command, tmp_path / "nowhere")


def test_the_page_ranks_triples_as_the_grid_did(scalesearch, copy):
    assert scalesearch("report", copy).code == 0
    chosen = yaml.safe_load((copy / "coefficients.yaml").read_text())
    ranking = [chosen, *chosen["runners_up"]]
    page = (copy / "report.html").read_text()
    table = page[page.index(f"The best {len(ranking)} of ") :]
    rows = re.findall(r"<tr.*?</tr>", table[: table.index("</table>")])[1:]
    cells = [re.findall(r"<td.*?>(.*?)</td>", row) for row in rows]
    assert [row[1:4] for row in cells] == [
        [f"{triple[name]:.4g}" for name in ("alpha", "beta", "gamma")] for triple in ranking
    ]


def test_how_sure_the_baseline_is(scalesearch, whole, tmp_path):
    shown = scalesearch("status", whole.folder.path).out
    assert "baseline: one training of each network, no probability known; add `search.c" in shown
    search = {**STUDY["search"], "confirm": {"top": 2, "seeds": 2}}
    file = write_study(tmp_path, without=("grid", "family"), search=search)
    folder = run(file, folder=tmp_path / "run")
    shown = scalesearch("status", folder.path).out
    assert f"baseline: {folder.confirmation.sentence}" in shown
    rows = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "4 assessed" in rows["confirm"]
    plain = json.loads(scalesearch("status", folder.path, "--json").out)["confirm"]
    assert plain["assessed"] == 4
    first = plain["candidates"][0]
    assert first["trial"] == folder.confirmation.baseline.trial.number
    assert first["probability"] == folder.confirmation.baseline.probability
    assert "Candidates, trained several times" in (folder.path / "report.html").read_text()
