"""The description of a detector: what it feeds its neck with, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads, taps, wiring
from scalesearch.arch.neck import Neck, Node
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError
from tests.detectors import detectors


def strided(*strides, stem=2, pool=1):
    stages = tuple(Stage(width=8 * (i + 1), stride=s) for i, s in enumerate(strides))
    return Backbone(stem=Stem(width=8, stride=stem, pool=pool), stages=stages, resolution=64)


SMALL = Detector(backbone=strided(1, 2, 2, 2), neck=Neck(width=16, min_level=2, max_level=5))


# Stages from 0. EfficientNet, Table 1: strides 1, 2, 2, 2, 1, 2, 1 behind a stem of 2; He et al.
# 2016, Table 1: a stem of 2 and a pooling of 2, then 1, 2, 2, 2; MobileNetV2, Table 2: 1, 2, 2, 2,
# 1, 2, 1; wide residual networks: a stem of 1, then 1, 2, 2.
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("efficientnet_b0", {1: 0, 2: 1, 3: 2, 4: 4, 5: 6}),
        ("efficientnet_b7", {1: 0, 2: 1, 3: 2, 4: 4, 5: 6}),
        ("efficientnet_v2_s", {1: 0, 2: 1, 3: 2, 4: 4, 5: 5}),
        ("resnet18", {2: 0, 3: 1, 4: 2, 5: 3}),
        ("resnet50", {2: 0, 3: 1, 4: 2, 5: 3}),
        ("mobilenet_v2", {1: 0, 2: 1, 3: 2, 4: 4, 5: 6}),
        ("wrn_16_8", {0: 0, 1: 1, 2: 2}),
    ],
)
def test_the_levels_of_published_backbones(name, found):
    assert taps(published(name)) == found


def test_a_level_is_what_its_last_stage_puts_out():
    assert taps(strided(1, 2, 1, 1, 2)) == {1: 0, 2: 3, 3: 4}
    # A stride of 3 leaves the powers of two for good, one of 4 jumps over a level.
    assert taps(strided(1, 3, 2)) == {1: 0}
    assert taps(strided(2, 4, 2)) == {2: 0, 4: 1, 5: 2}
    assert taps(strided(1, stem=1)) == {0: 0}
    assert taps(strided(1, stem=4, pool=2)) == {3: 0}


def test_a_neck_takes_what_the_backbone_has_and_makes_the_rest():
    d0 = Detector(backbone=published("efficientnet_b0"))
    assert d0.sources == (2, 4, 6)  # P3, P4, P5; P6 and P7 are made
    assert replace(SMALL, neck=Neck(min_level=3, max_level=4)).sources == (2, 3)
    assert replace(SMALL, neck=Neck(min_level=4, max_level=9)).sources == (3,)
    assert SMALL.sources == (1, 2, 3)  # P5 is made


def test_nodes_are_those_of_its_neck():
    assert SMALL.nodes == wiring("bifpn", range(2, 6))
    assert len(SMALL.nodes) == 6


@pytest.mark.parametrize(
    ("backbone", "levels", "text"),
    [
        (
            strided(1, 2, 2, 2),
            (5, 7),
            "neck.min_level: the backbone has no features of level 5\n  allowed: it has those of "
            "1, 2, 3, 4; only levels above all of them can be made",
        ),
        (
            strided(2, 4, 2),
            (3, 6),
            "neck.min_level: the backbone has no features of level 3\n  allowed: it has those of "
            "2, 4, 5; only levels above all of them can be made",
        ),
        (
            strided(2, 4, 2),
            (2, 6),
            "neck.min_level: the backbone has no features of level 3\n  allowed: it has those of "
            "2, 4, 5; only levels above all of them can be made",
        ),
        (
            strided(1, 3),
            (2, 3),
            "neck.min_level: the backbone has no features of level 2\n  allowed: it has those of "
            "1; only levels above all of them can be made",
        ),
        (
            strided(1, 2, 2, 2),
            (2, 3),
            "backbone.stages: stage4 feeds nothing\n"
            "  leave them out, or raise neck.max_level above 3",
        ),
        (
            strided(1, 2, 2, 1, 3, 2),
            (2, 7),
            "backbone.stages: stage5 to stage6 feed nothing\n"
            "  leave them out, or raise neck.max_level above 7",
        ),
    ],
)
def test_levels_and_stages_must_fit(backbone, levels, text):
    with pytest.raises(UserError) as told:
        Detector(backbone=backbone, neck=Neck(min_level=levels[0], max_level=levels[1]))
    assert str(told.value) == text


def test_two_descriptions_of_one_detector_are_equal():
    """What classifies images is left out, and ratios are the sides of an anchor of area 1."""
    other = replace(SMALL.backbone, head=Head(width=64, dropout=0.5), num_classes=7)
    assert replace(SMALL, backbone=other) == SMALL
    assert SMALL.backbone.head == Head(width=0)
    halves = Anchors(scale=4, ratios=(1.0, 0.5))
    assert halves == Anchors(scale=4.0, ratios=[(1, 1), (math.sqrt(0.5), 1 / math.sqrt(0.5))])
    assert hash(halves) == hash(Anchors(ratios=[1, 0.5]))


def test_ratios_are_width_by_height():
    """2 is an anchor twice as wide as high, of the same area as a square."""
    ((width, height),) = Anchors(ratios=(2.0,)).shapes
    assert width / height == pytest.approx(2)
    assert width * height == pytest.approx(1)
    # The published (1.4, 0.7) is taken as it is, though its area is 0.98.
    assert Anchors(ratios=((1.4, 0.7),)).shapes == ((1.4, 0.7),)


def test_anchors_are_counted_at_each_pixel():
    assert Anchors().count == 9
    assert Anchors(octaves=2, ratios=(1.0,)).count == 2


def test_what_a_detector_says_of_its_input_is_its_backbones():
    net = replace(SMALL, backbone=replace(SMALL.backbone, in_channels=1, padding="same"))
    assert (net.resolution, net.in_channels, net.padding) == (64, 1, "same")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Anchors(scale=0), "scale: 0 cannot be used\n  allowed: a number above 0"),
        (lambda: Anchors(scale="4"), "scale: '4' cannot be used\n  allowed: a number above 0"),
        (lambda: Anchors(octaves=0), "octaves: 0 cannot be used\n  allowed: a whole number >= 1"),
        (lambda: Anchors(ratios=()), "ratios: () gives no shapes\n  allowed: 1.0, 2.0 …"),
        (lambda: Anchors(ratios=1.0), "ratios: 1.0 gives no shapes\n  allowed: 1.0, 2.0 …"),
        (
            lambda: Anchors(ratios=(1.0, -2.0)),
            "ratios[1]: -2.0 cannot be used\n  allowed: a number above 0",
        ),
        (
            lambda: Anchors(ratios=((1.0, 0.0),)),
            "ratios[0]: 0.0 cannot be used\n  allowed: a number above 0",
        ),
        (
            lambda: Anchors(ratios=((1.0, 2.0, 3.0),)),
            "ratios[0]: (1.0, 2.0, 3.0) cannot be used\n  allowed: a number above 0",
        ),
        (lambda: Heads(depth=-1), "depth: -1 cannot be used\n  allowed: a whole number >= 0"),
        (
            lambda: replace(SMALL, num_classes=0),
            "num_classes: 0 cannot be used\n  allowed: a whole number >= 1",
        ),
        (lambda: replace(SMALL, neck="bifpn"), "neck: 'bifpn' cannot be used\n  allowed: a Neck"),
        (
            lambda: replace(SMALL, norm_bias=1),
            "norm_bias: 1 cannot be used\n  allowed: true or false",
        ),
        (
            lambda: replace(SMALL, norm_eps=2),
            "norm_eps: 2 cannot be used\n  allowed: a number from 0 to 1",
        ),
        (
            lambda: replace(SMALL, norm="layer"),
            "norm: 'layer' is not known\n  allowed: batch, group",
        ),
        (
            lambda: replace(SMALL, norm="group", neck=replace(SMALL.neck, width=25)),
            "norm: groups of one channel, as 25 is odd\n"
            "  allowed: batch, or group with an even neck.width",
        ),
        (
            lambda: replace(SMALL, activation="gelu"),
            "activation: 'gelu' is not known\n  allowed: silu, relu, relu6, hardswish\n"
            "  did you mean 'relu'?",
        ),
        (
            lambda: replace(SMALL, neck=Neck(kind="bifp")),
            "neck.kind: there is no 'bifp' among the necks\n  allowed: bifpn, fpn, "
            "fully_connected, nas_fpn, panet, or package.module:Name of your own\n"
            "  did you mean 'bifpn'?",
        ),
        (
            lambda: replace(SMALL, neck=Neck(kind="nas_fpn", min_level=2, max_level=5)),
            "neck.max_level: nas_fpn was found for five levels, not 4\n  allowed: at least 6",
        ),
    ],
)
def test_a_wrong_field_is_named(make, text):
    with pytest.raises(UserError) as told:
        make()
    assert str(told.value) == text


class OneFusion:
    """Somebody's own wiring, which forgets every level but the finest."""

    def nodes(self, levels):
        return [(levels[0], [0])]


def test_somebodys_own_wiring_is_checked():
    with pytest.raises(UserError, match=r"neck\.kind: fusions at the levels \[2\]"):
        replace(SMALL, neck=Neck(kind=f"{__name__}:OneFusion", min_level=2, max_level=5))
    single = Neck(kind=f"{__name__}:OneFusion", min_level=4, max_level=4)
    assert replace(SMALL, neck=single).nodes == (Node(4, (0,)),)


@given(detectors())
def test_drawn_detectors_are_whole(net):
    """The strategy that other tests lean on: levels, sources and nodes go together."""
    assert len(net.sources) <= len(net.neck.levels)
    assert net.sources[-1] == len(net.backbone.stages) - 1
    assert {node.level for node in net.nodes} == set(net.neck.levels)
