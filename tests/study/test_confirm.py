"""The phase `confirm`: from the study file to the baseline and its weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from scalesearch.arch.plain import digest
from scalesearch.errors import UserError
from scalesearch.history.jobs import seed_for
from scalesearch.history.ranking import ranked
from scalesearch.study import run as running
from scalesearch.study.doubt import doubt
from scalesearch.study.load import load_study, resolved
from scalesearch.study.results import winners
from scalesearch.study.run import run
from tests.fakes import STUDY, accuracy_of, write_study

CONFIRM = {"top": 3, "seeds": 2, "evaluator": {"epochs": 2}}


def search(confirm=CONFIRM, **others):
    return {**STUDY["search"], "confirm": confirm, **others}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Runs a study of its own without figures, which take longer than all the rest."""
    monkeypatch.setattr(running, "report", lambda folder: [])

    def go(*overrides, name="run", without=("grid", "family"), **changes):
        changes = {"search": search()} | changes
        file = write_study(tmp_path, without=without, **changes)
        return run(file, overrides, folder=tmp_path / name)

    return go


def told(folder):
    return (folder.path / "log.txt").read_text()


def same(folder):
    return folder.trials.drop(columns=["seconds", "finished"]).to_csv()


def test_the_best_networks_are_trained_again_with_seeds_of_their_own(study):
    folder = study()
    phases = folder.read()
    best = [trial.number for trial in ranked(phases["search"])[:3]]
    trials = phases["confirm"]
    assert [(t.parameters["candidate"], t.parameters["repeat"]) for t in trials] == [
        *((number, 1) for number in best),
        *((number, 2) for number in best),
    ]
    networks = {t.number: t.digest for t in phases["search"]}
    assert all(t.digest == networks[t.parameters["candidate"]] for t in trials)
    assert all(sorted(t.curve) == [1, 2] for t in trials), "epochs of confirm, not of the search"
    assert {t.state for t in trials} == {"assessed"}
    rows = folder.trials[folder.trials["phase"] == "confirm"]
    assert list(rows["candidate"]) == best * 2


def test_the_baseline_is_the_candidate_with_the_highest_mean(study):
    folder = study()
    found, trials = folder.confirmation, folder.read()["confirm"]
    wanted = digest(folder.baseline)
    means = {
        t.digest: sum(o.objective[0] for o in trials if o.digest == t.digest) / 2 for t in trials
    }
    assert wanted == max(means, key=means.get) == found.baseline.trial.digest
    assert found.baseline.mean == pytest.approx(means[wanted])
    network = folder.baseline
    values = [
        accuracy_of(network, seed_for(0, "confirm", t.number)) for t in trials if t.digest == wanted
    ]
    assert found.baseline.mean == pytest.approx(sum(values) / 2)
    lines = (folder.path / "baseline.yaml").read_text().splitlines()
    assert f"# trial: {found.baseline.trial.number}" in lines
    assert f"# accuracy: {found.baseline.mean:.6g}" in [line[:20] for line in lines]
    assert f"# confidence: {found.sentence}" in lines
    assert f"# standard_error: {round(found.baseline.error, 6)}" in lines
    assert found.sentence in told(folder)


def test_the_weights_are_those_of_its_best_training(study):
    folder = study()
    (winner,) = winners(folder)
    best = folder.confirmation.baseline.trainings[0]
    assert (winner.name, winner.phase, winner.trial.number) == ("baseline", "confirm", best.number)
    assert winner.file == "baseline.yaml"
    assert folder.checkpoint("confirm", best.number).exists()
    kept = sorted(file.name for file in (folder.path / "checkpoints").glob("confirm-*"))
    assert len(kept) == 3, "one of each candidate"


def test_without_it_the_run_says_that_nothing_is_known(study):
    folder = study(search=STUDY["search"])
    said = "one training of each network, no probability known; add `search.confirm` to know it"
    assert f"# confidence: {said}\n" in (folder.path / "baseline.yaml").read_text()
    assert said in told(folder)
    assert folder.confirmation is None


