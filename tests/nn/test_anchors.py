"""Anchors against effdet's, against the heads' outputs, and by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from scalesearch.arch.detector import Anchors
from scalesearch.arch.published import published
from scalesearch.nn.anchors import AnchorBoxes, anchor_boxes
from scalesearch.nn.detector import DetectorNet
from tests.effdets import effdet_anchors, peer_anchors, swapped

D0 = published("efficientdet_d0")


def test_anchors_are_effdets(subtests):
    for name, size in (
        ("efficientdet_d0", (512, 512)),
        ("efficientdet_d0", (384, 640)),
        ("efficientdet_d0", (96, 160)),  # 128 divides neither side
        ("efficientdet_d7", (768, 768)),  # anchors of scale 5
        ("efficientdet_d7x", (768, 1536)),  # a level more
        ("efficientdet_lite0", (320, 320)),  # scale 3
        ("efficientdet_lite3", (512, 512)),  # scale 4
    ):
        net = published(name)
        ours = anchor_boxes(net.anchors, net.neck.levels, size)
        theirs = swapped(peer_anchors(f"tf_{name}", size).boxes)
        with subtests.test(f"{name} {size}"):
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_shapes_given_by_one_number_are_effdets():
    anchors = Anchors(scale=3.5, octaves=2, ratios=(0.5, 1.0, 3.0))
    theirs = effdet_anchors.Anchors(4, 6, 2, [0.5, 1.0, 3.0], 3.5, (192, 320))
    ours = anchor_boxes(anchors, range(4, 7), (192, 320))
    torch.testing.assert_close(ours, swapped(theirs.boxes), rtol=0, atol=1e-4)


def test_anchors_by_hand():
    # Level 5 of 40 x 64 pixels has ceil(40 / 32) x 2 = 2 x 2 pixels: strides 20 and 32.
    anchors = Anchors(scale=2.0, octaves=1, ratios=((1.0, 1.0), (2.0, 0.5)))
    wanted = [
        [16 - 32, 10 - 20, 16 + 32, 10 + 20],
        [16 - 64, 10 - 10, 16 + 64, 10 + 10],
        [48 - 32, 10 - 20, 48 + 32, 10 + 20],
        [48 - 64, 10 - 10, 48 + 64, 10 + 10],
        [16 - 32, 30 - 20, 16 + 32, 30 + 20],
        [16 - 64, 30 - 10, 16 + 64, 30 + 10],
        [48 - 32, 30 - 20, 48 + 32, 30 + 20],
        [48 - 64, 30 - 10, 48 + 64, 30 + 10],
    ]
    assert anchor_boxes(anchors, range(5, 6), (40, 64)).tolist() == wanted


def test_octaves_grow_by_equal_factors():
    boxes = anchor_boxes(Anchors(scale=4.0, octaves=3, ratios=(1.0,)), range(3, 4), (8, 8))
    sides = boxes[:, 2] - boxes[:, 0]
    torch.testing.assert_close(sides, torch.tensor([32.0, 40.3175, 50.7968]), rtol=0, atol=1e-3)


SMALL = replace(
    D0,
    backbone=replace(
        D0.backbone, stages=tuple(replace(s, width=4, depth=1) for s in D0.backbone.stages)
    ),
    neck=replace(D0.neck, width=4, depth=1),
    heads=replace(D0.heads, depth=1),
    num_classes=2,
)


@settings(max_examples=15)
@given(size=st.tuples(st.integers(32, 140), st.integers(32, 140)))
def test_the_heads_predict_for_each_anchor(size):
    model = small_model()
    with torch.inference_mode():
        logits, deltas = model(torch.zeros(1, 3, *size))
    boxes = anchor_boxes(SMALL.anchors, SMALL.neck.levels, size)
    assert logits.shape[1] == deltas.shape[1] == len(boxes)


@cache
def small_model():
    return DetectorNet(SMALL, SMALL.nodes).eval()


def test_anchors_are_kept_and_are_no_state():
    cached = AnchorBoxes(SMALL)
    images = torch.zeros(2, 3, 64, 96)
    first = cached(images)
    assert torch.equal(first, anchor_boxes(SMALL.anchors, SMALL.neck.levels, (64, 96)))
    assert cached(images[:1]) is first
    assert cached(torch.zeros(1, 3, 96, 64)).shape == first.shape
    assert cached(torch.zeros(1, 3, 96, 64)) is not first
    assert cached.state_dict() == {}
    assert list(cached.buffers()) == []
    assert torch.equal(copy.deepcopy(cached)(images), first)


def test_anchors_follow_their_images_to_a_device():
    cached = AnchorBoxes(SMALL)
    cached(torch.zeros(1, 3, 64, 64))
    assert cached(torch.zeros(1, 3, 64, 64, device="meta")).device.type == "meta"
    assert cached(torch.zeros(1, 3, 64, 64)).device.type == "cpu"


def test_many_sizes_do_not_fill_the_memory():
    cached = AnchorBoxes(SMALL)
    for side in range(32, 32 * 20, 32):
        cached(torch.zeros(1, 3, side, 32))
    assert len(cached.cache) == 8
    assert (32 * 19, 32) in [size for size, _ in cached.cache]


def test_anchors_made_while_evaluating_serve_while_training():
    cached = AnchorBoxes(SMALL)
    images = torch.zeros(1, 3, 64, 64)
    with torch.inference_mode():
        cached(images)
    scale = torch.ones((), requires_grad=True)
    (cached(images) * scale).sum().backward()
    assert scale.grad is not None


def test_stand_ins_are_not_kept():
    cached = AnchorBoxes(SMALL)
    with FakeTensorMode():
        assert cached(torch.zeros(1, 3, 64, 64)).shape[1] == 4
    assert cached.cache == {}
    assert type(cached(torch.zeros(1, 3, 64, 64))) is torch.Tensor
