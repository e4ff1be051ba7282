"""Detectors in closed form: rows add up, and memory is the counted run's.

That counts are fvcore's is shown with the walk.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.backbone import Backbone, Stem
from scalesearch.arch.detector import Detector, Heads
from scalesearch.arch.neck import FUSIONS, Neck
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost, stage_cost
from scalesearch.cost.composition import block_cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.measured_memory import measure_inference_bytes, measure_training_bytes
from scalesearch.cost.memory import FOOTPRINTS
from scalesearch.nn.build import build
from scalesearch.report.by_stage import ADDITIVE, by_stage
from scalesearch.training.detect import loss_without_objects
from tests.detectors import KINDS, detectors

SMALL = Detector(
    backbone=Backbone(
        stem=Stem(width=8),
        stages=(
            Stage(block="mbconv", width=16, stride=2, expand=2),
            Stage(block="basic", width=24, stride=2, depth=2),
            Stage(block="mbconv", width=40, stride=2, expand=4, se=0.25),
        ),
        resolution=64,
    ),
    neck=Neck(width=32, depth=2),
    heads=Heads(depth=1),
    num_classes=5,
)
ONE = Workload(inference_batch=8, training_batch=1, optimizer_copies=2, ema=True)
EIGHT = Workload(inference_batch=1, training_batch=8, optimizer_copies=0)


def check_memory(net, size, workload, inference=0.01, training=0.03, few=1000):
    """Both are the counted run's within these shares, and a few bytes of scalars and vectors."""
    model, shape = build(net), (1, net.in_channels, *size)
    own = cost(net, size=size, workload=workload)
    measured = measure_inference_bytes(model, shape, workload)
    assert own.inference_bytes == pytest.approx(measured, rel=inference, abs=few)
    measured = measure_training_bytes(model, shape, workload, loss_without_objects)
    # AdamW counts the steps of each weight.
    steps = 4 * len(list(model.parameters())) if workload.optimizer_copies >= 2 else 0
    assert own.training_bytes + steps == pytest.approx(measured, rel=training, abs=few)


@given(detectors())
def test_rows_add_up_to_the_whole(net):
    rows = list(by_stage(net))
    assert [row.name for row in rows][-3:] == ["neck", "class_head", "box_head"]
    spent = cost(net).counts()
    assert {key: sum(row.costs[key] for row in rows) for key in ADDITIVE} == spent


def test_rows_say_what_neck_and_heads_are():
    neck, classes, boxes = list(by_stage(published("efficientdet_d0"), (512, 640)))[-3:]
    assert (neck.block, neck.depth, neck.width) == ("bifpn fast p3 to p7", 3, 64)
    assert neck.size == classes.size == boxes.size == (64, 80)
    assert (classes.block, classes.depth) == ("separable k3, 9 anchors", 3)
    # 810 and 36 outputs of the last convolution are all that differs.
    assert classes.costs["params"] - boxes.costs["params"] == (810 - 36) * (64 + 1)


@pytest.mark.parametrize(("kind", "fusion"), list(zip(KINDS, [*FUSIONS, "fast"], strict=True)))
def test_memory_of_every_neck(kind, fusion):
    check_memory(
        replace(SMALL, neck=replace(SMALL.neck, kind=kind, fusion=fusion)), (64, 64), EIGHT
    )


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_every_neck_and_fusion_with_one_image(kind, fusion):
    net = replace(SMALL, neck=replace(SMALL.neck, kind=kind, fusion=fusion))
    check_memory(net, (160, 192), replace(ONE, optimizer_copies=1))


@pytest.mark.parametrize(
    ("activation", "padding", "norm"),
    [
        ("silu", "same", "group"),
        ("relu", "symmetric", "batch"),
        ("relu6", "same", "batch"),
        ("hardswish", "symmetric", "group"),
    ],
)
def test_memory_with_every_activation_padding_and_norm(activation, padding, norm):
    backbone = replace(SMALL.backbone, padding=padding, activation=activation, drop_path=0.2)
    net = replace(SMALL, backbone=backbone, activation=activation, norm=norm, norm_bias=True)
    check_memory(net, (75, 100), Workload(training_batch=3))


@pytest.mark.parametrize(("width", "fusion"), [(24, "fast"), (40, "fast"), (40, "sum")])
def test_memory_of_a_neck_as_wide_as_what_feeds_it(width, fusion):
    neck_ = replace(SMALL.neck, width=width, fusion=fusion, depth=1)
    check_memory(replace(SMALL, neck=neck_), (64, 64), Workload(training_batch=4))


@settings(max_examples=5)
@given(detectors(), st.integers(2, 3))
def test_memory_of_drawn_detectors(net, batch):
    """Of images of a few pixels and of wide maps before a narrow neck a few percent are left."""
    workload, side = Workload(inference_batch=batch, training_batch=batch), net.resolution
    check_memory(net, (side, side), workload, inference=0.03, training=0.05, few=3000)


@pytest.mark.parametrize("precision", ["bf16", "float16"])
def test_memory_under_autocast(precision):
    workload = Workload(inference_batch=4, training_batch=4, precision=precision)
    check_memory(replace(SMALL, num_classes=90), (64, 64), workload)


def test_memory_of_efficientdet_d0():
    check_memory(published("efficientdet_d0"), (256, 384), ONE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "batch", "precision"),
    [
        ("efficientdet_d2", 8, "float32"),
        ("efficientdet_d6", 1, "bf16"),
        ("efficientdet_d7x", 32, "bf16"),
    ],
)
def test_memory_of_larger_named_detectors(name, batch, precision):
    """On small images. Others differ from D0, or from D6 with its sums, in numbers of layers."""
    side = 384 if name == "efficientdet_d7x" else 256  # of two pixels at the highest level
    workload = Workload(inference_batch=batch, training_batch=batch, precision=precision)
    check_memory(published(name), (side, side), workload)


def forget_what_was_counted():
    for cached in (stage_cost, block_cost):
        cached.cache_clear()


@pytest.mark.parametrize("kind", ["conv", "batch_norm", "activation", "fuse", "max_pool"])
def test_a_mistake_in_any_rule_is_caught(kind, monkeypatch):
    right, rule = cost(SMALL).training_bytes, FOOTPRINTS[kind]

    def wrong(op, run, sizes):
        return rule(op, run, sizes)._replace(saves=(), saved_bytes=0)

    with monkeypatch.context() as patched:
        patched.setitem(FOOTPRINTS, kind, wrong)
        forget_what_was_counted()
        assert cost(SMALL).training_bytes < 0.999 * right
    forget_what_was_counted()
    assert cost(SMALL).training_bytes == right


def test_layers_are_simulated_once_for_all_networks_that_share_them():
    """They do not depend on the neck's depth nor on the blocks of the backbone."""
    cost(SMALL)
    simulated = block_cost.cache_info().misses
    cost(replace(SMALL, neck=replace(SMALL.neck, depth=5)))
    assert block_cost.cache_info().misses == simulated
    cost(replace(SMALL, heads=Heads(depth=2)))
    assert block_cost.cache_info().misses == simulated + 1
