"""The phase `test`: nothing before it sees a test image, and it scores each network once."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save

from scalesearch.arch.plain import digest
from scalesearch.cli.check import check_study
from scalesearch.cli.run import show_results
from scalesearch.cli.status import show_status
from scalesearch.errors import TrialError, UserError
from scalesearch.files.architecture import load_architecture, save_architecture
from scalesearch.history import final_scores
from scalesearch.history.fidelity import Fidelity, Schedule
from scalesearch.history.jobs import seed_for
from scalesearch.history.ranking import ranked
from scalesearch.interfaces import ImageData, View
from scalesearch.nn.build import build
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.study import run as running
from scalesearch.study import scoring
from scalesearch.study.assess import _take
from scalesearch.study.folder import RunFolder
from scalesearch.study.parts import read_plugin
from scalesearch.study.results import export_winners
from scalesearch.study.run import run
from tests import fakes
from tests.fakes import Grey, write_study

HERE = "tests.study.test_scoring"


@dataclass(frozen=True)
class Logged(Grey):
    """Grey images that write down who reads them."""

    part: str
    log: Path

    def batch(self, indices: np.ndarray, view: View) -> object:
        with self.log.open("a") as file:
            file.write(f"{self.part}\n")
        return super().batch(indices, view)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    log: Path
    test: int = 10

    def load(self, seed: int) -> ImageData:
        parts = {"train": 16, "validation": 16} | ({"test": self.test} if self.test else {})
        images = {part: Logged(count, part, self.log) for part, count in parts.items()}
        classes = tuple(map(str, range(10)))
        return ImageData(classes=classes, channels=1, mean=(0.5,), std=(0.3,), flip=False, **images)


@dataclass(frozen=True, kw_only=True)
class Evaluator(fakes.Evaluator):
    """Reads every image that it is given.

    Attributes:
        kill: file that is not there yet: the process is killed when it scores a second network on
            test images.
        fail_unless: file without which networks of more than 8 pixels fail.
        fail_seed: of the training that fails without that file, in place of these.
        refuse: whether `score` is wrong.
    """

    kill: Path | None = None
    fail_unless: Path | None = None
    fail_seed: int | None = None
    refuse: bool = False

    def evaluate(self, model, architecture, data, seed):
        if self.fail_seed == seed and not self.fail_unless.exists():
            raise TrialError("made to fail")
        too_large = self.fail_seed is None and architecture.resolution > 8
        if self.fail_unless and too_large and not self.fail_unless.exists():
            raise TrialError("made to fail")
        for part in (data.train, data.validation, data.test):
            if part is not None:
                part.batch(np.arange(2), View(8))
        with torch.no_grad():
            for number, weight in enumerate(model.parameters()):
                weight.fill_(seed % 97 + number)
        yield from super().evaluate(model, architecture, data, seed)

    def score(self, model, architecture, data):
        assert data.train is data.validation is data.test
        if self.refuse:
            raise UserError("this evaluator does not score")
        is_second = data.test.log.read_text().count("test") == 2  # after the look at the data set
        if self.kill is not None and is_second and not self.kill.exists():
            self.kill.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        data.test.batch(np.arange(2), View(8))
        first = next(model.parameters()).flatten()[0]
        return {"accuracy": fakes.accuracy_of(architecture) - 0.01, "weight": float(first.detach())}


SMALL = {
    "search": fakes.STUDY["search"] | {"trials": 2},
    "coefficients": {"alpha": 1.2, "beta": 1.1, "gamma": 1.15},
    "family": {"phi": [0, 1], "strategies": ["compound", "width"]},
}


def write(place, evaluator=f"{HERE}:Evaluator", without=(), **changes):
    """A study file of a search and a family, that `changes` replaces the sections of."""
    options = changes.pop("options", {})
    sections = {key: value for key, value in SMALL.items() if key not in without}
    return write_study(
        place,
        dataset={"name": f"{HERE}:Dataset", "log": str(place / "log")},
        evaluator={"name": evaluator} | options,
        without=("search", "grid", "family"),
        **sections | changes,
    )


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Runs a study of its own without figures, which take longer than all the rest."""
    monkeypatch.setattr(running, "report", lambda folder: [])

    def go(*arguments, retry_failed=False, **changes):
        file = write(tmp_path, *arguments, **changes)
        return run(file, folder=tmp_path / "run", retry_failed=retry_failed)

    return go


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study that was run once; tests leave it as it is."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "report", lambda folder: [])
        return run(write(place), folder=place / "run")


def reads(tmp_path):
    return (tmp_path / "log").read_text().split()


