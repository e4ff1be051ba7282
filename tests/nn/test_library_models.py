"""Builders of timm and torchvision against the libraries' own models."""

import pytest
import timm
import torch
from torchvision import models

from scalesearch.arch.factory import Factory, build_module, declared


def built(name, **fields):
    with torch.device("meta"):
        return build_module(Factory(factory=name, **fields))


def shapes(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def params(model):
    return sum(p.numel() for p in model.parameters())


def test_at_1_they_are_the_librarys_models():
    for name in ("mobilenet_v2", "efficientnet_b0", "mobilenet_v3_large", "mnasnet1_0"):
        theirs = models.get_model(name, num_classes=7)
        assert shapes(built(f"torchvision:{name}", num_classes=7)) == shapes(theirs)
    for name in ("mobilenetv3_large_100", "efficientnet_b0", "mobilenetv2_100"):
        theirs = timm.create_model(name, num_classes=7, in_chans=1)
        assert shapes(built(f"timm:{name}", num_classes=7, in_channels=1)) == shapes(theirs)


@pytest.mark.parametrize(
    ("name", "multipliers", "other"),
    [
        ("torchvision:efficientnet_b0", {"depth": 1.1}, "efficientnet_b1"),
        ("torchvision:efficientnet_b0", {"depth": 1.2, "width": 1.1}, "efficientnet_b2"),
        ("torchvision:resnet50", {"width": 2}, "wide_resnet50_2"),
        ("torchvision:mnasnet1_0", {"width": 0.5}, "mnasnet0_5"),
        ("timm:efficientnet_b0", {"depth": 1.2, "width": 1.1}, "timm:efficientnet_b2"),
        ("timm:mobilenetv2_100", {"width": 1.4}, "timm:mobilenetv2_140"),
    ],
)
def test_multiplied_they_are_other_models_of_the_library(name, multipliers, other):
    library, _, known = other.rpartition(":")
    theirs = timm.create_model(known) if library else models.get_model(known)
    assert params(built(name, **multipliers)) == params(theirs)


def test_they_say_what_they_can_scale():
    scaled = {
        "torchvision:mobilenet_v2": ("width",),
        "torchvision:resnet18": ("depth",),
        "torchvision:resnet50": ("depth", "width"),
        "torchvision:shufflenet_v2_x1_0": (),
        "torchvision:efficientnet_v2_s": (),
        "timm:mobilenetv3_large_100": ("depth", "width"),
        "timm:fbnetv3_b": ("width",),
        "timm:resnet50": (),
    }
    asked = {name: declared(Factory(factory=name))[:-2] for name in scaled}
    assert asked == scaled


def test_other_channels_replace_the_first_convolution_alone():
    grey, colour = (built("torchvision:mobilenet_v2", in_channels=n) for n in (1, 3))
    different = {k for k, v in shapes(grey).items() if v != shapes(colour)[k]}
    assert different == {"features.0.0.weight"}
    assert shapes(grey)["features.0.0.weight"] == (32, 1, 3, 3)
