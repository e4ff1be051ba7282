"""Memory in closed form against the counted run, on the same networks and workloads."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.graph import Op
from scalesearch.arch.published import published
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.arch.walk import walk
from scalesearch.cost import chain, inference, training
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.measured_memory import measure_inference_bytes, measure_training_bytes
from scalesearch.cost.memory import padded
from scalesearch.nn.build import build
from tests.peers import CLASSIFIERS
from tests.strategies import SIZES, backbones

PRECISIONS = ("float32", "bf16", "float16")
# The smallest of each family and block kind, at a resolution that keeps tests quick.
SMALLEST = {
    "efficientnet_b0": 96,
    "efficientnet_lite0": 96,
    "efficientnet_v2_s": 96,
    "mobilenet_v1": 96,
    "mobilenet_v2": 96,
    "resnet18": 96,
    "resnet50": 96,
    "wrn_16_8": 32,
}


def workloads(smallest):
    return st.builds(
        lambda batch, copies, ema, precision: Workload(
            inference_batch=batch,
            training_batch=batch,
            optimizer_copies=copies,
            ema=ema,
            precision=precision,
        ),
        st.integers(smallest, 9),
        st.integers(0, 2),
        st.booleans(),
        st.sampled_from(PRECISIONS),
    )


def counted_steps(model, workload):
    """Bytes of the steps that AdamW counts for each weight, which the closed form leaves out."""
    return 4 * len(list(model.parameters())) if workload.optimizer_copies >= 2 else 0


@given(backbones(), SIZES, workloads(1))
@settings(max_examples=25, deadline=None)
def test_inference_is_exact_on_any_network(net, size, workload):
    measured = measure_inference_bytes(build(net), (1, net.in_channels, *size), workload)
    assert cost(net, size=size, workload=workload).inference_bytes == measured


@given(backbones(), SIZES, workloads(2))
@settings(max_examples=25, deadline=None)
def test_training_is_close_on_any_network(net, size, workload):
    model = build(net)
    measured = measure_training_bytes(model, (1, net.in_channels, *size), workload)
    own = cost(net, size=size, workload=workload).training_bytes + counted_steps(model, workload)
    # Of images of a few pixels autograd may copy gradients, as their layout is ambiguous.
    assert own == pytest.approx(measured, rel=0.03 if min(size) >= 8 else 0.15)


def check_named(name, side, batch, copies, precision):
    """The closed form of a named network, in a batch of that many, is the counted run's."""
    workload = Workload(
        inference_batch=batch, training_batch=batch, optimizer_copies=copies, precision=precision
    )
    net, shape = published(name, resolution=side), (1, 3, side, side)
    model, own = built(net), cost(net, workload=workload)
    assert own.inference_bytes == measure_inference_bytes(model, shape, workload)
    measured = measure_training_bytes(model, shape, workload)
    counted = own.training_bytes + counted_steps(model, workload)
    # Under autocast copies of weights come and go as autograd likes: a few percent at most.
    assert counted == pytest.approx(measured, rel=1e-3 if precision == "float32" else 0.03)


built = lru_cache(maxsize=1)(build)


@pytest.mark.parametrize(("copies", "precision"), [(1, "float32"), (2, "bf16")])
@pytest.mark.parametrize(("name", "side"), SMALLEST.items())
def test_every_family_is_exact(name, side, copies, precision):
    check_named(name, side, 8, copies, precision)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "copies", "precision"),
    [
        (1, 2, "float32"),
        (8, 1, "float32"),
        (32, 2, "float32"),
        (8, 2, "bf16"),
    ],
)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_named_network_is_exact(name, batch, copies, precision):
    check_named(name, published(name).resolution, batch, copies, precision)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["silu", "relu", "relu6", "hardswish"])
@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(("name", "side"), SMALLEST.items())
def test_every_family_in_both_paddings_with_every_activation(name, side, padding, activation):
    workload = Workload(training_batch=4, optimizer_copies=0, ema=True)
    net = published(name, resolution=side, padding=padding, activation=activation, drop_path=0.2)
    measured = measure_training_bytes(build(net), (1, 3, side, side), workload)
    assert cost(net, workload=workload).training_bytes == measured


