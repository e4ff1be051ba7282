"""What only a GPU can show: training on it, its precision, its memory, its determinism."""

from __future__ import annotations

import contextlib
import gc
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Deployment, Workload
from scalesearch.cost.latency import measure_latency
from scalesearch.datasets.mnist5k import Dataset
from scalesearch.errors import UserError
from scalesearch.evaluators.detection import Evaluator as DetectionEvaluator
from scalesearch.evaluators.training import Evaluator
from scalesearch.history.jobs import seed_for
from scalesearch.nn.build import build
from scalesearch.training import loop
from scalesearch.training.augment import draw_moves, moved
from scalesearch.training.classify import Classification
from scalesearch.training.detect import Detection, loss_without_objects
from scalesearch.training.device import autocast_dtype, reproducible_cudnn
from scalesearch.training.recipe import DetectionRecipe, Recipe
from scalesearch.view import View
from tests.gpu.memory import cross_entropy, gpu_bytes
from tests.shapes import detector, squares

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]


@pytest.fixture(autouse=True)
def _empty():
    yield
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
    for precision in ("float32", "bf16", "fp16", "auto"):
        options = {"epochs": 8, "batch_size": 32, "precision": precision}
        scores, model = trained(Evaluator(device="cuda", **options), classifier(), data)
        assert scores[-1].values["accuracy"] > 0.5, precision
        assert next(model.parameters()).device.type == "cuda"
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    assert (autocast_dtype("auto", torch.device("cuda")) is torch.bfloat16) == native


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


def test_trainings_are_equal_where_cudnn_is_to_be_reproducible():
    data, ends = Dataset(limit=500).load(0), []
    for _ in range(2):
        with reproducible_cudnn(wanted=True):
            evaluator = Evaluator(device="cuda", epochs=1, batch_size=50)
            _, model = trained(evaluator, classifier(), data)
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


@contextlib.contextmanager
def synchronisation(mode):
    """What torch does about an operation that waits for the GPU: `error`, `warn` or `default`."""
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def steps(task, model, count, mode="default"):
    """The losses of so many steps, whose batches were read ahead as a thread would."""
    side, size = task.architecture.resolution, task.recipe.batch_size
    read = task.reader(0, side)
    orders = [np.arange(size) + start for start in range(count)]
    batches = [*task.batches(loop.TRAIN, read, orders)]
    state = loop.State.begin(model, task)
    task.train_mode(model)
    with task.cuda_math(), synchronisation(mode):
        return [loop._step(state, task, batch).total for batch in batches]


@pytest.mark.parametrize("ema", [None, 0.99])
@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [("adamw", "bf16"), ("sgd", "bf16"), ("rmsprop", "float32"), ("adamw", "fp16")],
)
def test_ten_steps_of_a_classifier_wait_for_nothing(optimizer, precision, ema):
    data, net = Dataset(limit=500).load(0), classifier()
    options = {"optimizer": optimizer, "precision": precision, "ema": ema}
    recipe = Recipe(batch_size=32, device="cuda", **options)

    def task():
        return Classification(architecture=net, data=data, recipe=recipe)

    steps(task(), build(net), 1)  # handles of libraries are made once in a process
    losses = steps(task(), build(net), 10, "error")
    assert torch.stack(losses).isfinite().all()


def test_a_step_of_a_detector_waits_for_its_positives_alone():
    """How many there are in each image, and which, whatever the batch."""
    data, net = squares(train=64, validation=4), detector()
    for size in (4, 32):
        recipe = DetectionRecipe(batch_size=size, device="cuda")
        task = Detection(architecture=net, data=data, recipe=recipe)
        steps(task, build(net), 1)  # its anchors are made once
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            steps(task, build(net), 10, "warn")
        waits = [one for one in caught if "synchronizing" in str(one.message)]
        # Two; a version of torch may look twice for what is not 0.
        assert 0 < len(waits) <= 3 * 10


