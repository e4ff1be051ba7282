"""Every published network against a public implementation of it, with the same weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scalesearch.nn.blocks import BLOCKS
from scalesearch.nn.build import build
from scalesearch.nn.layers import DropPath, SamePad, SqueezeExcite
from scalesearch.nn.weights import load_weights
from tests.peers import CLASSIFIERS
from tests.references import LARGE, SMALL, Reference, difference, images, peer, small_peer

TOLERANCE = 1e-5


def loaded(net, state, build=build):
    """Our network with the given weights and no others, as it is built without any; the report."""
    with torch.device("meta"):
        model = build(net)
    model.to_empty(device="cpu")
    report = load_weights(model, state)
    assert report.complete
    assert len(report.loaded) == len(state) == len(model.state_dict())
    return model.eval(), report


def outputs(model, reference):
    with torch.no_grad():
        return model(images(reference))


def differences(references, peer):
    """Each reference whose outputs are not ours, with their difference."""
    wrong = {}
    for reference in references:
        theirs = peer(reference)
        wanted = outputs(theirs, reference)
        # Weak outputs would hide mistakes: logits have a size, and images differ in them.
        assert 0.1 < float(wanted.abs().max()) < 1000, reference.source
        assert difference(wanted[1:], wanted[:1].expand(3, -1)) > 0.1, reference.source
        ours, _ = loaded(reference.net, theirs.state_dict())
        deviation = difference(outputs(ours, reference), wanted)
        if not deviation < TOLERANCE:
            wrong[reference.source] = deviation
    return wrong


def test_outputs_are_the_references():
    assert differences(SMALL, small_peer) == {}


@pytest.mark.slow
def test_outputs_of_every_other_network_are_the_references():
    assert differences(LARGE, peer) == {}


def test_every_published_network_is_compared():
    assert set(CLASSIFIERS) <= {reference.ours for reference in (*SMALL, *LARGE)}


# One of each family, for what is looked at closely.
FAMILIES = {
    reference.source: reference
    for reference in SMALL
    if reference.source
    in {
        "timm:efficientnet_b0",
        "timm:tf_efficientnet_lite0",
        "timm:tf_efficientnetv2_s",
        "timm:mobilenetv1_100",
        "timm:mobilenetv2_100",
        "timm:resnet18",
        "timm:resnet50",
        "pytorchcv:wrn16_4",
    }
}


def test_gradients_are_the_references():
    wrong = {}
    for source, reference in FAMILIES.items():
        wrong |= {
            (source, name): share
            for name, share in gradient_differences(reference)
            if not share < 1e-4
        }
    assert wrong == {}


def gradient_differences(reference):
    """Each parameter of ours with the difference of its gradient from the reference's."""
    theirs = small_peer(reference)
    state = {name: value.clone() for name, value in theirs.state_dict().items()}
    net = reference.net
    net = replace(net, drop_path=0.0, head=replace(net.head, dropout=0.0))
    ours, report = loaded(net, state)
    labels = torch.arange(4) * 2
    for model in (theirs, ours):
        model.zero_grad()
        F.cross_entropy(model.train()(images(reference)), labels).backward()
    wanted = {name: parameter.grad.clone() for name, parameter in theirs.named_parameters()}
    theirs.eval().load_state_dict(state)  # shared by tests: as it was before
    # A bias that the next norm takes away has a gradient of 0, and rounding alone in it.
    least = 1e-6 * max(float(grad.abs().max()) for grad in wanted.values())
    assert len(wanted) == len(list(ours.parameters()))
    for name, parameter in ours.named_parameters():
        yield name, difference(parameter.grad, wanted[report.names[name]], least)


# Mistakes that somebody could make in a description or a module. Each keeps every shape, so that
# the comparison of outputs alone can find it.


def other_field(**choices):
    """A field that holds the other of two values."""
    ((key, (one, two)),) = choices.items()
    return lambda net: build(replace(net, **{key: two if getattr(net, key) == one else one}))


def without_squeeze(net):
    model = build(net)
    for module in model.modules():
        if isinstance(module, SqueezeExcite):
            module.forward = lambda x: x
    return model


def without_shortcuts(net):
    model = build(net)
    for module in model.modules():
        if isinstance(module, DropPath):
            module.forward = lambda x, branch: branch
    return model


def with_strides_moved(net):
    """Each stride on another convolution, such as a bottleneck's first, as Caffe had it.

    Never on a 1x1 after the right one: there it would be no mistake.
    """
    moves = {
        "mbconv": lambda blocks: (blocks[0].depthwise, blocks[0].expand),
        "separable": lambda blocks: (blocks[0].depthwise, blocks[1].depthwise),
        "fused_mbconv": lambda blocks: (blocks[0].expand, blocks[0].project),
        "basic": lambda blocks: (blocks[0].first, blocks[0].second),
        "wide": lambda blocks: (blocks[0].first, blocks[0].second),
        "bottleneck": lambda blocks: (blocks[0].spatial, blocks[0].reduce),
    }
    assert set(moves) == set(BLOCKS) - {"identity"}
    model = build(net)
    for stage, blocks in zip(net.stages, model.stages, strict=True):
        if stage.stride > 1:
            right, wrong = moves[stage.block](blocks)
            right.conv.stride, wrong.conv.stride = (1, 1), (stage.stride, stage.stride)
            if net.padding == "same":
                right.pad = SamePad(stage.kernel, 1)
    return model


def with_another_pooling(net):
    model = build(net)
    model.stem_pool = nn.MaxPool2d(2, 2, ceil_mode=True)
    return model


def with_raw_shortcuts(net):
    """Projections that take a block's input itself instead of the activated one."""
    model = build(net)
    for block in (block for stage in model.stages for block in stage):
        block.projects = False
    return model


MISTAKES = {
    "padding": other_field(padding=("same", "symmetric")),
    "norm_eps": other_field(norm_eps=(1e-3, 1e-5)),
    "activation": other_field(activation=("relu", "relu6")),
    "squeeze": without_squeeze,
    "shortcut": without_shortcuts,
    "stride": with_strides_moved,
    "pool": with_another_pooling,
    "entry": with_raw_shortcuts,
}


def is_possible(mistake: str, reference: Reference) -> bool:
    net = reference.net
    return {
        "squeeze": any(stage.se for stage in net.stages),
        "shortcut": net.stages[0].block != "separable",
        "pool": net.stem.pool > 1,
        "entry": net.stages[0].block == "wide",
    }.get(mistake, True)


def test_planted_mistakes_are_caught():
    missed = []
    for source, reference in FAMILIES.items():
        theirs = small_peer(reference)
        wanted = outputs(theirs, reference)
        for mistake, plant in MISTAKES.items():
            if is_possible(mistake, reference):
                wrong, _ = loaded(reference.net, theirs.state_dict(), plant)
                if not difference(outputs(wrong, reference), wanted) > 10 * TOLERANCE:
                    missed.append((source, mistake))
    assert missed == []
