"""Studies of detectors: their settings, and one from its file to its run folder."""

from __future__ import annotations

import contextlib
import io
import json
from typing import get_args

import pytest
import yaml
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors import safe_open

from scalesearch.arch.detector import Anchors, Detector
from scalesearch.arch.plain import to_plain
from scalesearch.errors import UserError
from scalesearch.files.architecture import save_architecture
from scalesearch.history.fidelity import Fidelity
from scalesearch.history.objective import Objective
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.family import DETECTOR_STRATEGIES
from scalesearch.scaling.match import _DETECTORS
from scalesearch.spaces.detector import DetectorSpace
from scalesearch.study.detection import DetectorStrategy
from scalesearch.study.load import load_study, resolved
from scalesearch.study.run import load_study as open_study
from scalesearch.study.run import run
from tests.shapes import detector

CANVAS = {"name": "mnist_canvas", "train": 24, "validation": 12, "side": 64, "largest": 40}
EVALUATOR = {"name": "detection", "epochs": 1, "batch_size": 8}
NEEDED = {"name": "found", "task": "detection", "dataset": CANVAS, "evaluator": EVALUATOR}


@pytest.fixture(scope="module")
def net():
    """Feeds levels 2 to 4 from 64 pixels."""
    return detector()


@pytest.fixture
def write(tmp_path, net):
    save_architecture(tmp_path / "net.yaml", net)

    def write(**sections):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(NEEDED | sections))
        return path

    return write


SEARCHED = {"space": "space.yaml", "trials": 2, "sampler": "random"}


@pytest.fixture
def space(tmp_path, net):
    plain = to_plain(net)
    plain["backbone"]["resolution"] = 64
    plain["neck"] |= {"kind": ["bifpn", "fpn"], "fusion": ["fast", "sum"]}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(plain))
    return DetectorSpace.load(tmp_path / "space.yaml")


def test_defaults(write):
    study = load_study(write(baseline="efficientdet_d0", coefficients={}, family={"phi": [0]}))
    assert study.objective == Objective(metric="ap")
    assert study.coefficients == DetectorCoefficients()
    assert study.family.strategies == ("compound",)
    assert study.family.evaluator.name == "detection"
    assert study.anchors is None
    study = load_study(
        write(baseline="efficientdet_d0", grid={"alpha": 1.1, "resolution": [0, 64]})
    )
    assert (study.grid.alpha, study.grid.resolution) == ((1.1,), (0.0, 64.0))
    assert study.grid.neck_width == (1.2, 1.25, 1.3, 1.35, 1.4, 1.45)  # the paper's own choice
    assert study.grid.budget is None


def test_a_resolved_study_is_the_same_study(write, tmp_path, space):
    stopping = {"rungs": [1, 2], "data": [0.25, 0.5], "resolution": [0.5, 0.5]}
    grid = {"budget": 2.0, "trainings": 8, "stopping": stopping, "evaluator": {"epochs": 4}}
    given = write(search=SEARCHED, grid=grid, anchors={"scale": 3.0, "ratios": [1, 2]})
    study = load_study(given)
    assert study.grid.stopping.schedule.at(2) == Fidelity(data=0.5, resolution=0.5)
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(resolved(study)))
    assert load_study(again) == study


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ({"dataset": "mnist5k"}, "dataset: 'mnist5k' is for classification"),
        ({"evaluator": "training"}, "evaluator: 'training' is for classification"),
        ({"task": "classification"}, "dataset: 'mnist_canvas' is for detection"),
        ({"task": "segmentation"}, "task: 'segmentation' is not known"),
        ({"baseline": "efficientnet_b0"}, "baseline: efficientnet_b0 is not a network of the task"),
        ({"anchors": "automatic"}, "anchors: 'automatic' is not known"),
        ({"anchors": {"scale": 0}}, "anchors.scale: 0 cannot be used"),
        ({"grid": {"step": 0.1}}, "grid.step: unknown key 'step'"),
        ({"grid": {"alpha": [1.1, 1.1]}}, "grid.alpha[1]: 1.1 stands twice"),
        ({"grid": {"neck_width": [1.2, -1]}}, "grid.neck_width[1]: -1.0 cannot be used"),
        ({"coefficients": {"gamma": 1.1}}, "coefficients.gamma: unknown key 'gamma'"),
        ({"family": {"phi": [1], "strategies": ["width"]}}, "family.strategies[0]: 'width'"),
        ({"family": {"phi": [1], "lines": {"a": {"width": 2}}}}, "lines: lines list classifiers"),
    ],
)
def test_mistakes(write, sections, text):
    given = {"baseline": "efficientdet_d0", "coefficients": {}, "family": {"phi": [0]}}
    if "grid" in sections:
        del given["coefficients"]
    with pytest.raises(UserError) as told:
        load_study(write(**given | sections))
    assert text in str(told.value)


def test_an_evaluator_of_the_other_task_is_named_before_its_metrics(write, space):
    with pytest.raises(UserError) as told:
        load_study(write(search=SEARCHED, evaluator={"name": "training"}))
    assert "'training' is for classification, and the task is detection" in str(told.value)


