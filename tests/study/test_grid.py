"""A grid in rounds and its confirmation through a whole study, and what files and page say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import yaml

from scalesearch.errors import UserError
from scalesearch.evaluators.training import Evaluator as Training
from scalesearch.files.architecture import save_architecture
from scalesearch.history.drift import drift
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.family import members
from scalesearch.scaling.scale import scale
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.study.grid import coefficients
from scalesearch.study.grid_confirm import confirmed_networks, words
from scalesearch.study.load import load_study
from scalesearch.study.run import run
from tests.fakes import write_study

SMALL = """\
resolution: 32
in_channels: 1
num_classes: 10
width_divisor: 2
stem: {width: 8, kernel: 3, stride: 2}
stages:
  - {block: mbconv, width: 12, stride: 1, depth: 2, kernel: 3, expand: 2}
  - {block: mbconv, width: 24, stride: 2, depth: 3, kernel: [3, 5], expand: 2}
head: {width: 32, dropout: 0.0}
"""
NET = BackboneSpace.from_plain(yaml.safe_load(SMALL)).sample(0)
GRID = {"step": 0.2, "tolerance": 0.3, "trainings": 8}
CONFIRM = {"lengths": [1, 2], "phi": [1], "top": 2, "strategies": ["width", "resolution"]}
EVALUATOR = {"name": "tests.fakes:Evaluator", "epochs": 4}


@dataclass(frozen=True, kw_only=True)
class Deaf(Training):
    """Overrides the training, and leaves out how much of the data an epoch has."""

    def evaluate(self, model, architecture, data, seed):
        yield from super().evaluate(model, architecture, data, seed)


def study(folder, **changes):
    save_architecture(folder / "net.yaml", NET, {})
    settings = {"baseline": {"file": "net.yaml"}, "grid": GRID | {"confirm": CONFIRM}}
    settings |= {"evaluator": EVALUATOR} | changes
    return write_study(folder, without=("search", "family"), **settings)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    return run(study(folder), folder=folder / "run")


def test_the_grid_is_trained_in_rounds_within_its_budget(done):
    trials = done.read()["grid"]
    epochs = sum(max(t.curve, default=0) for t in trials if t.source is None)
    assert 6 * 4 < epochs <= 8 * 4
    assert {t.state for t in trials} >= {"assessed", "stopped"}
    plain = yaml.safe_load((done.path / "coefficients.yaml").read_text())
    assert plain["trainings"] == pytest.approx(epochs / 4, abs=0.01)
    # One network is left to the others: the budget is not enough for all.
    assert plain["trainings_without_halving"] == len({t.digest for t in trials}) + 1
    assert {"optimum", "interval", "better_than", "flat"} <= set(plain) or "no_surface" in plain


def test_leaders_and_single_dimensions_are_trained_longer(done):
    trials = done.read()["grid_confirm"]
    coefficients = done.coefficients
    ways = {t.parameters["way"] for t in trials}
    assert {"width alone", "resolution alone", words(coefficients)} <= ways
    assert len(ways) == 4
    for trial in trials:
        assert max(trial.curve) == 4 * trial.parameters["length"]
    networks = confirmed_networks(load_study(done.path / "resolved.yaml"), NET, [coefficients])
    assert networks[words(coefficients), 1.0] == scale(NET, coefficients, 1)
    (member,) = members(NET, coefficients, [1.0], ["width"])
    assert networks["width alone", 1.0] == member.architecture
    found = drift(trials, "accuracy")
    assert [c.length for c in found.conditions] == [1.0, 2.0]


def test_the_page_says_how_sure_and_whether_it_holds(done):
    page = re.sub(r"<[^>]+>", " ", (done.path / "report.html").read_text())
    assert "How sure" in page
    assert "Does it hold?" in page
    assert "phi 1, 2 times as long" in page
    assert "Trained in rounds:" in page
    log = (done.path / "log.txt").read_text()
    assert "a budget of 8 trainings" in log
    assert "grid_confirm: 4 networks, each trained 1 and 2 times as long, 8 trainings" in log


def test_what_is_done_is_not_done_again(done):
    before = done.read()
    assert run(done.path.parent / "study.yaml", folder=done.path).read() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"grid": {"trainings": 2, "step": 0.1}},
            r"grid.trainings: 2 trainings are too few to compare 6 triples\n  allowed: at least \d",
        ),
        (
            {"grid": {"stopping": {"rungs": [1]}}},
            "grid.stopping: rungs need a budget",
        ),
        (
            {"grid": {"trainings": 9, "stopping": {"rungs": [4]}}},
            "grid.stopping.rungs: a rung at epoch 4 stops nothing",
        ),
        (
            {"grid": {"trainings": 9, "stopping": {"rungs": [1], "data": [0.5, 1]}}},
            r"grid.stopping.data: \[0.5, 1.0\] has 2 for 1 rung\n",
        ),
        (
            {"grid": {"trainings": 9, "stopping": {"rungs": [1], "data": [0.5]}}},
            "grid.stopping.data: the evaluator 'tests.fakes:Evaluator' does not train on a part of "
            "the images before a rung\n  leave it out",
        ),
        (
            {
                "evaluator": {"name": "tests.study.test_grid:Deaf", "epochs": 4},
                "grid": {"trainings": 9, "stopping": {"rungs": [1], "resolution": [0.5]}},
            },
            "grid.stopping.resolution: the evaluator 'tests.study.test_grid:Deaf' does not train "
            "on smaller images before a rung",
        ),
        (
            {
                "evaluator": {"name": "training", "epochs": 4},
                "grid": GRID | {"trainings": 9, "stopping": {"rungs": [1], "resolution": [0.99]}},
            },
            "grid.stopping.resolution: 0.99 of 32 pixels would be as many again",
        ),
        ({"grid": {"trainings": 0}}, "grid.trainings: 0 cannot be used"),
        ({"grid": {"confirm": {"lengths": []}}}, "grid.confirm.lengths"),
        ({"grid": {"confirm": {"strategies": ["dept"]}}}, "depth"),
    ],
)
def test_a_budget_that_cannot_be_spent_is_a_mistake(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run(study(tmp_path, **changes), folder=tmp_path / "run")


def test_an_evaluator_of_several_seeds_leaves_repeats_to_the_grid(tmp_path):
    evaluator = {"name": "training", "epochs": 4, "seeds": 3}
    with pytest.raises(UserError, match="the leaders are repeated with other seeds anyway"):
        load_study(study(tmp_path, evaluator=evaluator, dataset="mnist5k"))


def test_a_product_far_from_the_budget_is_a_note(tmp_path):
    notes = []
    given = Coefficients(3, 3, 3, match="measured", budget=2.0)
    context = SimpleNamespace(
        folder=SimpleNamespace(path=tmp_path),
        study=SimpleNamespace(coefficients=given),
        watch=SimpleNamespace(note=notes.append),
    )
    assert coefficients(context, None) == given
    assert len(notes) == 1
    assert "multiplies FLOPs by 243, and the budget is 2: " in notes[0]
