"""Counts of detectors in closed form; that they are fvcore's is shown with the walk."""

from __future__ import annotations

import pytest
from hypothesis import given

from scalesearch.arch.detector_walk import walk_detector
from scalesearch.arch.published import published
from scalesearch.cost.by_stage import ADDITIVE, by_stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.detector import counts_of, detector_cost
from scalesearch.cost.measured import measure
from scalesearch.nn.build import build
from scalesearch.training.detect import loss_without_objects
from tests.detectors import detectors
from tests.shapes import detector

NET = detector()


def test_memory_is_not_counted_by_arithmetic():
    spent = cost(NET)
    assert (spent.inference_bytes, spent.training_bytes) == (None, None)
    assert set(spent.known()) == {"flops", "flops_total", "params", "activations"}
    assert cost(NET, workload=Workload(training_batch=7)) == spent == detector_cost(NET)


def test_repeats_count_as_often_as_they_come():
    part = next(p for p in walk_detector(published("efficientdet_d0")) if p.repeats > 1)
    once = counts_of(part._replace(repeats=1))
    assert counts_of(part) == tuple(part.repeats * value for value in once)


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


@pytest.mark.parametrize("batch", [1, 3])
def test_memory_is_measured_on_the_built_model(batch):
    """Weights, gradients and two copies at least; more for more images."""
    workload = Workload(inference_batch=batch, training_batch=batch, optimizer_copies=2)
    spent = measure(build(NET), (1, 1, 32, 32), workload, loss_without_objects)
    assert spent.counts() == cost(NET).counts()
    weights, images = 4 * spent.params, 4 * batch * 32 * 32
    assert spent.inference_bytes > weights + images
    # Autograd keeps what each convolution took in, and what norms and activations did.
    assert spent.training_bytes > 4 * weights + images + 2 * 4 * batch * spent.activations
