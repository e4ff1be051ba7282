"""Plain dicts and back, and the digest that is a network's identity."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.neck import Neck
from scalesearch.arch.plain import digest, from_plain, make_stage, replaced, to_plain
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.errors import UserError
from tests.detectors import detectors
from tests.strategies import backbones

NET = Backbone(stages=(Stage(width=8, depth=2, se=0.25), Stage(block="identity", width=16)))
OTHER = {  # a changed value for every field
    "stages": NET.stages[:1],
    "stem": Stem(width=16),
    "head": Head(width=64),
    "resolution": 192,
    "in_channels": 1,
    "num_classes": 10,
    "activation": "relu",
    "padding": "same",
    "drop_path": 0.1,
    "norm_eps": 1e-3,
    "norm_momentum": 0.01,
    "width_divisor": 4,
}
HEADS = ((0, False), (0, True), (64, True))
OTHER_STAGE = {  # the same for the fields of any stage
    "width": 9,
    "depth": 3,
    "stride": 2,
    "kernel": 5,
    "expand": 6,
    "se": 0.5,
    "reduce": 2,
}


@given(backbones())
def test_there_and_back_is_the_same_network(net):
    assert from_plain(to_plain(net)) == net
    assert to_plain(from_plain(to_plain(net))) == to_plain(net)
    assert digest(from_plain(json.loads(json.dumps(to_plain(net))))) == digest(net)


@given(backbones(), backbones())
def test_digests_are_equal_only_for_equal_networks(one, other):
    assert (digest(one) == digest(other)) == (one == other)


@pytest.mark.parametrize("field", [field.name for field in fields(Backbone)])
def test_every_field_changes_the_digest(field):
    changed = replace(NET, **{field: OTHER[field]})
    assert digest(changed) != digest(NET)


@pytest.mark.parametrize("block", BLOCK_FIELDS)
@pytest.mark.parametrize("field", OTHER_STAGE)
def test_the_fields_that_a_block_reads_change_the_digest_and_no_others(block, field):
    stage = Stage(block=block, width=8)
    changed = replace(stage, **{field: OTHER_STAGE[field]})
    digests = [digest(replace(NET, stages=(one,))) for one in (stage, changed)]
    read = field in ("width", "stride", *BLOCK_FIELDS[block])
    assert (digests[0] != digests[1]) == read


def test_every_block_kind_has_a_digest_of_its_own():
    made = {digest(replace(NET, stages=(Stage(block=kind, width=8),))) for kind in BLOCK_FIELDS}
    assert len(made) == len(BLOCK_FIELDS)
    assert {"block", *OTHER_STAGE} == {field.name for field in fields(Stage)}


@pytest.mark.parametrize(
    "part",
    [
        {"stem": Stem(kernel=5)},
        {"stem": Stem(stride=1)},
        {"stem": Stem(pool=2)},
        {"stem": Stem(norm=False)},
        {"head": Head(width=0)},
        {"head": Head(dropout=0.2)},
    ],
)
def test_every_field_of_stem_and_head_changes_the_digest(part):
    assert digest(replace(NET, **part)) != digest(NET)


def test_a_norm_in_the_head_changes_the_digest_where_it_is_read():
    bare, norm, conv = (replace(NET, head=Head(width=w, norm=n)) for w, n in HEADS)
    assert len({digest(bare), digest(norm), digest(conv)}) == 3


def test_zero_and_zero_point_zero_are_one_network():
    plain = to_plain(NET)
    plain["drop_path"], plain["head"]["dropout"] = 0, 0
    assert digest(from_plain(plain)) == digest(NET)


def test_the_digest_is_the_same_in_another_process():
    code = (
        "import sys, json; from scalesearch.arch.plain import digest, from_plain;"
        "print(digest(from_plain(json.load(sys.stdin))))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(to_plain(NET)),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "12345", "PYTHONPATH": ":".join(p for p in sys.path if p)},
    )
    assert ran.stdout.strip() == digest(NET)
    assert len(digest(NET)) == 16
    assert int(digest(NET), 16) >= 0


def test_a_plain_network_has_scalars_first_then_the_parts_in_forward_order():
    keys = list(to_plain(NET))
    assert keys[-3:] == ["stem", "stages", "head"]
    assert to_plain(NET)["stages"][1] == {"block": "identity", "width": 16, "stride": 1}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda p: p.pop("stages"), "stages: a network needs a list of stages"),
        (lambda p: p.update(stages="mbconv"), "stages: a network needs a list of stages"),
        (lambda p: p.update(stages=[]), "stages: a backbone needs at least one stage"),
        (
            lambda p: p["stages"][0].update(kernle=3),
            "stages[0].kernle: unknown key 'kernle'\n"
            "  allowed: block, width, depth, stride, kernel, expand, se, reduce\n"
            "  did you mean 'kernel'?",
        ),
        (
            lambda p: p["stages"][0].update(kernel=4),
            "stages[0].kernel: 4 cannot be used\n  allowed: an odd whole number: 1, 3, 5",
        ),
        (
            lambda p: p["stages"][1].update(kernel=3),
            "stages[1].kernel: the block 'identity' has no 'kernel'\n"
            "  allowed: block, width, stride",
        ),
        (lambda p: p["stages"][0].pop("width"), "stages[0]: 'width' is missing"),
        (
            lambda p: p["stages"].insert(0, "mbconv"),
            "stages[0]: 'mbconv' is not a mapping\n  allowed: key: value pairs",
        ),
        (
            lambda p: p["stem"].update(stride=0),
            "stem.stride: 0 cannot be used\n  allowed: a whole number >= 1",
        ),
        (lambda p: p.update(head=7), "head: 7 is not a mapping\n  allowed: key: value pairs"),
        (
            lambda p: p.update(resolutoin=64),
            "resolutoin: unknown key 'resolutoin'\n  allowed: stages, stem, head, resolution, "
            "in_channels, num_classes, activation, padding, drop_path, norm_eps, norm_momentum, "
            "width_divisor\n  did you mean 'resolution'?",
        ),
    ],
)
def test_a_mistake_names_its_place(change, text):
    plain = to_plain(NET)
    change(plain)
    with pytest.raises(UserError) as told:
        from_plain(plain)
    assert str(told.value) == text


def test_a_network_is_read_without_changing_what_it_is_read_from():
    plain = to_plain(NET)
    before = json.dumps(plain)
    from_plain(plain)
    assert json.dumps(plain) == before


def test_a_stage_may_leave_its_defaults_out():
    assert make_stage({"width": 8}, "stages[0]") == Stage(width=8)


@given(backbones())
def test_replacing_fields_by_their_own_changes_nothing(net):
    plain = to_plain(net)
    own = {key: plain[key] for key in plain if key != "stages"}
    assert replaced(net, own) == replaced(net, {}) == net


def test_parts_of_stem_and_head_are_replaced():
    changed = replaced(NET, {"stem": {"stride": 1}, "head": {"dropout": 0.5}, "resolution": 64})
    assert changed == replace(NET, stem=Stem(stride=1), head=Head(dropout=0.5), resolution=64)
    assert replaced(NET, {"stem": Stem(width=8)}).stem == Stem(width=8)
    with pytest.raises(UserError, match=r"stem\.with: unknown key 'with'"):
        replaced(NET, {"stem": {"with": 8}})
    with pytest.raises(UserError, match="head: 3 cannot be a head"):
        replaced(NET, {"head": 3})


# Detectors.


DETECTOR = Detector(backbone=replace(NET, resolution=64), neck=Neck(min_level=1, max_level=3))
OTHER_PARTS = {  # a changed value for every field
    "backbone": [
        {key: value}
        for key, value in OTHER.items()
        # A single stage feeds one level; a classifier's own are left out.
        if key not in ("stages", "head", "num_classes")
    ],
    "neck": [
        {"kind": "fpn"},
        {"width": 8},
        {"depth": 1},
        {"fusion": "sum"},
        {"max_level": 4},
    ],
    "heads": [{"depth": 0}],
    "anchors": [{"scale": 3.0}, {"octaves": 1}, {"ratios": (1.0,)}],
}
OTHER_OWN = [
    {"num_classes": 7},
    {"activation": "relu"},
    {"norm": "group"},
    {"norm_bias": True},
    {"norm_eps": 1e-3},
    {"norm_momentum": 0.01},
]


@given(detectors())
def test_there_and_back_is_the_same_detector(net):
    assert from_plain(to_plain(net)) == net
    assert digest(from_plain(json.loads(json.dumps(to_plain(net))))) == digest(net)
    assert replaced(net, {}) == net


@given(detectors(), detectors())
def test_digests_are_equal_only_for_equal_detectors(one, other):
    assert (digest(one) == digest(other)) == (one == other)
    assert digest(one) != digest(one.backbone)


@pytest.mark.parametrize(
    "change", [*OTHER_OWN, *({part: c} for part, cs in OTHER_PARTS.items() for c in cs)], ids=str
)
def test_every_field_of_a_detector_changes_the_digest(change):
    changed = replaced(DETECTOR, change)
    assert changed != DETECTOR
    assert digest(changed) != digest(DETECTOR)


def test_every_field_of_a_detector_is_tried():
    tried = {key for change in OTHER_OWN for key in change}
    assert {field.name for field in fields(Detector)} == tried | set(OTHER_PARTS)
    for part, kind in (("neck", Neck), ("heads", Heads), ("anchors", Anchors)):
        tried = {key for change in OTHER_PARTS[part] for key in change}
        # The lowest level of all is as low as it can be.
        assert {field.name for field in fields(kind)} - {"min_level"} == tried


def test_a_plain_detector_holds_lists_and_no_classifier():
    plain = to_plain(DETECTOR)
    assert list(plain)[-4:] == ["backbone", "neck", "heads", "anchors"]
    assert not {"head", "num_classes"} & set(plain["backbone"])
    assert plain["anchors"]["ratios"] == [[1.0, 1.0], [1.4, 0.7], [0.7, 1.4]]
    # What the file leaves out is the default.
    short = {"backbone": {"stages": plain["backbone"]["stages"]}, "neck": plain["neck"]}
    assert from_plain(short) == Detector(backbone=Backbone(stages=NET.stages), neck=DETECTOR.neck)


def test_what_a_detector_passes_on_to_its_backbone():
    changed = replaced(DETECTOR, {"resolution": 128, "in_channels": 1, "padding": "same"})
    backbone = replace(DETECTOR.backbone, resolution=128, in_channels=1, padding="same")
    assert changed == replace(DETECTOR, backbone=backbone)
    stem = {"stem": {"width": 8}}
    assert replaced(DETECTOR, {"backbone": stem, "resolution": 96}).backbone == replace(
        DETECTOR.backbone, stem=replace(NET.stem, width=8), resolution=96
    )
    assert replaced(DETECTOR, {"backbone": NET}).resolution == NET.resolution


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"backbone": None},
            "backbone: None is not a mapping\n  allowed: key: value pairs",
        ),
        ({"backbone": {}}, "backbone.stages: a network needs a list of stages"),
        (
            {"backbone": {"stages": [{"width": 0}]}},
            "backbone.stages[0].width: 0 cannot be used\n  allowed: a whole number >= 1",
        ),
        (
            {"backbone": {"stages": [{"width": 8}], "head": {"width": 8}}},
            "backbone.head: a detector's backbone classifies no images\n  leave it out",
        ),
        (
            {"backbone": {"stages": [{"width": 8}], "num_classes": 8}},
            "backbone.num_classes: a detector's backbone classifies no images\n"
            "  num_classes stands beside backbone",
        ),
        ({"neck": 3}, "neck: 3 is not a mapping\n  allowed: key: value pairs"),
        (
            {"neck": {"widht": 3}},
            "neck.widht: unknown key 'widht'\n  allowed: kind, width, depth, fusion, min_level, "
            "max_level\n  did you mean 'width'?",
        ),
        (
            {"anchors": {"ratios": [1.0, 0]}},
            "anchors.ratios[1]: 0 cannot be used\n  allowed: a number above 0",
        ),
        (
            {"anchor": {}},
            "anchor: unknown key 'anchor'\n  allowed: backbone, neck, heads, anchors, "
            "num_classes, activation, norm, norm_bias, norm_eps, norm_momentum\n"
            "  did you mean 'anchors'?",
        ),
        (
            {"neck": {"min_level": 4, "max_level": 5}},
            "neck.min_level: the backbone has no features of level 4\n  allowed: it has those of "
            "1; only levels above all of them can be made",
        ),
    ],
)
def test_a_mistake_in_a_detector_names_its_place(change, text):
    with pytest.raises(UserError) as told:
        from_plain(to_plain(DETECTOR) | change)
    assert str(told.value) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"resolution": 0}, "resolution: 0 cannot be used\n  allowed: a whole number >= 1"),
        ({"padding": "valid"}, "padding: 'valid' is not known\n  allowed: symmetric, same"),
        (
            {"backbone": {"stem": {"with": 3}}},
            "backbone.stem.with: unknown key 'with'\n"
            "  allowed: width, kernel, stride, pool, norm\n  did you mean 'width'?",
        ),
        ({"backbone": NET, "resolution": 8}, "backbone: resolution and a whole backbone are given"),
        ({"backbone": 3}, "backbone: 3 cannot be used\n  allowed: a Backbone"),
        ({"neck": "fpn"}, "neck: 'fpn' cannot be a neck\n  allowed: key: value pairs"),
    ],
)
def test_a_detectors_field_that_cannot_be_replaced(change, text):
    with pytest.raises(UserError) as told:
        replaced(DETECTOR, change)
    assert str(told.value) == text
