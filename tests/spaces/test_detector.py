"""The space of detectors: sizes by hand arithmetic, a bijection, and mistakes in words."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import pytest

import scalesearch as ss
from scalesearch.arch.detector import Anchors, Detector
from scalesearch.arch.published import published
from scalesearch.errors import UserError
from scalesearch.spaces.backbone import BackboneSpace
from scalesearch.spaces.detector import DetectorSpace

ROOT = Path(__file__).parents[2]
IDENTITY = {"block": "identity", "width": 8, "stride": 2}
PLAIN = {
    "num_classes": 3,
    "activation": ["silu", "relu"],
    "backbone": {
        "resolution": [64, 96],
        "in_channels": 1,
        "activation": ["silu", "relu6"],
        "stem": {"width": [8, 16]},
        "stages": [
            {"width": 8, "stride": 2, "kernel": [3, 5]},
            {
                "options": [
                    {"width": 16, "stride": 2},
                    {"block": "identity", "width": 8, "stride": 2},
                ]
            },
        ],
    },
    "neck": {"kind": ["bifpn", "fpn"], "width": [8, 16], "min_level": 2, "max_level": 4},
    "heads": {"depth": [0, 1]},
    "anchors": {"scale": [3.0, 4.0], "ratios": [1.0, 2.0, [0.5, 2.0]]},
}


def test_the_size_is_the_product_of_the_choices():
    space = DetectorSpace.from_plain(PLAIN)
    # activation, resolution, backbone.activation, stem, stage1, stage2, neck, heads, anchors
    assert space.size == 2 * 2 * 2 * 2 * 2 * 2 * 4 * 2 * 2
    assert list(space.parameters) == [
        "activation",
        "resolution",
        "backbone.activation",
        "stem.width",
        "stage1.kernel",
        "stage2",
        "neck.kind",
        "neck.width",
        "heads.depth",
        "anchors.scale",
    ]


def test_parameters_and_detectors_are_a_bijection():
    space, draw = DetectorSpace.from_plain(PLAIN), random.Random(0)
    seen = set()
    for point in space.points():
        net = space.decode(point)
        assert isinstance(net, Detector)
        assert space.encode(net) == point
        seen.add(net)
    assert len(seen) == space.size
    some = space.sample(draw.randrange(100))
    assert space.decode(space.encode(some)) == some
    assert space.at(space.row(some)) == some


def test_shapes_of_anchors_are_no_choices():
    net = DetectorSpace.from_plain(PLAIN).sample(0)
    root = 2**0.5
    assert sum(net.anchors.shapes, ()) == pytest.approx((1, 1, root, 1 / root, 0.5, 2))


def test_a_file_with_a_backbone_is_a_space_of_detectors():
    file = ROOT / "search_spaces" / "detector_small.yaml"
    space = ss.Space.load(file)
    assert isinstance(space, DetectorSpace)
    # 2 widths * 2 expansions, three times 2 widths, depths, kernels, expansions and ratios;
    # 3 necks * 3 widths * 2 depths * 2 fusions; 2 heads.
    assert space.size == (2 * 2) * (2**5) ** 3 * (3 * 3 * 2 * 2) * 2 == 9_437_184
    assert isinstance(ss.Space.load(ROOT / "search_spaces" / "mbconv_small.yaml"), BackboneSpace)


def test_the_data_set_and_fitted_anchors_decide_for_every_network():
    anchors = Anchors(scale=2.0, octaves=1, ratios=(1.0,))
    plain = {**PLAIN, "anchors": {"scale": 3.0}}
    space = (
        DetectorSpace.from_plain(plain)
        .with_images(in_channels=3, num_classes=7)
        .with_anchors(anchors)
    )
    assert space.size == DetectorSpace.from_plain(plain).size
    with pytest.raises(UserError, match=r"anchors: the space lists anchors.scale, and the study"):
        DetectorSpace.from_plain(PLAIN).with_anchors(anchors)
    net = space.sample(5)
    assert (net.in_channels, net.num_classes, net.anchors) == (3, 7, anchors)


def test_necks_as_whole_options():
    options = [
        {"kind": "fpn", "fusion": "sum", "min_level": 2, "max_level": 4, "width": 8},
        {"kind": "bifpn", "fusion": "fast", "min_level": 2, "max_level": 4, "width": 8},
    ]
    space = DetectorSpace.from_plain({**PLAIN, "neck": {"options": options}})
    assert space.parameters["neck"] == ("fpn sum w8 d3 p2-p4", "bifpn fast w8 d3 p2-p4")
    assert {space.decode(p).neck.kind for p in space.points()} == {"fpn", "bifpn"}


def test_networks_of_other_kinds_are_not_in_the_space():
    space = DetectorSpace.from_plain(PLAIN)
    with pytest.raises(UserError, match="a classifier is not in this space"):
        space.encode(published("efficientnet_b0"))
    with pytest.raises(UserError, match="a network of 7 stages is not in this space"):
        space.encode(published("efficientdet_d0"))
    small = BackboneSpace.load(ROOT / "search_spaces" / "mbconv_small.yaml")
    with pytest.raises(UserError, match="a detector is not in this space"):
        small.encode(published("efficientdet_d0"))


@pytest.mark.parametrize(
    ("keys", "value", "text"),
    [
        (["neck", "kind"], ["bifpn", "bifpm"], "there is no 'bifpm' among the necks"),
        (["neck", "kind"], "nas_fpn", "neck.max_level: nas_fpn was found for five levels, not 3"),
        (["neck", "fusion"], ["fast", "slow"], "neck.fusion[1]: 'slow' is not known"),
        (["neck", "min_level"], 0, "neck.min_level: 0 cannot be used"),
        (["neck", "max_level"], 2, "neck.max_level: bifpn fuses levels, and there is one"),
        (["neck", "widht"], 8, "neck.widht: unknown key 'widht'"),
        (["neck"], 3, "neck: 3 is not a mapping"),
        (["neck"], {"options": []}, "neck.options: [] gives no options"),
        (["heads", "depth"], [1, -1], "heads.depth[1]: -1 cannot be used"),
        (["anchors", "ratios"], [1.0, 0], "anchors.ratios[1]: 0 cannot be used"),
        (["backbone", "head"], {}, "backbone.head: a detector's backbone classifies no images"),
        (
            ["backbone", "num_classes"],
            3,
            "backbone.num_classes: a detector's backbone classifies no images",
        ),
        (["backbone", "in_channels"], [1, 3], "backbone.in_channels: the data set decides this"),
        (["backbone", "stages"], [], "backbone.stages: a space needs a list of stages"),
        (["backbone", "stages", 0, "widht"], 8, "backbone.stages[0].widht: unknown key 'widht'"),
        (["backbone", "stages", 0, "width"], [8, -8], "backbone.stages[0].width[1]: -8"),
        (["backbone"], 3, "backbone: 3 is not a mapping"),
        (["backbone", "padding"], "some", "backbone.padding: 'some' is not known"),
        (
            ["backbone", "stages", 0, "stride"],
            [1, 2],
            "backbone.stages[0].stride: stage1 has strides of 1, 2",
        ),
        (["num_classes"], [1, 2], "num_classes: the data set decides this"),
        (["activation"], ["silu", "gelu"], "activation[1]: 'gelu' is not known"),
        (["stages"], [], "stages: this is a space of classifiers"),
        (["heds"], {}, "heds: unknown key 'heds'"),
    ],
)
def test_mistakes(keys, value, text):
    plain = copy.deepcopy(PLAIN)
    part = plain
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    with pytest.raises(UserError) as raised:
        DetectorSpace.from_plain(plain)
    assert str(raised.value).startswith(text) or text in str(raised.value)


def test_a_space_of_one_network():
    fixed = {"backbone": {"stages": [{"width": 8, "stride": 2}]}, "neck": {"min_level": 2}}
    with pytest.raises(UserError, match="there is nothing to search"):
        DetectorSpace.from_plain(fixed)
    with pytest.raises(UserError, match="this is a space of detectors"):
        BackboneSpace.from_plain(fixed)


def test_values_that_only_fail_together():
    """Group norm cannot have an odd width, which batch norm can."""
    plain = {**PLAIN, "neck": {**PLAIN["neck"], "width": [15, 16]}}
    DetectorSpace.from_plain(plain)
    with pytest.raises(UserError, match="as 15 is odd"):
        DetectorSpace.from_plain({**plain, "norm": ["batch", "group"]})