def test_images_are_moved_on_the_gpu_as_on_the_cpu():
    data, net = replace(Dataset(limit=64).load(0), flip=True), classifier()
    recipe = Recipe(batch_size=16, device="cuda", precision="float32")
    task = Classification(architecture=net, data=data, recipe=recipe)
    order, read = np.arange(16), task.reader(3, net.resolution)
    (batch,) = task.batches(loop.TRAIN, read, [order])
    assert batch.pixels.is_pinned()
    assert batch.labels.is_pinned()
    seen = []
    model = build(net).cuda()
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].cpu()))
    task.loss(model, batch)
    pixels = data.train.batch(order, View(net.resolution))
    moves = draw_moves(order, net.resolution, seed_for(3, "move", 0), shift=True, flip=data.flip)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(seen[0], task.normalised(moved(pixels, moves)).cpu())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
def test_a_step_that_fp16_cannot_take_is_skipped_and_is_no_error(optimizer):
    data, net = Dataset(limit=200).load(0), classifier()
    recipe = Recipe(
        batch_size=16, device="cuda", optimizer=optimizer, precision="fp16", learning_rate=1e-3
    )
    task = Classification(architecture=net, data=data, recipe=recipe)
    model = build(net)
    state = loop.State.begin(model, task)
    state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 2.0**120})
    before = [p.detach().clone() for p in model.parameters()]
    task.train_mode(model)
    batch = task.reader(0, net.resolution)(data.train, np.arange(16))
    loss = loop._step(state, task, batch)
    assert loss.total.isfinite()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert state.scaler.get_scale() == 2.0**119
    state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 2.0**8})
    loop._step(state, task, batch)
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.isfinite().all() for p in model.parameters())
    # Momentum began at 0: nothing has moved by more than a step of this rate could move it.
    pairs = zip(before, model.parameters(), strict=True)
    far = max(float((old - new.detach()).abs().max()) for old, new in pairs)
    assert far < 0.1


def test_cudas_settings_are_those_of_the_recipe_while_it_trains():
    data, net, seen = Dataset(limit=64).load(0), classifier(), []
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn

    def settings(*_):
        seen.append((matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark))

    settings()
    before = seen[0]
    for options in ({}, {"tf32": True}, {"cudnn_benchmark": True}):
        model, evaluator = build(net), Evaluator(device="cuda", epochs=1, batch_size=16, **options)
        model.register_forward_pre_hook(settings)
        seen.clear()
        list(evaluator.evaluate(model, net, data, 0))
        tf32, benchmark = "tf32" in options, "cudnn_benchmark" in options
        assert set(seen) == {(tf32, tf32, benchmark)}
        settings()
        assert seen[-1] == before


def test_a_deterministic_worker_refuses_to_time_algorithms():
    evaluator = Evaluator(device="cuda", epochs=1, cudnn_benchmark=True)
    with (
        reproducible_cudnn(wanted=True),
        pytest.raises(UserError, match="may differ from run to run"),
    ):
        trained(evaluator, classifier(), Dataset(limit=64).load(0))


def test_a_network_that_runs_out_of_memory_leaves_none_behind():
    """The next one trains, in the same process."""
    data, net = Dataset(limit=500).load(0), classifier()
    evaluator = Evaluator(device="cuda", epochs=1, batch_size=32, ema=0.9)
    trained(evaluator, net, data)  # workspaces of libraries are allocated once
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((before + 256 * 2**20) / total)
    large = Evaluator(device="cuda", epochs=1, batch_size=400)
    wide = published("efficientnet_b0", resolution=64, in_channels=1, num_classes=10)
    try:
        ran_out = False
        try:
            trained(large, wide, data)
        except torch.OutOfMemoryError:
            ran_out = True
        assert ran_out
        gc.collect()
        torch.cuda.empty_cache()
        assert (
            torch.cuda.memory_allocated() <= before + 8 * 2**20
        )  # the weights alone take twice that
        scores, _ = trained(evaluator, net, data)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 0 < scores[-1].values["accuracy"] <= 1


def test_latency_is_measured_by_the_queue_of_the_gpu():
    model = build(published("efficientnet_b0"))
    one, many = (
        measure_latency(model, (3, 224, 224), Deployment(device="cuda", batch=batch), seconds=0.5)
        for batch in (1, 64)
    )
    assert 1e-4 < one.median < many.median < 1
