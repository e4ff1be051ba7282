"""effdet's names for the weights of detectors, and loading by them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scalesearch.arch.detector import Detector
from scalesearch.arch.neck import Neck
from scalesearch.arch.published import published
from scalesearch.errors import UserError
from scalesearch.nn import weight_files
from scalesearch.nn.build import build
from scalesearch.nn.weight_names import effdet_names, names_in
from scalesearch.nn.weights import load_weights
from tests.effdets import config, effdet

D0 = published("efficientdet_d0")


def described(net):
    with torch.device("meta"):
        return build(net).state_dict()


def theirs(name, **changes):
    with torch.device("meta"):
        model = effdet.EfficientDet(config(name, **changes), pretrained_backbone=False)
    return model.state_dict()


# One weight of each kind, found by hand in effdet's efficientdet.py.
BY_HAND = {
    "neck.extra.3.conv.weight": "fpn.resample.3.conv.conv.weight",
    "neck.extra.3.norm.running_mean": "fpn.resample.3.conv.bn.running_mean",
    "neck.layers.0.joints.4.resample.1.conv.bias": (
        "fpn.cell.0.fnode.4.combine.resample.1.conv.conv.bias"
    ),
    "neck.layers.0.joints.4.resample.1.norm.weight": (
        "fpn.cell.0.fnode.4.combine.resample.1.conv.bn.weight"
    ),
    "neck.layers.2.joints.7.fusion.weights": "fpn.cell.2.fnode.7.combine.edge_weights",
    "neck.layers.1.joints.0.conv.depthwise.weight": (
        "fpn.cell.1.fnode.0.after_combine.conv.conv_dw.weight"
    ),
    "neck.layers.1.joints.0.conv.pointwise.bias": (
        "fpn.cell.1.fnode.0.after_combine.conv.conv_pw.bias"
    ),
    "neck.layers.1.joints.0.norm.weight": "fpn.cell.1.fnode.0.after_combine.conv.bn.weight",
    "class_head.convs.2.pointwise.bias": "class_net.conv_rep.2.conv_pw.bias",
    "box_head.norms.1.4.running_var": "box_net.bn_rep.1.4.bn.running_var",
    "box_head.predict.depthwise.weight": "box_net.predict.conv_dw.weight",
    "class_head.predict.pointwise.weight": "class_net.predict.conv_pw.weight",
}


def test_names_by_hand():
    assert effdet_names(BY_HAND) == BY_HAND
    assert effdet_names(["stem.conv.weight", "backbone.stem.conv.weight"]) == {}


def test_every_weight_of_a_named_detector_is_found(subtests):
    for name in ("efficientdet_d0", "efficientdet_d3", "efficientdet_d7x", "efficientdet_lite0"):
        ours, other = described(published(name)), theirs(f"tf_{name}")
        names = names_in(other, ours).theirs
        with subtests.test(name):
            assert sorted(names.values()) == sorted(other)
            assert all(other[names[key]].shape == value.shape for key, value in ours.items())


def test_a_detector_on_a_resnet():
    """The backbone has the names that its own library gives it."""
    ours = described(Detector(backbone=published("resnet50"), neck=Neck(width=88, depth=4)))
    other = theirs("resdet50", separable_conv=True)
    names = names_in(other, ours).theirs
    assert names["backbone.stages.0.0.reduce.conv.weight"] == "backbone.layer1.0.conv1.weight"
    assert sorted(names.values()) == sorted(other)


def test_weights_of_a_detector_that_effdet_trained(monkeypatch):
    """`effdet:NAME` loads, and is checked by what the network computes."""
    small = {"fpn_cell_repeats": 1, "box_class_repeats": 1}
    torch.manual_seed(0)
    peer = effdet.EfficientDet(
        config("tf_efficientdet_d0", (128, 128), **small), pretrained_backbone=False
    ).eval()
    monkeypatch.setitem(weight_files.PEERS, "effdet", lambda name: peer)
    net = replace(D0, neck=replace(D0.neck, depth=1), heads=replace(D0.heads, depth=1))
    assert load_weights(build(net), "effdet:tf_efficientdet_d0").complete
    # Other classes: the last convolution of the class head stays.
    few = build(replace(net, num_classes=5))
    report = load_weights(few, "effdet:tf_efficientdet_d0", strict=False)
    assert [m.name for m in report.mismatched] == [
        "class_head.predict.pointwise.weight",
        "class_head.predict.pointwise.bias",
    ]
    assert report.missing == report.unexpected == ()
    assert few.class_head.predict.pointwise.out_channels == 45
    # Another padding has the same weights and computes something else.
    other = replace(net, backbone=replace(net.backbone, padding="symmetric"))
    with pytest.raises(UserError, match="fit, but the network computes something else"):
        load_weights(build(other), "effdet:tf_efficientdet_d0")
    with pytest.raises(UserError, match="the weights do not fit the network") as caught:
        load_weights(build(D0), "effdet:tf_efficientdet_d0")
    named = "neck.layers.1.joints.0.fusion.weights (fpn.cell.1.fnode.0.combine.edge_weights)"
    assert named in str(caught.value)


def test_a_classifiers_weights_into_a_detectors_backbone():
    """Everything but its head, as detectors are trained from."""
    net = published("efficientdet_d0", padding="symmetric")
    classifier = build(published("efficientnet_b0", padding="symmetric"))
    model = build(net)
    report = load_weights(model.backbone, classifier.state_dict(), strict=False)
    assert report.missing == report.mismatched == ()
    assert {name.partition(".")[0] for name in report.unexpected} == {"head", "classifier"}


def test_effdet_by_name_tells_what_it_knows():
    with pytest.raises(UserError) as caught:
        load_weights(build(D0), "effdet:tf_efficientdet_d9")
    assert str(caught.value) == (
        "effdet has no detector 'tf_efficientdet_d9'\n  did you mean 'tf_efficientdet_d7'?"
    )