@pytest.mark.parametrize(
    ("search", "evaluator", "text"),
    [
        (
            {"stopping": {"rungs": [1, 2], "keep": 0.5}},
            {"epochs": 4, "validate_every": 2},
            "search.stopping.rungs: there is no score at epoch 1 to stop by",
        ),
        (
            {"stopping": {"rungs": [1], "keep": 0.5}},
            {"epochs": 4, "seeds": 2},
            "search.stopping: nothing can be stopped",
        ),
        ({"objective": "apx"}, {}, "search.objective: the evaluator gives no 'apx'"),
        ({"objective": "ap60/7"}, {}, "search.objective: the evaluator gives no 'ap60/7'"),
        ({}, {"freeze": "stage1"}, "evaluator.freeze: weights that were never trained"),
    ],
)
def test_mistakes_that_would_show_hours_later(write, space, search, evaluator, text):
    given = write(search=SEARCHED | search, evaluator=EVALUATOR | evaluator)
    with pytest.raises(UserError) as told:
        load_study(given)
    assert text in str(told.value)


def test_the_ap_of_a_class_can_be_the_objective(write, space):
    study = load_study(write(search=SEARCHED | {"objective": "ap/7"}))
    assert study.objective.metric == "ap/7"


def test_a_stage_that_is_not_there_ends_the_study_before_its_first_trial(write, space, tmp_path):
    weights = tmp_path / "begin.safetensors"
    weights.write_bytes(b"")
    frozen = EVALUATOR | {"freeze": "stage9", "weights": str(weights)}
    with pytest.raises(UserError, match="freeze: the backbone has no stage9"):
        run(write(search=SEARCHED, evaluator=frozen), folder=tmp_path / "run")
    assert all(t.state == "running" for t in open_study(tmp_path / "run").read()["search"])


@pytest.fixture(scope="module")
def done(tmp_path_factory, net):
    """A study with all three phases, on tiny canvases."""
    folder = tmp_path_factory.mktemp("detection")
    plain = to_plain(net)
    plain["backbone"]["resolution"] = 64
    plain["neck"] |= {"kind": ["bifpn", "fpn"]}
    (folder / "space.yaml").write_text(yaml.safe_dump(plain))
    study = NEEDED | {
        "dataset": CANVAS | {"path": str(folder / "canvases"), "test": 8},
        "anchors": "auto",
        "search": SEARCHED,
        "grid": {"neck_width": [1.5, 2.0], "resolution": 32, "alpha": 1.0, "beta": 1.0},
        "family": {"phi": [0, 1]},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return run(folder / "study.yaml", folder=folder / "run")


def test_every_phase_leaves_its_results(done):
    assert isinstance(done.baseline, Detector)
    assert (done.baseline.in_channels, done.baseline.num_classes) == (1, 10)
    assert done.baseline.anchors != Anchors()
    assert isinstance(done.coefficients, DetectorCoefficients)
    assert done.coefficients.neck_width in (1.5, 2.0)
    assert [member.name for member in done.family] == ["compound_phi0", "compound_phi1"]
    assert done.family[1].architecture.resolution == 96
    trials = done.trials
    assert set(trials["phase"]) == {"search", "grid", "family", "test"}
    tests = trials[trials["phase"] == "test"]
    assert list(tests["phi"]) == [0, 1]
    assert tests["ap"].notna().all()
    assert len(json.loads(done.truth.read_text())["images"]) == CANVAS["validation"]
    assert "# test_ap: " in (done.path / "family" / "compound_phi1.yaml").read_text()
    assert {"ap", "ap50", "ap75", "loss"} <= set(trials)
    assert (done.path / "report.html").exists()
    assert "anchors: scale" in (done.path / "log.txt").read_text()


def test_weights_say_what_the_labels_mean(done):
    file = next((done.path / "checkpoints").glob("family-*.safetensors"))
    with safe_open(file, "pt") as opened:
        about = {key: json.loads(value) for key, value in opened.metadata().items()}
    digits = [str(digit) for digit in range(10)]
    assert about == {"classes": digits, "category_ids": list(range(1, 11))}
    assert done.data["category_ids"] == list(range(1, 11))


def test_average_precision_is_what_pycocotools_gives_for_the_result_file(done):
    folder = done.path / "detections"
    trials = done.read()["family"]
    assert len(list(folder.glob("family-*.json"))) == len(trials) == 2
    for trial in trials:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(folder / "truth.json"))
            found = truth.loadRes(str(folder / f"family-{trial.number}.json"))
            by_hand = COCOeval(truth, found, "bbox")
            by_hand.evaluate()
            by_hand.accumulate()
            by_hand.summarize()
        for name, value in zip(("ap", "ap50", "ap75"), by_hand.stats[:3], strict=True):
            assert trial.scores[name] == pytest.approx(value, abs=1e-6)


def test_going_on_with_a_finished_study_changes_nothing(done):
    before = done.read()
    again = run(done.path.parent / "study.yaml", folder=done.path)
    assert again.read() == before == open_study(done.path).read()


def test_strategies_are_the_same_in_settings_family_and_matching():
    assert get_args(DetectorStrategy) == DETECTOR_STRATEGIES
    assert set(_DETECTORS) == set(DETECTOR_STRATEGIES) - {"compound"}
