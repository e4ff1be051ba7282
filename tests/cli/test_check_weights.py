"""What `check` and `run` say of the weights that a detector begins with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import yaml

from scalesearch.files.architecture import save_architecture
from scalesearch.nn.build import build
from scalesearch.study.run import run
from tests.shapes import detector

CANVAS = {"name": "mnist_canvas", "train": 24, "validation": 12, "side": 64, "largest": 40}


def begun(tmp_path, weights):
    """A study of one network that begins with these weights."""
    torch.save(weights, tmp_path / "w.pth.tar")
    save_architecture(tmp_path / "net.yaml", detector())
    study = {
        "name": "begun",
        "task": "detection",
        "dataset": CANVAS,
        "baseline": "net.yaml",
        "coefficients": {"resolution": 32},
        "family": {"phi": [0]},
        "evaluator": {"name": "detection", "epochs": 1, "batch_size": 8, "weights": "w.pth.tar"},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    return tmp_path / "study.yaml"


def test_weights_of_a_classifier_are_told_before_the_first_trial(scalesearch, tmp_path):
    """As its trainer saved it, for images in colour; the data set is grey."""
    classifier = build(replace(detector().backbone, in_channels=3)).state_dict()
    raw = {"state_dict": {f"model.{name}": value for name, value in classifier.items()}}
    file = begun(tmp_path, raw | {"epoch": 3})
    checked = scalesearch("check", file)
    assert checked.code == 0
    (said,) = [line for line in checked.out.splitlines() if "w.pth.tar" in line]
    assert "weights are taken; new are the neck, class head, box head" in said
    assert said.endswith("the first convolution is summed over three channels, for grey images")
    run(file, folder=tmp_path / "run")
    log = (tmp_path / "run" / "log.txt").read_text()
    note = said.removeprefix("note").strip()
    assert note in log
    assert log.index(note) < log.index("trial 0 step 1")
    assert "trial 0 assessed" in log


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (timm.create_model("resnet18").state_dict(), "nothing in "),
        ({f"layer{i}": torch.zeros(2) for i in range(5000)}, "nothing in "),
        ({"model": torch.nn.Linear(1, 1)}, "pickled torch.nn.modules.linear.Linear"),
        ({"epoch": 3}, "'epoch' is not a tensor"),
    ],
)
def test_check_refuses_weights_that_run_would_refuse(content, said, scalesearch, tmp_path):
    file = begun(tmp_path, content)
    for command in (["check", file], ["run", file, "--folder", tmp_path / "run"]):
        done = scalesearch(*command)
        assert done.code == 2
        assert said in done.err
        assert "evaluator.weights: " in done.err
        assert "w.pth.tar" in done.err
        assert len(done.err) < 1000