def test_what_is_said_depends_on_the_search():
    def said(evaluator, space="space.yaml", **others):
        return doubt({"search": {"space": space, "evaluator": evaluator, **others}})

    assert said({"name": "training", "seeds": 3}).startswith("one score by 3 trainings each, no")
    assert "with training" in said({"name": "table"})
    assert said({"name": "of.nowhere:Evaluator"}).startswith("one training of each network")
    assert said({"name": "table"}, space={"table": "t.csv"}) == ""
    assert said({"name": "training"}, confirm=CONFIRM) == ""
    assert doubt({"baseline": "efficientnet_b0"}) == ""


def test_a_grid_and_a_family_follow_the_confirmed_baseline(study):
    folder = study(without=())
    (member,) = (m for m in folder.family if (m.phi, m.strategy) == (0, "compound"))
    assert member.architecture == folder.baseline
    assert list(folder.read()) == ["search", "confirm", "grid", "family"]


@pytest.mark.parametrize("execution", [{}], ids=["one"])
def test_deterministic_studies_are_the_same_again(study, execution):
    first, second = (
        study(name=name, execution={**execution, "deterministic": True}) for name in ("a", "b")
    )
    assert same(first) == same(second)
    assert len(first.read()["confirm"]) == 6


def test_more_candidates_than_there_are_networks(study):
    folder = study(search=search(CONFIRM | {"top": 40}))
    assert len(folder.confirmation.candidates) == 6
    assert "confirm: 6 candidates instead of 40: the search assessed no more" in told(folder)


def test_a_pair_is_ranked_by_its_metric_and_a_reward_by_itself(study):
    pair = study(search=search(objective=["accuracy", "flops"]))
    trials = pair.read()["confirm"]
    assert all(len(t.objective) == 2 for t in trials)
    best = pair.confirmation.baseline
    assert best.mean == pytest.approx(best.scores["accuracy"])
    reward = {"reward": "accuracy", "flops": "5k", "exponent": -0.5}
    folder = study(name="reward", search=search(objective=reward))
    best = folder.confirmation.baseline
    assert best.mean == max(c.mean for c in folder.confirmation.candidates)
    assert best.mean != pytest.approx(best.scores["accuracy"], abs=0.01)


FLAKY = """
from dataclasses import dataclass
from scalesearch.errors import TrialError
from tests.fakes import Evaluator as Plain

@dataclass(frozen=True, kw_only=True)
class Evaluator(Plain):
    odd: bool = False

    def evaluate(self, model, architecture, data, seed):
        if self.odd and seed % 2:
            raise TrialError("an odd seed")
        yield from super().evaluate(model, architecture, data, seed)
"""


def test_a_failed_training_is_left_out_and_said(study, tmp_path, monkeypatch):
    (tmp_path / "flaky.py").write_text(FLAKY)
    monkeypatch.syspath_prepend(str(tmp_path))
    confirm = {"top": 3, "seeds": 3, "evaluator": {"odd": True}}
    folder = study(search=search(confirm), evaluator={"name": "flaky:Evaluator"})
    trials = folder.read()["confirm"]
    failed = [t for t in trials if t.state == "failed"]
    assert {t.number for t in failed} == {n for n in range(9) if seed_for(0, "confirm", n) % 2}
    few = 0
    for candidate in folder.confirmation.candidates:
        assert len(candidate.trainings) + candidate.failed == 3
        if len(candidate.trainings) < 2:
            few += 1
            assert candidate.probability is None
            number = candidate.trial.number
            assert f"confirm: trial {number} of the search has no probability" in told(folder)
    assert 0 < len(failed) < 9


def test_a_search_that_is_over_may_be_confirmed_later(study, tmp_path):
    before = study(search=STUDY["search"]).read()["search"]
    folder = study()
    assert len(folder.read()["confirm"]) == 6
    assert folder.read()["search"] == before, "nothing of the search is done again"
    assert folder.confirmation.sentence in (folder.path / "baseline.yaml").read_text()
    with pytest.raises(UserError, match=r"what differs: search\.confirm\.seeds: 2 -> 3"):
        study("search.confirm.seeds=3")


def test_what_was_scaled_already_is_not_confirmed_later(study):
    study(search=STUDY["search"], without=("family",))
    with pytest.raises(UserError, match="holds another study"):
        study(without=("family",))


KILLED = """
import sys
from scalesearch.study import run as running
running.report = lambda folder: []
running.run(sys.argv[1], folder=sys.argv[2])
"""


