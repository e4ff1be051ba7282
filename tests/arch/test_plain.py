"""Plain dicts and back, and the digest that is a network's identity."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.plain import digest, from_plain, make_stage, to_plain
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError
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
OTHER_STAGE = {
    "block": "identity",
    "width": 9,
    "depth": 3,
    "stride": 2,
    "kernel": 5,
    "expand": 6,
    "se": 0.5,
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


@pytest.mark.parametrize("field", [field.name for field in fields(Stage)])
def test_every_field_of_a_stage_changes_the_digest(field):
    stages = (replace(NET.stages[0], **{field: OTHER_STAGE[field]}), *NET.stages[1:])
    assert digest(replace(NET, stages=stages)) != digest(NET)


@pytest.mark.parametrize(
    "part",
    [
        {"stem": Stem(kernel=5)},
        {"stem": Stem(stride=1)},
        {"head": Head(dropout=0.2)},
    ],
)
def test_every_field_of_stem_and_head_changes_the_digest(part):
    assert digest(replace(NET, **part)) != digest(NET)


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
            "  allowed: block, width, depth, stride, kernel, expand, se\n  did you mean 'kernel'?",
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
