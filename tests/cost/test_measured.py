"""Measuring a built model, any model: fvcore's numbers, memory by hand, nothing touched."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from torch import nn

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.cost.cost import Workload
from scalesearch.cost.measured import (
    measure,
    measure_counts,
    measure_inference_bytes,
    measure_training_bytes,
)
from scalesearch.errors import UserError
from scalesearch.nn.build import build

SHAPE = (1, 3, 32, 32)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def small():
    net = Backbone(
        stages=(Stage(width=8, depth=2, stride=2, expand=2, se=0.25),),
        stem=Stem(width=8),
        head=Head(width=16, dropout=0.1),
        num_classes=7,
        resolution=32,
        drop_path=0.2,
    )
    return build(net)


def two_layers():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    )


@pytest.mark.parametrize("make", [small, torchvision.models.resnet18])
def test_counts_are_fvcores_own(make):
    model = make().eval()
    images = torch.zeros(SHAPE)
    flops = FlopCountAnalysis(model, images)
    flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    activations = ActivationCountAnalysis(model, images)
    activations.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = flops.by_operator()
    counted = measure_counts(model, SHAPE)
    assert counted["flops"] == by_operator["conv"] + by_operator["linear"]
    assert counted["flops_total"] == flops.total()
    assert counted["activations"] == activations.total()
    assert counted["params"] == sum(p.numel() for p in model.parameters())


def test_resnet18_at_224_is_the_published_count():
    # torchvision's documentation of ResNet18_Weights: 11,689,512 parameters, 1.81 GFLOPS.
    counted = measure_counts(torchvision.models.resnet18(), (1, 3, 224, 224))
    assert counted["params"] == 11_689_512
    assert counted["flops"] / 1e9 == pytest.approx(1.81, abs=0.01)


def test_counts_by_hand():
    counted = measure_counts(two_layers(), (1, 1, 4, 4))
    assert counted["flops"] == 2 * 9 * 16 + 32 * 3
    assert counted["params"] == 2 * 9 + 32 * 3 + 3
    assert counted["activations"] == 2 * 16 + 3


def test_inference_memory_by_hand():
    # Weights 18 + 99, images 2 * 16; at its height the convolution's output and the ReLU's,
    # 2 * 32 each.
    bytes_ = measure_inference_bytes(two_layers(), (1, 1, 4, 4), Workload(inference_batch=2))
    assert bytes_ == 4 * (18 + 99 + 2 * 16 + 2 * 64)


@pytest.mark.parametrize(("copies", "extra"), [(0, 0), (1, 18 + 99)])
def test_training_memory_by_hand(copies, extra):
    # At its height, in the backward of the ReLU: its saved output, the gradients of its output
    # and of its input (64 each), the linear layer's gradients (99), the loss and its gradient (1
    # each); and all along weights, images and the optimizer's momentum.
    workload = Workload(training_batch=2, optimizer_copies=copies)
    bytes_ = measure_training_bytes(two_layers(), (1, 1, 4, 4), workload)
    assert bytes_ == 4 * (18 + 99 + 2 * 16 + 3 * 64 + 99 + 2 + extra)


def test_a_moving_average_of_all_weights_and_buffers_by_hand():
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Flatten())
    plain = measure_training_bytes(model, (1, 1, 2, 2), Workload(training_batch=4))
    averaged = measure_training_bytes(model, (1, 1, 2, 2), Workload(training_batch=4, ema=True))
    assert averaged - plain == 4 * (2 + 2 + 2) + 4 * (2 + 2) + 8


@pytest.mark.slow
def test_training_memory_is_what_pytorchs_tracker_sees():
    tracker = pytest.importorskip("torch.distributed._tools.mem_tracker")
    model, images = small().train(), torch.zeros(16, 3, 32, 32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=False)
    labels = torch.zeros(16, dtype=torch.int64)

    def step():
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    memory = tracker.MemTracker()
    memory.track_external(model, optimizer, images)
    with memory:
        step()
    seen = memory.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    measured = measure_training_bytes(model, SHAPE, Workload(training_batch=16))
    assert measured == pytest.approx(seen, rel=0.01)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    model = small().train(training)
    model.head.norm.eval()  # a mode of its own
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    draws = torch.get_rng_state()
    measure(model, SHAPE, Workload(training_batch=4))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(draws, torch.get_rng_state())
    model(torch.zeros(2, *SHAPE[1:]))  # and still runs


def test_modes_come_back_even_when_the_model_fails():
    model = small().train()
    with pytest.raises(UserError, match="channels"):
        measure_counts(model, (1, 5, 32, 32))
    assert all(module.training for module in model.modules())


def test_two_images_count_twice():
    one, two = measure_counts(small(), SHAPE), measure_counts(small(), (2, *SHAPE[1:]))
    assert two["flops_total"] == 2 * one["flops_total"]
    assert two["params"] == one["params"]


def test_a_model_without_parameters_costs_no_flops():
    counted = measure_counts(nn.Flatten(), SHAPE)
    assert counted == {"flops": 0, "flops_total": 0, "params": 0, "activations": 0}


def test_resnet18_is_measured_whole():
    spent = measure(torchvision.models.resnet18(), SHAPE, Workload(training_batch=4))
    weights = 4 * spent.params
    assert spent.inference_bytes > weights
    assert spent.training_bytes > 3 * weights  # weights, gradients, momentum