@pytest.mark.parametrize(
    "execution",
    [
        pytest.param({}, id="one"),
    ],
)
def test_killed_in_the_middle_it_goes_on(study, tmp_path, execution):
    slow = {"top": 3, "seeds": 3, "evaluator": {"delay": 0.3}}
    changes = {"search": search(slow), "execution": execution | {"deterministic": True}}
    file = write_study(tmp_path, without=("grid", "family"), **changes)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file), str(tmp_path / "run")], start_new_session=True
    )
    log = tmp_path / "run" / "log.txt"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        text = log.read_text() if log.exists() else ""
        if text.partition("confirm: 9 trials")[2].count("assessed:") >= 3:
            break
        time.sleep(0.05)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    folder = study(**changes)
    assert [t.state for t in folder.read()["confirm"]] == ["assessed"] * 9
    assert same(folder) == same(study(name="whole", **changes))


def test_a_resolved_study_is_read_as_it_was_written(tmp_path):
    made = load_study(write_study(tmp_path, search=search()))
    assert made.search.confirm.evaluator.options["epochs"] == 2
    assert made.search.evaluator.options["epochs"] == 1
    plain = resolved(made)
    again = load_study(write_study(tmp_path, **json.loads(json.dumps(plain))))
    assert resolved(again) == plain


@pytest.mark.parametrize(
    ("confirm", "text"),
    [
        ("{seeds: 1}", "search.confirm.seeds: 1 cannot be used\n  allowed: at least 2"),
        ("{top: 1}", "search.confirm.top: 1 cannot be used\n  allowed: at least 2"),
        ("{tops: 3}", "search.confirm.tops: unknown key 'tops'\n  allowed: top, seeds, evaluator"),
        ("{evaluator: {epoch: 3}}", "search.confirm.evaluator.epoch: unknown key 'epoch'"),
        ("{evaluator: {name: nobody}}", "search.confirm.evaluator"),
    ],
)
def test_mistakes(tmp_path, confirm, text):
    file = write_study(tmp_path, search=search("HERE"))
    file.write_text(file.read_text().replace("HERE", confirm))
    lines = file.read_text().splitlines()
    line = next(n for n, each in enumerate(lines, 1) if "confirm:" in each)
    with pytest.raises(UserError) as error:
        load_study(file)
    assert str(error.value).startswith(f"{file}:{line}: {text}")
    assert "and 1 more" not in str(error.value)


LOOKS_UP = """
from dataclasses import dataclass
from typing import ClassVar
from tests.fakes import Evaluator as Plain

@dataclass(frozen=True, kw_only=True)
class Evaluator(Plain):
    trains: ClassVar[bool] = False
"""


def test_what_is_looked_up_is_confirmed_by_training(study, tmp_path, monkeypatch):
    (tmp_path / "looking_up.py").write_text(LOOKS_UP)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "looking_up:Evaluator"
    with pytest.raises(UserError, match="knows networks of the search alone") as error:
        study(search=search({"top": 2}, evaluator={"name": name}))
    assert error.value.key == "search.confirm.evaluator"
    training = {"top": 2, "seeds": 2, "evaluator": {"name": "tests.fakes:Evaluator"}}
    folder = study(search=search(training, evaluator={"name": name}))
    (winner,) = winners(folder)
    assert winner.phase == "confirm"
    timed = search(training, evaluator={"name": name}, objective=["accuracy", "latency"])
    with pytest.raises(UserError, match="latency is measured only where a study says on what"):
        study(search=timed)


def test_a_mistake_of_the_search_is_told_once(tmp_path):
    for changes in (
        {"evaluator": {"name": "tests.fakes:Evaluator", "epoch": 3}, "search": search()},
        {"search": search(evaluator={"epoch": 3})},
    ):
        with pytest.raises(UserError) as error:
            load_study(write_study(tmp_path, without=("grid", "family"), **changes))
        assert str(error.value).count("unknown key") == 1


def test_confirm_belongs_to_a_search(tmp_path):
    file = write_study(tmp_path, confirm={"top": 3})
    with pytest.raises(UserError, match="a part of the search, not of the study") as error:
        load_study(file)
    assert error.value.line > 0
    file = write_study(tmp_path, without=("search",), baseline="efficientnet_b0")
    with pytest.raises(UserError, match="no search whose networks could be confirmed"):
        load_study(file, ["search.confirm.top=3"])
