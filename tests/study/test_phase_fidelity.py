"""How much of the data each phase takes: from the study file to trainings, notes and the page."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import yaml

from scalesearch.cli.check import check_study
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.history.fidelity import WHOLE_EPOCHS, Fidelity, Schedule
from scalesearch.history.jobs import Score
from scalesearch.history.ranking import ranked
from scalesearch.history.stopping import Stopping, schedule_of
from scalesearch.study.load import load_study, resolved
from scalesearch.study.run import run
from tests.fakes import STUDY, Evaluator, write_study

SMALL = {"data": 0.25, "resolution": 0.5}
CAREFUL = {"name": "tests.study.test_phase_fidelity:Careful"}


@dataclass(frozen=True, kw_only=True)
class Careful(Evaluator):
    """Learns less of fewer and smaller images: its scores are shares of those of whole epochs."""

    fidelities: ClassVar[tuple[str, ...]] = ("data", "resolution")

    def evaluate(
        self, model, architecture, data, seed, schedule=WHOLE_EPOCHS
    ) -> Generator[Score, None, None]:
        with self.calls.open("a") as file:
            network = json.dumps([architecture.depth, [s.width for s in architecture.stages]])
            file.write(f"{network}; {schedule.words}\n")
        whole = Evaluator(epochs=self.epochs).evaluate(model, architecture, data, seed)
        for score in whole:
            value = score.values["accuracy"] * schedule.at(score.step).work
            yield Score(score.step, {"accuracy": value})


def study(folder, **changes):
    careful = CAREFUL | {"epochs": 2, "calls": str(folder / "calls")}
    return write_study(folder, **({"evaluator": careful} | changes))


def seen(folder):
    return [line.split("; ") for line in (folder / "calls").read_text().splitlines()]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fidelity")
    confirm = {"top": 2, "seeds": 2}
    stopping = {"rungs": [1], "data": [0.5]}
    file = study(
        folder,
        search=STUDY["search"] | {"fidelity": SMALL, "confirm": confirm, "stopping": stopping},
        grid=STUDY["grid"] | {"fidelity": {"resolution": 0.5}},
        family={"phi": [0, 1], "strategies": ["compound"], "fidelity": {"data": 0.5}},
        export=["python"],
    )
    return run(file, folder=folder / "run")


def test_each_phase_takes_its_own_share_of_the_data(done):
    """The shares of rungs are of what the phase takes: half of a quarter to epoch 1."""
    calls = [words for _, words in seen(done.path.parent)]
    trials = done.read()
    trained = {
        phase: sum(trial.source is None and trial.state != "infeasible" for trial in each)
        for phase, each in trials.items()
    }
    assert trained["confirm"] == 4
    assert calls == [
        *["12.5 % of the images at 50 % of the side to epoch 1, "
          "then 25 % of the images at 50 % of the side"] * trained["search"],
        *["all images"] * 4,
        *["all images at 50 % of the side"] * trained["grid"],
        *["50 % of the images"] * trained["family"],
    ]  # fmt: skip


def test_a_network_of_another_phase_is_trained_anew(done):
    """The family's first member is the baseline: what the search knows of it is of other images."""
    trials = done.read()
    (first,) = (trial for trial in trials["family"] if trial.parameters["phi"] == 0)
    (searched,) = [t for t in trials["search"] if t.digest == first.digest and t.source is None]
    assert first.source is None
    assert first.scores["accuracy"] > 4 * searched.scores["accuracy"]


def test_a_stopped_trial_says_what_its_score_is_of(done):
    trials = done.read()["search"]
    stopped = [trial for trial in trials if trial.state == "stopped" and trial.source is None]
    assert stopped
    words = "stopped after step 1, on 12.5 % of the images at 50 % of the side"
    assert {trial.reason for trial in stopped} == {words}
    # At a rung all scores are of the same images; only the last ones rank.
    best = ranked(trials)
    assert {trial.state for trial in best} <= {"assessed", "reused"}
    assert best[0].scores["accuracy"] == max(t.curve[2] for t in trials if 2 in t.curve)


def test_the_run_says_what_its_trainings_take(done):
    log = (done.path / "log.txt").read_text()
    assert (
        "search: trainings take 12.5 % of the images at 50 % of the side to epoch 1, then 25 % of "
        "the images at 50 % of the side"
    ) in log
    assert "grid: trainings take all images at 50 % of the side" in log
    assert "family: trainings take 50 % of the images" in log
    assert "confirm: trainings take" not in log
    member = (done.path / "family" / "compound_phi1.yaml").read_text()
    assert "trained_on: 50 % of the images" in member
    assert "trained_on" not in (done.path / "baseline.yaml").read_text()  # confirmed on all
    found = yaml.safe_load((done.path / "coefficients.yaml").read_text())
    assert found["trained_on"] == "all images at 50 % of the side"
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", (done.path / "report.html").read_text()))
    assert "Every training of the family saw 50 % of the images." in page
    assert "Every training of the grid saw all images at 50 % of the side." in page
    assert "Every training of the search saw 12.5 % of the images" in page
    assert "Every training of the confirm" not in page
    assert "50 % of the images" in (done.path / "export" / "compound_phi1.py").read_text()


