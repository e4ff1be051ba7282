"""The evaluator of detectors: what it yields, refuses, counts memory for, and reads from YAML."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from scalesearch import plugins
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.datasets.mnist_canvas import Dataset as Canvases
from scalesearch.errors import UserError
from scalesearch.evaluators.detection import Evaluator
from scalesearch.nn.build import build
from scalesearch.training.average_precision import truth_of
from tests.shapes import detector, squares
from tests.training.test_average_precision import NAMES, by_hand


def test_scores_come_epoch_by_epoch():
    net = detector()
    torch.manual_seed(0)
    model = build(net)
    evaluator = Evaluator(epochs=2, batch_size=16, device="cpu")
    scores = list(evaluator.evaluate(model, net, squares(32, 8), 0))
    assert [score.step for score in scores] == [1, 2]
    assert {"ap", "ap50", "ap75", "ap/full", "ap/hollow", "loss"} <= set(scores[-1].values)
    assert not model.training


def test_test_scores_are_those_of_the_kept_weights():
    """On the validation images they are the last scores of the training, to the last digit."""
    net, data = detector(), squares(32, 8)
    torch.manual_seed(0)
    model, evaluator = build(net), Evaluator(epochs=2, batch_size=16, device="cpu")
    *_, last = evaluator.evaluate(model, net, data, 0)
    again = build(net)
    again.load_state_dict(model.state_dict())
    scores = evaluator.score(again, net, replace(data, test=data.validation))
    assert scores == {name: last.values[name] for name in scores}
    assert {"ap", "ap50", "ap50_voc"} <= set(scores)


def same_by_hand(folder, annotations, score):
    """Whether pycocotools gives a score's numbers for the file that the score has with it."""
    results = folder / "results.json"
    results.write_bytes(score.detections_json)
    wanted = by_hand(annotations, results)
    ours = {key: value for key, value in score.values.items() if key.partition("/")[0] in NAMES}
    assert ours == pytest.approx(wanted, abs=1e-6)
    return wanted


def test_what_was_found_is_worth_what_pycocotools_says(tmp_path):
    net, data = detector(), replace(squares(96, 24), category_ids=(3, 40))
    torch.manual_seed(0)
    evaluator = Evaluator(epochs=4, batch_size=8, validate_every=2, device="cpu")
    first, last = evaluator.evaluate(build(net), net, data, 0)
    assert first.detections_json is None
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(truth_of(data.validation, data.classes, data.category_ids)))
    assert same_by_hand(tmp_path, truth, last)["ap"] > 0.1
    assert {row["category_id"] for row in json.loads(last.detections_json)} == {3, 40}


def test_what_was_found_on_canvases_is_worth_what_pycocotools_says(tmp_path):
    options = {"train": 48, "validation": 16, "side": 32, "digits": 1, "smallest": 20}
    data = Canvases(**options, largest=32, path=tmp_path).load(0)
    net = detector(num_classes=10)
    torch.manual_seed(0)
    evaluator = Evaluator(epochs=6, batch_size=8, validate_every=6, device="cpu")
    (score,) = evaluator.evaluate(build(net), net, data, 0)
    annotations = next(tmp_path.glob("*/validation.json"))
    assert same_by_hand(tmp_path, annotations, score)["ap"] > 0.01


@pytest.mark.parametrize(
    ("fields", "key", "text"),
    [
        ({"num_classes": 5}, "num_classes", "the network has 5, the data set 2"),
        (
            {"backbone": replace(detector().backbone, in_channels=3)},
            "in_channels",
            "the network has 3, the data set 1",
        ),
    ],
)
def test_a_detector_for_other_images_is_named(fields, key, text):
    net = detector(**fields)
    with pytest.raises(UserError, match=text) as told:
        next(Evaluator().evaluate(build(net), net, squares(), 0))
    assert told.value.key == key


def test_a_classifier_is_not_scored():
    net = published("efficientnet_b0", resolution=32)
    with pytest.raises(UserError) as told:
        next(Evaluator().evaluate(torch.nn.Identity(), net, squares(), 0))
    assert str(told.value) == (
        "evaluator: detection needs a detector and a data set of objects\n"
        "  classifiers are scored by the evaluator `training`"
    )


@pytest.mark.parametrize(
    ("options", "copies", "ema"),
    [({}, 2, False), ({"optimizer": "sgd", "ema": 0.99}, 1, True)],
)
def test_workload_counts_what_the_optimizer_and_the_average_keep(options, copies, ema):
    wanted = Workload(training_batch=12, optimizer_copies=copies, ema=ema)
    assert Evaluator(batch_size=12, **options).workload == wanted


def test_memory_is_counted_in_the_precision_that_is_trained():
    """What bf16 halves are the activations: a limit must not be judged by those of float32."""
    low, full = Evaluator(precision="bf16").workload, Evaluator(precision="float32").workload
    assert (low.precision, full.precision) == ("bf16", "float32")
    assert Evaluator().workload == full  # which precision `auto` takes only a worker can tell
    net = published("efficientdet_d0")
    share = cost(net, workload=low).training_bytes / cost(net, workload=full).training_bytes
    assert 0.5 < share < 0.7


def test_is_the_plug_in_of_that_name_with_options_read_from_yaml():
    kind = plugins.load("evaluators", "detection")
    assert kind is Evaluator
    read = TypeAdapter(kind).validate_python({"epochs": 2, "jitter": [0.1, 2.0], "ema": 0.999})
    assert (read.epochs, read.jitter, read.ema) == (2, (0.1, 2.0), 0.999)
    with pytest.raises(ValidationError, match="'adamw' or 'sgd'"):
        TypeAdapter(kind).validate_python({"optimizer": "rmsprop"})


def test_reading_a_study_does_not_wait_for_torch():
    code = "import sys, scalesearch.evaluators.detection; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
