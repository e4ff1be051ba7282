"""The evaluator of detectors: what it yields, refuses, counts memory for, and reads from YAML."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from scalesearch import plugins
from scalesearch.arch.published import published
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.evaluators.detection import Evaluator
from scalesearch.nn.build import build
from tests.shapes import detector, squares


def test_scores_come_epoch_by_epoch():
    net = detector()
    torch.manual_seed(0)
    model = build(net)
    evaluator = Evaluator(epochs=2, batch_size=16, device="cpu")
    scores = list(evaluator.evaluate(model, net, squares(32, 8), 0))
    assert [score.step for score in scores] == [1, 2]
    assert {"ap", "ap50", "ap75", "ap/full", "ap/hollow", "loss"} <= set(scores[-1].values)
    assert not model.training


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