def test_other_shares_are_another_study(done):
    file, before = done.path.parent / "study.yaml", len(seen(done.path.parent))
    with pytest.raises(UserError, match=r"search.fidelity.data: 0.25 -> 0.5"):
        run(file, ["search.fidelity.data=0.5"], folder=done.path)
    run(file, folder=done.path)  # finished: nothing is trained again
    assert len(seen(done.path.parent)) == before


def test_the_settings_are_read_and_written(tmp_path):
    search = STUDY["search"] | {"fidelity": SMALL, "stopping": {"rungs": [1], "resolution": [0.5]}}
    given = load_study(study(tmp_path, search=search))
    schedule = given.search.schedule
    assert schedule == Schedule(
        ((1, Fidelity(data=0.25, resolution=0.25)),), then=Fidelity(data=0.25, resolution=0.5)
    )
    plain = resolved(given)
    assert plain["search"]["fidelity"] == SMALL
    assert plain["family"]["fidelity"] == {"data": 1.0, "resolution": 1.0}
    assert schedule_of(plain["search"]) == schedule
    assert schedule_of({}) == WHOLE_EPOCHS
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(plain))
    assert load_study(again) == given


PHASES = {
    "search": {"search": STUDY["search"] | {"fidelity": {"data": 0.5}}},
    "search.confirm": {
        "search": STUDY["search"] | {"confirm": {"fidelity": {"data": 0.5}}},
    },
    "grid": {"grid": STUDY["grid"] | {"fidelity": {"data": 0.5}}},
    "family": {"family": {"phi": [0], "fidelity": {"data": 0.5}}},
}


@pytest.mark.parametrize("phase", PHASES)
def test_an_evaluator_without_fidelities_is_a_mistake(tmp_path, phase):
    with pytest.raises(UserError) as error:
        load_study(write_study(tmp_path, **PHASES[phase]))
    assert (
        f"{phase}.fidelity.data: the evaluator 'tests.fakes:Evaluator' does not train on a part "
        "of the images\n  leave it out"
    ) in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"evaluator": {"name": "tests.fakes:Evaluator", "epochs": 2}},
            "search.stopping.data: the evaluator 'tests.fakes:Evaluator' does not train on a part "
            "of the images before a rung",
        ),
        (
            {"evaluator": {"name": "tests.study.test_phase_fidelity:Endless"}},
            "search.stopping: the evaluator 'tests.study.test_phase_fidelity:Endless' does not say "
            "how many epochs it trains",
        ),
    ],
)
def test_rungs_of_a_search_with_shares_need_an_evaluator_that_takes_them(
    tmp_path, changes, message
):
    search = STUDY["search"] | {"stopping": {"rungs": [1], "data": [0.5]}}
    with pytest.raises(UserError, match=re.escape(message)):
        load_study(write_study(tmp_path, search=search, **changes))


@dataclass(frozen=True)
class Endless:
    """Trains for as long as it likes."""

    fidelities: ClassVar[tuple[str, ...]] = ("data",)
    workload: ClassVar[Workload] = Workload()

    def evaluate(self, model, architecture, data, seed, schedule=WHOLE_EPOCHS):
        yield Score(1, {"accuracy": 0.5})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"search": STUDY["search"] | {"fidelity": {"resolution": 0.99}}}, "search.fidelity"),
        (
            {"search": STUDY["search"] | {"stopping": {"rungs": [1], "resolution": [0.99]}}},
            "search.stopping",
        ),
        ({"family": {"phi": [0], "fidelity": {"resolution": 0.99}}}, "family.fidelity"),
        ({"grid": STUDY["grid"] | {"fidelity": {"resolution": 0.99}}}, "grid.fidelity"),
    ],
)
def test_networks_too_small_to_shrink_are_a_mistake_before_any_training(tmp_path, changes, key):
    """99 % of 8 pixels are 8."""
    file = study(tmp_path, **changes)
    message = rf"{key}.resolution: 0.99 of 8 pixels would be as many again"
    with pytest.raises(UserError, match=message):
        run(file, folder=tmp_path / "run")
    with pytest.raises(UserError, match=message):
        check_study(file, [], samples=10)
    assert not (tmp_path / "calls").exists()


def test_a_check_says_it_too(tmp_path, capsys):
    search = STUDY["search"] | {"fidelity": SMALL}
    check_study(study(tmp_path, search=search), [], samples=10)
    told = capsys.readouterr().out
    assert "search: trainings take 25 % of the images at 50 % of the side" in told
    assert "family: trainings take" not in told


def test_the_shares_of_rungs_and_of_the_phase_multiply():
    rungs = Stopping(rungs=(1, 3), data=(0.25, 0.5), resolution=(0.5, 1.0)).schedule
    schedule = rungs.within(Fidelity(data=0.5, resolution=0.5))
    assert [schedule.at(epoch) for epoch in (1, 2, 3, 4)] == [
        Fidelity(data=0.125, resolution=0.25),
        *[Fidelity(data=0.25, resolution=0.5)] * 2,
        Fidelity(data=0.5, resolution=0.5),
    ]
    assert rungs.within(Fidelity()) == rungs
