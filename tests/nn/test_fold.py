from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from torch import nn

import scalesearch as ss
from scalesearch.arch.backbone import PADDINGS
from scalesearch.arch.published import families, published
from scalesearch.nn.fold import fold
from tests.exporters.networks import (
    NECKS,
    difference,
    images_for,
    of_size,
    randomised,
    spread,
    tiny_detector,
)
from tests.peers import CLASSIFIERS
from tests.strategies import backbones

FIRST = [names[0] for names in families().values() if names[0] in CLASSIFIERS]


def test_every_family_folded_gives_the_same_outputs(subtests):
    for number, name in enumerate([*FIRST, "resnet50"]):
        padding = PADDINGS[number % 2]
        net = published(name, padding=padding, num_classes=7, resolution=32)
        model = randomised(net).train()
        before = copy.deepcopy(model.state_dict())
        folded = fold(model)
        with subtests.test(f"{name} {padding}"), torch.no_grad():
            # The original can be trained on.
            assert model.training
            assert all(torch.equal(value, before[k]) for k, value in model.state_dict().items())
            assert not folded.training
            assert difference(folded(images_for(net)), model.eval()(images_for(net))) < 1e-5
            # A norm before its convolution cannot be folded into the one behind an activation.
            names = [key for key, part in folded.named_modules() if type(part) is nn.BatchNorm2d]
            assert all("entry" in key or key == "head.norm" for key in names)
            assert bool(names) == name.startswith("wrn")


@settings(max_examples=40, deadline=None)
@given(net=backbones())
def test_any_network_folded_is_the_same_function(net):
    model = randomised(net).double()
    images = images_for(net).double()
    with torch.no_grad():
        torch.testing.assert_close(fold(model)(images), model(images), rtol=1e-9, atol=1e-9)


def test_a_detector_folded_is_the_same_function(subtests):
    for number, (kind, fusion) in enumerate(NECKS):
        net = tiny_detector(kind, fusion, norm_bias=number % 2 == 1)
        model = spread(net).double()
        folded = fold(model)
        images = of_size(net, 2, (64, 96)).double()
        with subtests.test(f"{kind} {fusion}"), torch.no_grad():
            for got, wanted in zip(folded(images), model(images), strict=True):
                torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
            # The norms of heads stay: their convolutions are shared by all levels.
            names = [name for name, part in folded.named_modules() if type(part) is nn.BatchNorm2d]
            levels, heads = 5, 2
            assert len(names) == levels * heads * net.heads.depth
            assert all(name.split(".")[1] == "norms" for name in names)


def test_group_norms_depend_on_the_image_and_stay():
    net = tiny_detector(norm="group")
    model = ss.build(net).eval().double()
    folded = fold(model)
    before, after = (
        sum(isinstance(part, nn.GroupNorm) for part in one.modules()) for one in (model, folded)
    )
    assert before == after > 0
    images = of_size(net, 2, (64, 64)).double()
    with torch.no_grad():
        for got, wanted in zip(folded(images), model(images), strict=True):
            assert difference(got, wanted) < 1e-9


def test_one_layer_by_hand():
    """Weight 3, mean 4, variance 4 - eps, scale 6, shift 7: (3x - 4) / 2 * 6 + 7 = 9x - 5."""
    layer = nn.Sequential(randomised(published("mobilenet_v1", resolution=32)).stem)
    (stem,) = layer
    stem.conv = nn.Conv2d(1, 1, 1, bias=False)
    stem.norm = nn.BatchNorm2d(1)
    for tensor, value in (
        (stem.conv.weight, 3.0),
        (stem.norm.running_mean, 4.0),
        (stem.norm.running_var, 4.0 - stem.norm.eps),
        (stem.norm.weight, 6.0),
        (stem.norm.bias, 7.0),
    ):
        nn.init.constant_(tensor, value)
    conv = fold(layer)[0].conv
    assert conv.weight.item() == pytest.approx(9.0)
    assert conv.bias.item() == pytest.approx(-5.0)


def test_it_is_public_channels_last_and_may_be_folded_again():
    net = published("resnet18", num_classes=3, resolution=32)
    folded = ss.fold(ss.build(net))
    weights = [m.weight for m in folded.modules() if isinstance(m, nn.Conv2d)]
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    with torch.no_grad():
        assert torch.equal(fold(folded)(images_for(net)), folded(images_for(net)))


def test_what_is_not_a_network_of_ours_is_refused():
    for other in (nn.Linear(2, 2), published("mobilenet_v1")):
        with pytest.raises(ValueError, match=f"{type(other).__name__} has no batch norms"):
            fold(other)
