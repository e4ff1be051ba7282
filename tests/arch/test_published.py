"""Published networks by name, each against public implementations, and what keywords change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torchvision
from torch import nn

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.detector import Heads
from scalesearch.arch.published import families, names, published
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from tests.peers import CLASSIFIERS, PEERS, described


def convolutions(net):
    """Channels, kernel, stride, groups and bias of every convolution in forward order."""
    return [
        (op.source.width, op.output.width, op.kernel, op.stride, op.groups, op.bias)
        for part in walk(net)
        for _ in range(part.repeats)
        for op in part.graph.ops
        if op.kind == "conv"
    ]


def theirs(peer):
    """The same of a public implementation, in the order in which it was made."""
    return [
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.groups, m.bias is not None)
        for m in peer.modules()
        if isinstance(m, nn.Conv2d)
    ]


@pytest.mark.parametrize(("name", "library"), PEERS)
def test_every_convolution_is_the_peers(name, library):
    net, peer = published(name), described(name, library)
    assert convolutions(net) == theirs(peer)
    classifiers = [m for m in peer.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in classifiers] == [
        (net.features, net.num_classes)
    ]
    assert cost(net).params == sum(p.numel() for p in peer.parameters())


def test_every_name_has_a_peer():
    assert {name for name, _ in PEERS} == set(CLASSIFIERS)


# torchvision documents the parameters and the multiply-adds (G) of its weights at the size that
# they were trained for.
DOCUMENTED = [name for name in CLASSIFIERS if name in torchvision.models.list_models()]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_counts_are_those_that_torchvision_documents(name):
    weights = torchvision.models.get_model_weights(name).DEFAULT
    side = weights.transforms().crop_size[0]
    spent = cost(published(name), size=(side, side))
    assert spent.params == weights.meta["num_params"]
    assert round(spent.flops / 1e9, 3) == weights.meta["_ops"]


def test_torchvision_documents_all_but_lite_mobilenet_v1_and_wide_networks():
    missing = {name for name in CLASSIFIERS if name not in DOCUMENTED}
    assert missing == {
        *(f"efficientnet_lite{i}" for i in range(5)),
        "mobilenet_v1",
        *("wrn_16_8", "wrn_28_10", "wrn_40_4"),
    }


def test_names_are_listed_by_family():
    assert [name for family in families().values() for name in family] == list(names())
    assert families()["resnet"] == ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@pytest.mark.parametrize("name", names())
def test_keywords_replace_fields(name):
    own = published(name)
    net = published(name, num_classes=7, in_channels=1, resolution=64)
    if name in CLASSIFIERS:
        assert net == replace(own, num_classes=7, in_channels=1, resolution=64)
    else:
        backbone = replace(own.backbone, in_channels=1, resolution=64)
        assert net == replace(own, num_classes=7, backbone=backbone)


def test_parts_of_a_detector_are_replaced_whole_or_by_some_of_their_fields():
    own = published("efficientdet_d1")
    assert published("efficientdet_d1", neck={"kind": "fpn"}).neck == replace(own.neck, kind="fpn")
    assert published("efficientdet_d1", heads=Heads(depth=1)).heads == Heads(depth=1)
    wide = published("efficientdet_d1", backbone={"stem": {"width": 40}}, resolution=96)
    assert wide.backbone == replace(own.backbone, stem=Stem(width=40), resolution=96)
    resnet = published("efficientdet_d1", backbone=published("resnet50"))
    assert resnet.backbone.stages == published("resnet50").stages


def test_stem_and_head_are_replaced_whole_or_by_some_of_their_fields():
    own = published("resnet18")
    # The stem that ResNets have on CIFAR's small images.
    small = published("resnet18", stem={"kernel": 3, "stride": 1, "pool": 1})
    assert small == replace(own, stem=Stem(width=64, kernel=3, stride=1, pool=1))
    assert published("resnet18", stem=Stem(width=16)).stem == Stem(width=16)
    headed = published("efficientnet_b3", head={"dropout": 0.0})
    assert headed.head == Head(width=1536)
    assert published("efficientnet_b3", head={"width": 0, "norm": True}).features == 384
    assert published("wrn_28_10", head={"dropout": 0.3}).head == Head(
        width=0, norm=True, dropout=0.3
    )


def test_replacing_leaves_the_mapping_that_was_given_alone():
    given = {"kernel": 3}
    published("resnet18", stem=given)
    assert given == {"kernel": 3}


# tensorflow/tpu, EfficientNet: batch_norm_momentum=0.99 (of what is kept), batch_norm_epsilon=1e-3;
# torch.nn.BatchNorm2d: momentum 0.1 (of what is new), eps 1e-5.
TENSORFLOW, TORCH = ("same", 1e-3, pytest.approx(0.01)), ("symmetric", 1e-5, 0.1)


def constants(net):
    return net.padding, net.norm_eps, net.norm_momentum


def test_padding_brings_the_batch_norm_of_its_library():
    assert constants(published("efficientnet_b0")) == TORCH
    assert constants(published("efficientnet_b0", padding="same")) == TENSORFLOW
    assert constants(published("efficientnet_b0", padding="symmetric")) == TORCH
    assert constants(published("efficientnet_lite0")) == TENSORFLOW
    assert constants(published("efficientnet_lite0", padding="same")) == TENSORFLOW
    assert constants(published("efficientnet_lite0", padding="symmetric")) == TORCH
    # torchvision builds EfficientNetV2 with eps=1e-3 and PyTorch's momentum.
    assert constants(published("efficientnet_v2_s")) == ("symmetric", 1e-3, 0.1)
    assert constants(published("efficientnet_v2_s", padding="same")) == TENSORFLOW


def test_what_is_said_of_the_norm_holds_whatever_the_padding():
    own = published("efficientnet_b0", padding="same", norm_eps=1e-5)
    assert constants(own) == ("same", 1e-5, pytest.approx(0.01))
    lite = published("efficientnet_lite0", padding="symmetric", norm_momentum=0.02)
    assert constants(lite) == ("symmetric", 1e-5, 0.02)


def test_other_families_keep_their_norm_whatever_the_padding():
    assert constants(published("mobilenet_v2", padding="same")) == ("same", 1e-5, 0.1)
    assert constants(published("resnet18", padding="same")) == ("same", 1e-5, 0.1)


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(UserError) as told:
        published("efficientnet_b9")
    first, allowed, hint = str(told.value).split("\n  ")
    assert first == "no published architecture is called 'efficientnet_b9'"
    for word in ("resnet18", "wrn_D_K", "scalesearch list", "a file.yaml"):
        assert word in allowed
    assert hint.startswith("did you mean 'efficientnet_b")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("resnet51", "did you mean 'resnet50'?"),
        ("EfficientNet-B0", "did you mean 'efficientnet_b0'?"),
        ("mobilenetv2", "did you mean 'mobilenet_v2'?"),
        ("efficientnetv2_s", "did you mean 'efficientnet_v2_s'?"),
        ("wrn28_10", "did you mean 'wrn_28_10'?"),
        ("efficientdet_d8", "did you mean 'efficientdet_d7'?"),
        ("efficientdet-lite0", "did you mean 'efficientdet_lite0'?"),
    ],
)
def test_hints_of_every_family(wrong, hint):
    with pytest.raises(UserError) as told:
        published(wrong)
    assert str(told.value).split("\n  ")[-1] == hint


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"num_class": 10},
            f"num_class: unknown key 'num_class'\n"
            f"  allowed: {', '.join(Backbone.__dataclass_fields__)}\n"
            f"  did you mean 'num_classes'?",
        ),
        (
            {"stem": {"kernle": 3}},
            "stem.kernle: unknown key 'kernle'\n  allowed: width, kernel, stride, pool, norm\n"
            "  did you mean 'kernel'?",
        ),
        (
            {"stem": {"pool": 0}},
            "stem.pool: 0 cannot be used\n  allowed: a whole number >= 1",
        ),
        (
            {"head": {"width": -8}},
            "head.width: -8 cannot be used\n  allowed: a whole number >= 0",
        ),
        ({"head": 1280}, "head: 1280 cannot be a head\n  allowed: key: value pairs"),
        ({"padding": "valid"}, "padding: 'valid' is not known\n  allowed: symmetric, same"),
        ({"stages": [{"width": 8}]}, "stages[0]: {'width': 8} cannot be used\n  allowed: a Stage"),
    ],
)
def test_a_wrong_field_names_its_place(fields, text):
    with pytest.raises(UserError) as told:
        published("efficientnet_b0", **fields)
    assert str(told.value) == text


def test_stages_are_replaced_whole():
    net = published("efficientnet_b0", stages=[Stage(width=8)])
    assert net.stages == (Stage(width=8),)


def test_families_hold_every_name_once():
    found = families()
    assert tuple(name for members in found.values() for name in members) == names()
    assert found["resnet"] == ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