def test_efficientnet_b0_as_pytorchs_own_tracker_saw_it():
    # torch.distributed._tools.mem_tracker on timm's B0, batch 8 at 224 pixels, torch 2.14:
    # SGD with momentum 722.2 MiB, AdamW 742.4 MiB.
    net = published("efficientnet_b0")
    for copies, mebibytes in [(1, 722.2), (2, 742.4)]:
        workload = Workload(training_batch=8, optimizer_copies=copies)
        assert cost(net, workload=workload).training_bytes / 2**20 == pytest.approx(
            mebibytes, rel=1e-3
        )


# A network of each block kind whose training peaks in its blocks: large maps, few classes. The
# second of each pair of stages has shortcuts, the first ends in something else.
PROBES = {
    block: Backbone(
        stages=(
            Stage(block=block, width=12, stride=2, **({"se": 0.5} if "se" in fields else {})),
            Stage(block=block, width=12, depth=2),
        ),
        stem=Stem(width=8, stride=1, pool=2, norm=block != "wide"),
        head=Head(width=0, dropout=0.2),
        resolution=24,
        num_classes=2,
        drop_path=0.2,
    )
    for block, fields in BLOCK_FIELDS.items()
    if block != "identity"  # saves nothing, and what its backward has alive is no peak here
}


def without(step, index):
    """The same step with one of its numbers left out."""

    def wrong(*args):
        right = list(step(*args))
        right[index] = 0
        return tuple(right)

    return wrong


def inverted(step):
    def wrong(op, setting, kept, *flags):
        return step(op, setting, not kept, *flags)

    return wrong


def mistakes(ops):
    """Every planted mistake that these operations could be counted with: where, and what."""
    layer = training._layer
    yield "an input is not saved", training, "_layer", without(layer, 0)
    yield "a kept input is saved, another is not", training, "_layer", inverted(layer)
    yield "gradients of weights are left out", training, "_layer", without(layer, 3)
    for kind in sorted({op.kind for op in ops} & {"gate", "max_pool"}):
        steps = training._STEPS | {kind: without(training._STEPS[kind], 0)}
        yield f"a {kind} saves nothing", training, "_STEPS", steps


@pytest.fixture(autouse=True)
def _nothing_cached():
    chain.counted.cache_clear()
    yield
    chain.counted.cache_clear()


@pytest.mark.parametrize("block", PROBES)
def test_a_mistake_in_any_block_is_caught(block, monkeypatch):
    net, workload = PROBES[block], Workload(training_batch=4, optimizer_copies=0)
    measured = measure_training_bytes(build(net), (1, 3, 24, 24), workload)
    assert cost(net, workload=workload).training_bytes == measured
    ops = [op for part in walk(net) for op in part.ops]
    for what, module, name, wrong in mistakes(ops):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, wrong)
            chain.counted.cache_clear()
            assert cost(net, workload=workload).training_bytes != measured, what
        chain.counted.cache_clear()


@given(backbones(), st.integers(1, 40), st.sampled_from(PRECISIONS))
@settings(max_examples=50)
def test_memory_grows_with_the_batch(net, batch, precision):
    small, large = (
        cost(net, workload=Workload(inference_batch=n, training_batch=n, precision=precision))
        for n in (batch, batch + 1)
    )
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


def test_padding_by_hand():
    # 7 pixels strided by 3 with kernel 5 are read from 2 * 3 + 5 = 11; 10 pixels from 14; a kernel
    # smaller than its stride leaves pixels out and adds none.
    conv = Op("conv", "", 2, 4, (7, 10), (3, 4), kernel=5, stride=3)
    assert padded(conv) == 2 * 11 * 14
    assert padded(conv._replace(kernel=1)) == 2 * 7 * 10


def test_torch_is_not_needed():
    assert not hasattr(inference, "torch")
    assert not hasattr(training, "torch")
    assert torch is not None