def test_no_phase_but_the_last_sees_a_test_image(study, tmp_path):
    search = SMALL["search"] | {"confirm": {"top": 2, "seeds": 2}}
    grid = fakes.STUDY["grid"] | {"confirm": {"top": 1, "phi": [1], "lengths": [1, 2]}}
    folder = study(search=search, grid=grid, without=("coefficients",))
    phases = folder.read()
    assert [*phases] == ["search", "confirm", "grid", "grid_confirm", "family", "test"]
    # The data set is looked at when it is loaded; then each different network reads once.
    networks = len({trial.digest for trial in phases["family"]})
    looked, rest = reads(tmp_path)[:3], reads(tmp_path)[3:]
    assert looked == ["train", "validation", "test"]
    assert rest[-networks:] == ["test"] * networks
    assert set(rest[:-networks]) == {"train", "validation"}
    assert len(phases["test"]) == len(phases["family"]) == len(folder.family)


def test_the_weights_that_are_kept_are_scored(whole):
    networks = {digest(m.architecture): m.architecture for m in whole.family}
    phases = whole.read()
    for family, test in zip(phases["family"], phases["test"], strict=True):
        assert (family.digest, dict(family.parameters)) == (test.digest, dict(test.parameters))
        network = networks[test.digest]
        if family.state == "assessed":
            weights = load_file(whole.checkpoint("family", family.number))
            name, _ = next(build(network).named_parameters())
            assert test.scores["weight"] == float(weights[name].flatten()[0])
        assert test.scores["accuracy"] == fakes.accuracy_of(network) - 0.01
        assert test.objective == (test.scores["accuracy"],)
    assert not list((whole.path / "checkpoints").glob("test-*"))


def test_test_scores_stand_in_the_files(whole):
    rows = whole.trials
    tests = rows[rows["phase"] == "test"]
    assert tests["accuracy"].notna().all()
    for member in whole.family:
        file = whole.path / "family" / f"{member.name}.yaml"
        row = tests[tests["digest"] == digest(member.architecture)].iloc[0]
        comments = [line for line in file.read_text().splitlines() if line.startswith("#")]
        assert f"# test_accuracy: {round(row['accuracy'], 6)}" in comments
        assert sum(line.startswith("# accuracy: ") for line in comments) == 1
        assert load_architecture(file) == member.architecture


def test_exports_say_which_images_their_scores_are_of(whole, tmp_path):
    shutil.copytree(whole.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    export_winners(folder, (read_plugin("exporters", "python", Path()),))
    text = (folder.path / "export" / "compound_phi1.py").read_text()
    trial = next(t for t in folder.read()["test"] if t.parameters["phi"] == 1)
    facts = dict(line.split(":", 1) for line in text.splitlines() if line.count(":") == 1)
    facts = {key: value.strip() for key, value in facts.items()}
    assert facts["test_accuracy"] == f"{trial.scores['accuracy']:.6g}"
    assert facts["scores_of"] == "the validation images; `test_...` of the test images"
    assert folder.test_images == 10


def test_the_command_line_shows_test_scores_beside_the_others(whole, capsys):
    show_results(whole)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    (head,) = [line for line in lines if line[:2] == ["phi", "strategy"]]
    assert head[-3:] == ["accuracy", "test", "accuracy"]
    phases = whole.read()
    scored = {final.name: final for final in final_scores.final_scores(phases)}
    assert set(scored) == {member.name for member in whole.family}
    show_status(whole.path, False)
    status = capsys.readouterr().out
    for name, final in scored.items():
        pair = [f"{one.scores['accuracy']:.4f}" for one in (final.chosen, final.test)]
        strategy, _, phi = name.partition("_phi")
        assert any(line[:2] == [phi, strategy] and line[-2:] == pair for line in lines)
        assert [name, *pair] in [line.split() for line in status.splitlines()]
    assert "nothing is chosen by these scores" in status
    show_status(whole.path, True)
    plain = json.loads(capsys.readouterr().out)["test"]
    assert "best" not in plain
    assert {one["network"] for one in plain["networks"]} == set(scored)


def test_a_check_counts_test_images_and_shows_them_to_nobody(tmp_path, capsys):
    check_study(write(tmp_path), [], 100)
    out = capsys.readouterr().out
    assert "16 training, 16 validation and 10 test images, 10 classes" in out
    assert reads(tmp_path).count("test") == 1  # the look at the data set


def test_a_study_that_is_run_again_scores_nothing_again(study, tmp_path):
    first = study()
    before, times = reads(tmp_path), first.trials["finished"].tolist()
    yaml_before = sorted(file.read_text() for file in (first.path / "family").iterdir())
    again = study()
    assert reads(tmp_path)[len(before) :] == ["train", "validation", "test"]  # looked at, as always
    assert again.trials["finished"].tolist() == times
    assert sorted(file.read_text() for file in (again.path / "family").iterdir()) == yaml_before


def test_a_run_that_was_killed_scores_each_network_once(study, tmp_path):
    options = {"kill": str(tmp_path / "killed")}
    process = multiprocessing.get_context("fork").Process(
        target=study, kwargs={"options": options}, daemon=True
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "killed").exists()
    folder = study(options=options)
    tests = folder.read()["test"]
    assert {trial.state for trial in tests} <= {"assessed", "reused"}
    networks = len({trial.digest for trial in tests})
    assert len(tests) == len(folder.family)
    assert reads(tmp_path).count("test") == 2 + networks  # two looks, and each once


def test_without_a_family_the_searchs_baseline_is_scored(study, capsys):
    folder = study(without=("coefficients", "family"))
    (trial,) = folder.read()["test"]
    assert dict(trial.parameters) == {"network": "baseline"}
    assert trial.digest == digest(folder.baseline)
    show_results(folder)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("test "))
    best = max(t.scores["accuracy"] for t in folder.read()["search"] if t.state == "assessed")
    test = trial.scores["accuracy"]
    assert line.split(maxsplit=1)[1] == (
        f"accuracy {test:.4f} on 10 images; {best:.4f} on the validation images"
    )
    text = (folder.path / "baseline.yaml").read_text()
    assert f"# test_accuracy: {round(trial.scores['accuracy'], 6)}" in text
    assert "# trial: " in text
    assert yaml.safe_load(text)["stages"]


