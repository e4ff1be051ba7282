"""Memory in closed form against the counted run, on the same networks and workloads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.measured import measure_inference_bytes, measure_training_bytes
from scalesearch.cost.memory import Setting, held_by
from scalesearch.nn.build import build
from tests.strategies import SIZES, backbones

# Optimizers keep a few scalars for each weight; they show only where all else is tiny.
SCALARS = 1024


def workloads(smallest):
    return st.builds(
        lambda batch, copies, ema: Workload(
            inference_batch=batch, training_batch=batch, optimizer_copies=copies, ema=ema
        ),
        st.integers(smallest, 9),
        st.integers(0, 2),
        st.booleans(),
    )


@given(backbones(), SIZES, workloads(1))
@settings(max_examples=25)
def test_inference_is_exact_on_any_network(net, size, workload):
    torch.manual_seed(0)
    measured = measure_inference_bytes(build(net), (1, net.in_channels, *size), workload)
    assert cost(net, size=size, workload=workload).inference_bytes == measured


@given(backbones(), SIZES, workloads(2))
@settings(max_examples=15)
def test_training_is_within_three_percent_on_any_network(net, size, workload):
    torch.manual_seed(0)
    measured = measure_training_bytes(build(net), (1, net.in_channels, *size), workload)
    own = cost(net, size=size, workload=workload).training_bytes
    assert own == pytest.approx(measured, rel=0.03, abs=SCALARS)


# batch, resolution, optimizer copies, moving average: where activations decide, where parameters
# do, and where a weight's update does.
SETTINGS = [(8, 224, 1, False), (2, 32, 2, True)]


@pytest.mark.parametrize(("batch", "side", "copies", "ema"), SETTINGS)
def test_efficientnet_b0_under_several_workloads(batch, side, copies, ema):
    torch.manual_seed(0)
    workload = Workload(
        inference_batch=batch, training_batch=batch, optimizer_copies=copies, ema=ema
    )
    net, shape = published("efficientnet_b0", resolution=side), (1, 3, side, side)
    model, own = build(net), cost(net, workload=workload)
    assert own.inference_bytes == measure_inference_bytes(model, shape, workload)
    measured = measure_training_bytes(model, shape, workload)
    assert own.training_bytes == pytest.approx(measured, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["silu", "relu"])
@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(
    ("batch", "side", "copies", "ema"),
    [
        *SETTINGS,
        (1, 64, 0, False),
        (1, 224, 1, False),
        (4, 128, 2, False),
        (16, 32, 1, False),
        (32, 96, 0, True),
        (32, 224, 2, False),
    ],
)
def test_efficientnet_b0_under_every_workload(batch, side, copies, ema, padding, activation):
    torch.manual_seed(0)
    workload = Workload(training_batch=batch, optimizer_copies=copies, ema=ema)
    net = published("efficientnet_b0", resolution=side, padding=padding, activation=activation)
    measured = measure_training_bytes(build(net), (1, 3, side, side), workload)
    assert cost(net, workload=workload).training_bytes == pytest.approx(measured, rel=0.005)


def test_efficientnet_b0_as_pytorchs_own_tracker_saw_it():
    # torch.distributed._tools.mem_tracker on timm's B0, batch 8 at 224 pixels, torch 2.14:
    # SGD with momentum 722.2 MiB, AdamW 742.4 MiB.
    net = published("efficientnet_b0")
    for copies, mebibytes in [(1, 722.2), (2, 742.4)]:
        workload = Workload(training_batch=8, optimizer_copies=copies)
        assert cost(net, workload=workload).training_bytes / 2**20 == pytest.approx(
            mebibytes, rel=1e-3
        )


def test_a_block_by_hand():
    # A stem of 2 channels on 3 x 8 x 8 with batch 5, SiLU. Forward without gradients holds the
    # convolution's output and the norm's: 2 * 2 * 16. Autograd saves both, and two statistics of
    # each channel, but not the image, which the caller holds. SiLU's backward has the two saved
    # and two gradients of that size alive, and no gradient of a weight yet (2 * 27 + 4 to come,
    # so that the norm's and the convolution's count as negative).
    net = Backbone(stages=(Stage(width=2),), stem=Stem(width=2), resolution=8)
    stem = next(iter(walk(net)))
    out = 2 * 4 * 4
    assert held_by(stem.ops, Setting(5, first=True)) == (
        2 * out,
        5 * 2 * out + 4,
        5 * 4 * out + 4 - (2 * 27 + 4),
    )


def test_a_moving_average_and_momentum_cost_their_copies():
    net = Backbone(stages=(Stage(width=4),), stem=Stem(width=4), head=Head(width=8), resolution=16)

    def training(**fields):
        return cost(net, workload=Workload(training_batch=8, **fields)).training_bytes

    params, norms = cost(net).params, 4  # stem, depthwise, project, head: 4, 4, 4 and 8 channels
    buffers = 4 * 2 * (4 + 4 + 4 + 8) + 8 * norms
    assert training(optimizer_copies=1) - training(optimizer_copies=0) == 4 * params
    assert training(ema=True) - training() == 4 * params + buffers


@given(backbones(), st.integers(1, 40))
@settings(max_examples=50)
def test_memory_grows_with_the_batch(net, batch):
    small = cost(net, workload=Workload(inference_batch=batch, training_batch=batch))
    large = cost(net, workload=Workload(inference_batch=batch + 1, training_batch=batch + 1))
    assert small.inference_bytes < large.inference_bytes
    assert small.training_bytes < large.training_bytes
    assert small.counts() == large.counts()


@given(backbones())
@settings(max_examples=50)
def test_same_padding_never_takes_less(net):
    same, symmetric = (cost(replace(net, padding=word)) for word in ("same", "symmetric"))
    assert same.training_bytes >= symmetric.training_bytes
    assert same.inference_bytes >= symmetric.inference_bytes
    assert same.counts() == symmetric.counts()
