"""The walk over detectors: its sums are what fvcore counts on the built module."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from scalesearch.arch.backbone import Backbone, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.detector_walk import predict_again, walk_detector
from scalesearch.arch.neck import Neck
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.cost.measured import measure_counts
from scalesearch.cost.tally import counts_of
from scalesearch.nn.build import build
from tests.detectors import KINDS, SIDES, detectors
from tests.peers import weightless


def built(net):
    """The module without any work for its weights, which no count depends on."""
    with torch.device("meta"):
        module = build(net)
    return weightless(module)


def measured(net, size):
    return measure_counts(built(net), (1, net.in_channels, *size))


def counted(net, size):
    return cost(net, size=size).counts()


# Heads after a P2 and a P3 that comes from the backbone, and a P4 that is made.
BY_HAND = Detector(
    backbone=Backbone(
        stem=Stem(width=2, kernel=1, stride=2, pool=2),
        stages=(Stage(block="identity", width=2), Stage(block="identity", width=2, stride=2)),
        in_channels=1,
        resolution=16,
    ),
    neck=Neck(kind="fpn", width=3, depth=1, min_level=2, max_level=4),
    heads=Heads(depth=1),
    anchors=Anchors(octaves=1, ratios=(1.0, 2.0)),
    num_classes=5,
)


def test_a_small_detector_by_hand():
    """16 pixels: an 8x8 stem; P2 of 4x4, P3 of 2x2, P4 of 1x1, that is 21 pixels."""
    projections = {"extra": 2 * 3 * 4, "P3": 2 * 3 * 4, "P2": 2 * 3 * 16}
    # The top's fusion has one input; each has a 3x3 depthwise and a 1x1 convolution.
    fusions = 21 * (3 * 9 + 3 * 3)
    heads = 2 * 21 * (3 * 9 + 3 * 3) + 21 * (2 * 3 * 9 + 3 * 10 + 3 * 8)
    flops = 64 * 2 + sum(projections.values()) + fusions + heads
    # Two weights for each norm's channel: stem, three projections, three fusions, and in both
    # heads one for each of three levels. The heads' convolutions are there once.
    norms = 2 * (2 + 3 * 3 + 3 * 3 + 2 * 3 * 3)
    kernels = 2 + 3 * (2 * 3) + 3 * (3 * 9 + 3 * 3) + 2 * (27 + 9) + 2 * 27 + 30 + 24
    weights = kernels + (10 + 8) + (1 + 2 + 2)
    spent = cost(BY_HAND)
    assert spent.flops == flops
    assert spent.params == weights + norms
    # Norms work on what comes out of them; to be upsampled, P3 gets 4 pixels and P2 16.
    normed = 2 * (64 * 2 + 3 * 4 + 3 * 4 + 3 * 16 + 3 * 21 + 2 * 3 * 21)
    assert spent.flops_total == flops + normed + 3 * (4 + 16)
    assert counted(BY_HAND, (16, 16)) == measured(BY_HAND, (16, 16))


def test_parts_come_in_forward_order():
    names = [part.name for part in walk_detector(BY_HAND)]
    assert names == [
        *("stem", "stage1", "stage2"),
        "neck.extra2",
        *["neck.layer1"] * 3,
        *(f"{head}.p{level}" for head in ("class_head", "box_head") for level in (2, 3, 4)),
    ]
    kinds = [[op.kind for op in part.ops] for part in walk_detector(BY_HAND)]
    assert kinds[3] == ["conv", "max_pool"]
    assert kinds[4] == ["fuse", "conv", "conv"]  # the top, of one input
    assert kinds[5] == ["conv", "upsample", "fuse", "conv", "conv"]
    assert kinds[-1] == ["conv"] * 4


def test_a_head_has_its_convolutions_once_and_norms_of_every_level():
    """Levels after the first are the same operations by another rule."""
    for head in ("class_head", "box_head"):
        first, *others = (p for p in walk_detector(BY_HAND) if p.name.startswith(head))
        assert first.rule is not predict_again
        assert [part.rule for part in others] == [predict_again] * 2
        assert counts_of(first).params > counts_of(others[0]).params == 2 * 3


def test_d0_is_what_fvcore_counts():
    net = published("efficientdet_d0")
    for size in ((128, 96), (100, 75)):
        assert counted(net, size) == measured(net, size)


@settings(max_examples=15, deadline=None)
@given(detectors(), SIDES, SIDES)
def test_drawn_detectors_are_what_fvcore_counts(net, height, width):
    assert counted(net, (height, width)) == measured(net, (height, width))


SMALL = Detector(
    backbone=Backbone(
        stem=Stem(width=8),
        stages=tuple(
            Stage(block="separable", width=8 * i, stride=2, depth=1) for i in (1, 2, 3, 4)
        ),
        resolution=96,
    ),
    neck=Neck(width=24, depth=2),  # as wide as P4
    heads=Heads(depth=1),
)
SETTINGS = (
    ("fast", "same", 7, (96, 96)),
    ("softmax", "symmetric", 8, (104, 70)),
    ("sum", "symmetric", 7, (33, 65)),
    ("unbounded", "same", 8, (64, 160)),
)


@pytest.mark.parametrize(("fusion", "padding", "top", "size"), SETTINGS[::2])
@pytest.mark.parametrize("kind", KINDS)
def test_necks_and_fusions_are_what_fvcore_counts(kind, fusion, padding, top, size):
    check_neck(kind, fusion, padding, top, size)


@pytest.mark.slow
@pytest.mark.parametrize(("fusion", "padding", "top", "size"), SETTINGS[1::2])
@pytest.mark.parametrize("kind", KINDS)
def test_other_necks_and_fusions_are_what_fvcore_counts(kind, fusion, padding, top, size):
    check_neck(kind, fusion, padding, top, size)


def check_neck(kind, fusion, padding, top, size):
    net = replace(
        SMALL,
        backbone=replace(SMALL.backbone, padding=padding),
        neck=replace(SMALL.neck, kind=kind, fusion=fusion, max_level=top),
        norm_bias=padding == "same",
    )
    assert counted(net, size) == measured(net, size)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_neck_of_d0_is_what_fvcore_counts(kind):
    net = published(
        "efficientdet_d0", padding="symmetric", neck={"kind": kind, "fusion": "softmax"}
    )
    assert counted(net, (128, 96)) == measured(net, (128, 96))


@pytest.mark.slow
@pytest.mark.parametrize("number", ["d1", "d3", "d6", "d7x", "lite4"])
def test_other_named_detectors_are_what_fvcore_counts(number):
    net = published(f"efficientdet_{number}")
    assert counted(net, (64, 64)) == measured(net, (64, 64))


@pytest.mark.parametrize("resolution", [8, 16, 48])
def test_the_default_size_is_the_square_resolution(resolution):
    net = replace(BY_HAND, backbone=replace(BY_HAND.backbone, resolution=resolution))
    assert cost(net) == cost(net, size=(resolution, resolution))
