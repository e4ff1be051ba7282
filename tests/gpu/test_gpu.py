"""What only a GPU can show: training on it, its precision, its memory, its determinism."""

from __future__ import annotations

import pytest
import torch

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Deployment, Workload
from scalesearch.cost.latency import measure_latency
from scalesearch.datasets.mnist5k import Dataset
from scalesearch.evaluators.detection import Evaluator as DetectionEvaluator
from scalesearch.evaluators.training import Evaluator
from scalesearch.nn.build import build
from scalesearch.training.detect import loss_without_objects
from scalesearch.training.device import prepare_worker, uses_bf16
from tests.gpu.memory import cross_entropy, gpu_bytes
from tests.shapes import detector, squares

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]


@pytest.fixture(autouse=True)
def _empty():
    before = torch.backends.cudnn.deterministic
    yield
    torch.backends.cudnn.deterministic = before
    torch.cuda.empty_cache()


def classifier():
    stages = (Stage(width=16, stride=2, expand=3), Stage(width=24, depth=2, stride=2, expand=3))
    return Backbone(
        stem=Stem(width=16, stride=1),
        stages=stages,
        head=Head(width=64),
        resolution=28,
        in_channels=1,
        num_classes=10,
    )


def trained(evaluator, net, data):
    torch.manual_seed(0)
    model = build(net)
    return list(evaluator.evaluate(model, net, data, 3)), model


def test_a_classifier_learns_on_the_gpu_in_every_precision():
    data = Dataset(limit=2000).load(0)
    for precision in ("float32", "bf16", "auto"):
        options = {"epochs": 8, "batch_size": 32, "precision": precision}
        scores, model = trained(Evaluator(device="cuda", **options), classifier(), data)
        assert scores[-1].values["accuracy"] > 0.5, precision
        assert next(model.parameters()).device.type == "cuda"
    assert uses_bf16("auto", torch.device("cuda"))


def test_a_detector_learns_on_the_gpu_and_its_steps_are_timed():
    evaluator = DetectionEvaluator(device="cuda", epochs=6, batch_size=8, timed=True)
    scores, _ = trained(evaluator, detector(), squares(train=192, validation=32))
    last = scores[-1].values
    assert last["ap50"] > 0.5
    assert 0 < last["step_seconds"] < 1
    assert scores[-1].detections_json


def test_the_loss_of_the_gpu_is_that_of_the_cpu_at_first():
    """One step from the same weights: the same images, the same loss but for rounding."""
    data, net = squares(train=8, validation=4), detector()
    options = {"epochs": 1, "batch_size": 8, "precision": "float32"}
    losses = [
        trained(DetectionEvaluator(device=device, **options), net, data)[0][0].values["loss"]
        for device in ("cpu", "cuda")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_cudnn_is_deterministic_where_the_worker_was_prepared_so():
    data, ends = Dataset(limit=500).load(0), []
    for _ in range(2):
        prepare_worker(2, deterministic=True)
        _, model = trained(Evaluator(device="cuda", epochs=1, batch_size=50), classifier(), data)
        assert torch.backends.cudnn.deterministic
        ends.append([p.detach().cpu() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(
    ("name", "side", "batch", "loss"),
    [
        ("efficientnet_b0", 224, 64, cross_entropy),
        ("resnet50", 224, 64, cross_entropy),
        ("efficientdet_d0", 512, 16, loss_without_objects),
    ],
)
def test_the_closed_form_is_what_the_allocator_counts(name, side, batch, loss, precision):
    """But for workspaces of cuDNN: up to a tenth of a step of this size."""
    net = published(name, resolution=side)
    workload = Workload(training_batch=batch, optimizer_copies=1, precision=precision)
    measured = gpu_bytes(build(net), (1, 3, side, side), workload, loss)
    own = cost(net, workload=workload).training_bytes
    assert own == pytest.approx(measured, rel=0.1)


def test_latency_is_measured_by_the_queue_of_the_gpu():
    model = build(published("efficientnet_b0"))
    one, many = (
        measure_latency(model, (3, 224, 224), Deployment(device="cuda", batch=batch), seconds=0.5)
        for batch in (1, 64)
    )
    assert 1e-4 < one.median < many.median < 1
