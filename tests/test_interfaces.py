"""A stranger's plug-in of each kind, with nothing but what its contract requires."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import optuna
import pytest
import torch

from scalesearch.arch.backbone import Backbone, Stem
from scalesearch.arch.detector import Detector
from scalesearch.arch.neck import Neck
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.executors.serial import Executor as Serial
from scalesearch.exporters import export
from scalesearch.history.jobs import Failure, Job, Result, Score
from scalesearch.interfaces import BoxData, ImageData, Targets
from scalesearch.nn.build import build
from scalesearch.study import run as running
from scalesearch.study.run import run
from scalesearch.training.average_precision import truth_of
from scalesearch.view import View
from tests.fakes import write_study

HERE = "tests.test_interfaces"


@dataclass(frozen=True)
class Sampler:
    def make(self, space, seed, limits, workload):
        return optuna.samplers.RandomSampler(seed=seed)


class Images:
    labels = np.arange(12) % 3

    def __len__(self):
        return 12

    def batch(self, indices, view):
        return torch.zeros(len(indices), 1, view.size, view.size, dtype=torch.uint8)


@dataclass(frozen=True)
class Dataset:
    def load(self, seed):
        return ImageData(
            train=Images(),
            validation=Images(),
            classes=("a", "b", "c"),
            channels=1,
            mean=(0.5,),
            std=(0.5,),
            flip=False,
        )


@dataclass(frozen=True)
class Evaluator:
    workload = Workload(training_batch=2)

    def evaluate(self, model, architecture, data, seed):
        images = data.validation.batch(np.arange(2), View(architecture.resolution))
        logits = model(images.float())
        assert logits.shape == (2, len(data.classes))
        yield Score(1, {"accuracy": architecture.depth / 10})


@dataclass(frozen=True)
class Executor:
    slots = 1
    threads = 1

    def connect(self):
        return nullcontext()

    def run(self, ask, assess, keep, tell):
        while (job := ask()) is not None:
            steps = assess(job)
            try:
                while True:
                    assert keep(job, next(steps))
            except StopIteration as end:
                tell(job, end.value)


@dataclass(frozen=True)
class Exporter:
    suffix = ".txt"

    def export(self, architecture, path, weights, about):
        path.write_text(f"{architecture.depth} blocks, {len(weights or {})} weights")
        return [path]


@dataclass(frozen=True)
class FusionTable:
    def nodes(self, levels):
        from scalesearch.arch.neck import Node

        return tuple(Node(level, (number,)) for number, level in enumerate(levels))


def test_a_study_of_strangers_plug_ins_runs_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: [])  # takes longer than all the rest
    file = write_study(
        tmp_path,
        dataset=f"{HERE}:Dataset",
        evaluator=f"{HERE}:Evaluator",
        execution={"executor": f"{HERE}:Executor"},
        search={
            "space": "space.yaml",
            "sampler": f"{HERE}:Sampler",
            "trials": 3,
            "limits": {"flops": {"max": "30k"}},
        },
        export=[f"{HERE}:Exporter"],
    )
    folder = run(file, folder=tmp_path / "run")
    assert set(folder.trials["state"]) <= {"assessed", "infeasible", "reused"}
    written = sorted((folder.path / "export").glob("*.txt"))
    assert written
    assert all(path.read_text().endswith("weights") for path in written)


def test_a_strangers_exporter_writes_any_network(tmp_path):
    net = Backbone(stages=(Stage(width=4),))
    assert export(net, tmp_path / "net.txt", f"{HERE}:Exporter") == [tmp_path / "net.txt"]
    assert (tmp_path / "net.txt").read_text() == "1 blocks, 0 weights"


def test_a_strangers_neck_is_described_costed_and_built():
    stages = (Stage(width=4, stride=2), Stage(width=8, stride=2))
    net = Detector(
        backbone=Backbone(stem=Stem(width=4), stages=stages, resolution=32),
        neck=Neck(kind=f"{HERE}:FusionTable", width=8, depth=1, min_level=2, max_level=3),
    )
    model = build(net)
    assert cost(net).params == sum(p.numel() for p in model.parameters())
    logits, deltas = model(torch.zeros(1, 3, 32, 32))
    assert logits.shape[:2] == deltas.shape[:2] == (1, (64 + 16) * net.anchors.count)


@pytest.mark.parametrize("fails", [False, True])
def test_an_executor_runs_what_can_only_be_called(fails):
    """`Assess` without `prepare`."""

    def assess(job):
        yield Score(1, {"accuracy": 0.5})
        if fails:
            raise RuntimeError("broken")
        return Result({"accuracy": 0.5}, cost(job.architecture), seconds=0.1)

    jobs = [Job("search", 0, Backbone(stages=(Stage(width=4),)), seed=0)]
    outcomes = []
    Serial().run(
        lambda: jobs.pop() if jobs else None,
        assess,
        lambda job, score: True,
        lambda job, outcome: outcomes.append(outcome),
    )
    assert [type(outcome) for outcome in outcomes] == [Failure if fails else Result]


class Pictures:
    """Box images without `paths`."""

    ids = (7,)

    def __len__(self):
        return 1

    def image(self, index):
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    def targets(self, index):
        box = np.array([[1, 1, 5, 4]], np.float32)
        return Targets(box, np.array([0]), np.array([False]), np.array([12.0]))

    def size(self, index):
        return (8, 8)


def test_box_images_without_files_are_evaluated():
    data = BoxData(
        train=Pictures(),
        validation=Pictures(),
        classes=("a",),
        category_ids=(1,),
        channels=3,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        flip=False,
    )
    truth = truth_of(data.validation, data.classes, data.category_ids)
    assert truth["images"] == [{"id": 7, "height": 8, "width": 8}]
    assert truth["annotations"][0]["bbox"] == [1, 1, 4, 3]