def test_a_confirmed_baseline_is_scored_with_the_weights_of_its_best_training(study):
    search = SMALL["search"] | {"confirm": {"top": 2, "seeds": 3}}
    folder = study(without=("coefficients", "family"), search=search)
    phases = folder.read()
    own = [t for t in phases["confirm"] if t.digest == digest(folder.baseline)]
    best = max(own, key=lambda trial: trial.objective)
    weights = load_file(folder.checkpoint("confirm", best.number))
    (trial,) = phases["test"]
    assert trial.scores["weight"] in {float(weight.flatten()[0]) for weight in weights.values()}


def scored_weights(folder):
    """Of each test trial the weights that it says it scored, if its score is of those."""
    names = []
    for trial in folder.read()["test"]:
        phase, number = trial.weights_of.split()
        assert trial.scores["weight"] == seed_for(0, phase, int(number)) % 97
        names.append(trial.weights_of)
    return names


def test_a_test_score_is_never_shown_beside_other_weights_than_it_is_of(study, tmp_path):
    search = SMALL["search"] | {"confirm": {"top": 2, "seeds": 3}}
    shape = {"without": ("coefficients", "family"), "search": search}
    # A training that fails at first, and is the best of its network when it is tried again.
    network = study(**shape).baseline
    confirm = RunFolder(tmp_path / "run").read()["confirm"]
    best, second, _ = ranked(trial for trial in confirm if trial.digest == digest(network))
    shutil.rmtree(tmp_path / "run")
    options = {
        "fail_unless": str(tmp_path / "mended"),
        "fail_seed": seed_for(0, "confirm", best.number),
    }
    folder = study(options=options, **shape)
    assert folder.baseline == network
    before, after = f"confirm {second.number}", f"confirm {best.number}"
    assert scored_weights(folder) == [before]
    (tmp_path / "mended").touch()
    # Trained again, and not scored again yet: no score is shown.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "score_reported", lambda context, members: None)
        study(options=options, retry_failed=True, **shape)
    assert final_scores.final_scores(folder.read()) == []
    assert [trial.state for trial in final_scores.current(folder.read())["test"]] == []
    export_winners(folder, (read_plugin("exporters", "python", Path()),))
    assert "test_accuracy" not in (folder.path / "export" / "baseline.py").read_text()
    study(options=options, **shape)
    assert scored_weights(folder) == [before, after]
    (final,) = final_scores.final_scores(folder.read())
    assert (final.test.weights_of, final.chosen.number) == (after, best.number)
    assert (tmp_path / "run" / "log.txt").read_text().count(
        "test: 1 trials to assess, 0 there already"
    ) == 2
    rows = folder.trials
    assert rows[rows["phase"] == "test"]["weights_of"].tolist() == [before, after]
    text = (folder.path / "baseline.yaml").read_text()
    assert f"# test_accuracy: {round(final.test.scores['accuracy'], 6)}" in text
    # Nothing is left to score.
    study(options=options, **shape)
    assert len(folder.read()["test"]) == 2


def test_another_baseline_by_a_failed_trial_has_a_score_of_its_own(study, tmp_path):
    shape = {"without": ("coefficients", "family")}
    search = SMALL["search"] | {"sampler": {"name": "random"}}
    best = ranked(study(search=search, **shape).read()["search"])[0]
    shutil.rmtree(tmp_path / "run")
    seed = seed_for(0, "search", best.number)
    options = {"fail_unless": str(tmp_path / "mended"), "fail_seed": seed}
    folder = study(options=options, search=search, **shape)
    (tmp_path / "mended").touch()
    study(options=options, search=search, retry_failed=True, **shape)
    first, second = folder.read()["test"]
    assert first.digest != second.digest == digest(folder.baseline) == best.digest
    (final,) = final_scores.final_scores(folder.read())
    assert final.test == second


def test_nothing_is_confirmed_once_test_images_were_seen(study, tmp_path):
    study(without=("coefficients", "family"))
    before = (tmp_path / "run" / "record.journal").read_bytes()
    search = SMALL["search"] | {"confirm": {"top": 2, "seeds": 2}}
    with pytest.raises(UserError, match=r"holds another study; what differs: search\.confirm"):
        study(without=("coefficients", "family"), search=search)
    assert (tmp_path / "run" / "record.journal").read_bytes() == before


def test_what_was_trained_is_exported_where_the_test_ends_with_a_mistake(
    study, tmp_path, monkeypatch
):
    pages = []
    monkeypatch.setattr(running, "report", pages.append)
    with pytest.raises(UserError, match="this evaluator does not score"):
        study(options={"refuse": True}, export=["python"])
    assert (tmp_path / "run" / "export" / "compound_phi1.py").exists()
    assert [folder.path for folder in pages] == [tmp_path / "run"]


def test_what_cannot_be_scored_is_said(study, tmp_path):
    def notes():
        return (tmp_path / "run" / "log.txt").read_text()

    folder = study("tests.fakes:Evaluator")
    assert "test" not in folder.read()
    assert "the test images are not used: the evaluator 'tests.fakes:Evaluator' has no" in notes()


def test_a_study_that_reports_coefficients_alone_says_so(study, tmp_path):
    (tmp_path / "space.yaml").write_text(fakes.FOUR)
    network = BackboneSpace.load(tmp_path / "space.yaml").sample(0)
    save_architecture(tmp_path / "net.yaml", network)
    folder = study(
        without=("search", "family", "coefficients"),
        baseline="net.yaml",
        grid=fakes.STUDY["grid"] | {"step": 0.4},
    )
    assert "test" not in folder.read()
    assert "reports coefficients and no trained network" in (folder.path / "log.txt").read_text()


def test_a_member_that_failed_has_no_test_score_until_it_is_tried_again(study, tmp_path):
    options = {"fail_unless": str(tmp_path / "mended")}
    folder = study(options=options)
    failed = {t.digest for t in folder.read()["family"] if t.state == "failed"}
    tested = {t.digest for t in folder.read()["test"]}
    assert failed
    assert tested == {t.digest for t in folder.read()["family"]} - failed
    (tmp_path / "mended").touch()
    phases = study(options=options, retry_failed=True).read()
    assert {t.digest for t in phases["test"]} == tested | failed
    assert {t.state for t in phases["test"]} <= {"assessed", "reused"}


def test_a_member_without_its_weights_fails_alone(study, tmp_path, monkeypatch):
    original = scoring.score_reported

    def without(context, members):
        first = context.folder.read(context.storage)["family"][0]
        path = context.folder.checkpoint("family", first.number)
        path.rename(tmp_path / "moved")
        original(context, members)

    monkeypatch.setattr(running, "score_reported", without)
    folder = study()
    first, *others = folder.read()["test"]
    assert first.state == "failed"
    path = folder.checkpoint("family", first.number)
    assert first.reason == f"error: its weights are missing: there is no {path}"
    assert {trial.state for trial in others if trial.digest != first.digest} <= {
        "assessed",
        "reused",
    }
    monkeypatch.setattr(running, "score_reported", original)
    (tmp_path / "moved").rename(path)
    trials = study(retry_failed=True).read()["test"]
    assert {trial.state for trial in trials} <= {"assessed", "reused"}


def test_weights_of_another_network_are_refused(study, tmp_path):
    with pytest.raises(TrialError, match="the kept weights are not of this network"):
        _take(torch.nn.Linear(2, 3), save({"weight": torch.zeros(1)}))
    with pytest.raises(TrialError, match="the kept weights are not of this network"):
        _take(torch.nn.Linear(2, 3), b"damaged")


def test_the_schedule_of_the_training_goes_with_its_weights():
    class Recording:
        workload = None

        def score(self, model, architecture, data, **more):
            return {"schedules": len(more)}

    half = Schedule(then=Fidelity(resolution=0.5))
    for schedule, count in ((Schedule(), 0), (half, 1)):
        (score,) = scoring.Scorer(Recording()).evaluate(None, None, None, 0, schedule)
        assert score.values == {"schedules": count}


def test_scores_that_are_none_are_the_evaluators_mistake():
    class Wrong:
        workload = None

        def score(self, model, architecture, data):
            return 0.9

    with pytest.raises(UserError, match="Wrong': `score` returned a float"):
        next(scoring.Scorer(Wrong()).evaluate(None, None, None, 0))
