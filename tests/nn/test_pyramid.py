"""Necks as modules: resampling, fusion, and any table, against plain arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from scalesearch.arch.backbone import Backbone, Stem
from scalesearch.arch.detector import Detector
from scalesearch.arch.neck import FUSIONS, Neck, outputs
from scalesearch.arch.stage import Stage
from scalesearch.nn.pyramid import Fusion, Pyramid, Resample, norm, shrink_to
from tests.detectors import KINDS, detectors

NET = Detector(
    backbone=Backbone(
        stem=Stem(width=4),
        stages=tuple(Stage(block="separable", width=4 + i, stride=2) for i in (0, 1, 2)),
    ),
    neck=Neck(width=6, depth=2, min_level=2, max_level=6),
)


def drawn(module, seed=0):
    """The module in evaluation mode with weights and statistics of which none is trivial."""
    draw = torch.Generator().manual_seed(seed)
    for name, p in [*module.named_parameters(), *module.named_buffers()]:
        if p.is_floating_point():
            least = 0.5 if name.endswith("running_var") else -0.6
            p.data.uniform_(least, 1.2, generator=draw)
    return module.eval()


def maps_for(net, height, width, seed=0, batch=2):
    """Random feature maps as the backbone outputs them for an image of this size."""
    draw = torch.Generator().manual_seed(seed)
    maps = []
    for level, source in zip(net.neck.levels, net.sources, strict=False):
        side = [-(-pixels // 2**level) for pixels in (height, width)]
        channels = net.backbone.stages[source].width
        maps.append(torch.randn(batch, channels, *side, generator=draw))
    return maps


# Sizes.


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 5), st.booleans())
def test_pooling_reaches_any_coarser_level(height, width, steps, same):
    wanted = tuple(-(-side // 2**steps) for side in (height, width))
    x = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width)
    pooled = shrink_to(x, wanted, same=same)
    assert tuple(pooled.shape[-2:]) == wanted
    assert pooled.isfinite().all()
    # The largest of all is the last pixel: a window that covers the whole map must find it.
    assert pooled.max() == x.max()


@pytest.mark.parametrize(
    ("side", "same", "windows"),
    [
        # A window of 3 at a stride of 2. PyTorch pads both sides alike, TensorFlow the end first.
        (4, False, [(0, 1), (1, 3)]),
        (4, True, [(0, 2), (2, 3)]),
        (5, False, [(0, 1), (1, 3), (3, 4)]),
        (5, True, [(0, 1), (1, 3), (3, 4)]),
        (2, False, [(0, 1)]),
        (2, True, [(0, 1)]),
    ],
)
def test_windows_of_pooling(side, same, windows):
    x = torch.eye(side).reshape(1, side, side, 1)  # channel c is pixel c
    pooled = shrink_to(x, (len(windows), 1), same=same)[0, :, :, 0]
    actual = [pooled[:, i].nonzero().flatten().tolist() for i in range(len(windows))]
    assert actual == [list(range(first, last + 1)) for first, last in windows]


def test_a_side_that_stays_is_not_pooled_along():
    """A level of one row: only columns are pooled."""
    x = torch.tensor([[5.0, 1.0, 2.0, 7.0]]).reshape(1, 1, 1, 4)
    assert shrink_to(x, (1, 2), same=True).tolist() == [[[[5.0, 7.0]]]]
    assert shrink_to(x, (1, 2), same=False).tolist() == [[[[5.0, 7.0]]]]


def test_upsampling_repeats_the_nearest_pixel():
    resample = Resample(replace(NET, neck=replace(NET.neck, width=1)), 1)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    assert resample(x, (3, 4))[0, 0].tolist() == [
        [1.0, 1.0, 2.0, 2.0],
        [1.0, 1.0, 2.0, 2.0],
        [3.0, 3.0, 4.0, 4.0],
    ]
    assert resample(x, (2, 2)) is x


def test_a_projection_stands_before_the_change_of_size():
    """Where widths differ, and only there; with a bias where a norm makes it redundant."""
    resample = drawn(Resample(NET, 4))
    x = torch.randn(2, 4, 6, 6)
    projected = resample.norm(resample.conv(x))
    assert torch.equal(resample(x, (3, 3)), shrink_to(projected, (3, 3), same=False))
    assert torch.equal(resample(x, (12, 12)), F.interpolate(projected, (12, 12)))
    assert resample.conv.bias is None
    assert Resample(replace(NET, norm_bias=True), 4).conv.bias is not None
    assert not list(Resample(NET, 6).parameters())


# Fusion.


def shares_of(kind, weights):
    fusion = Fusion(kind, len(weights))
    fusion.weights.data = torch.tensor(weights)
    return fusion.shares(fusion.weights).tolist()


def test_shares_by_hand():
    """EfficientDet, section 3.3, equations 2 to 4."""
    assert shares_of("unbounded", [0.5, -2.0]) == [0.5, -2.0]
    assert shares_of("softmax", [0.0, 1.0986123]) == pytest.approx([0.25, 0.75])
    assert shares_of("fast", [1.0, 3.0]) == pytest.approx([1 / 4.0001, 3 / 4.0001])
    # ReLU first: what is below 0 has no share, and nothing at all is no division by 0.
    assert shares_of("fast", [-1.0, 2.0]) == pytest.approx([0.0, 2 / 2.0001])
    assert shares_of("fast", [-1.0, -1.0]) == [0.0, 0.0]


@pytest.mark.parametrize("kind", FUSIONS)
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_fusion_is_the_sum_by_shares(kind, count):
    fusion = Fusion(kind, count)
    maps = [torch.randn(2, 3, 4, 5) for _ in range(count)]
    before = [x.clone() for x in maps]
    shares = [1.0] * count
    if kind != "sum":
        torch.nn.init.uniform_(fusion.weights, -0.5, 1)
        shares = fusion.shares(fusion.weights).detach()
    wanted = sum(x * share for x, share in zip(maps, shares, strict=True))
    fused = fusion(maps)
    torch.testing.assert_close(fused, wanted)
    # What comes out is activated in place, so that no input may be in it.
    fused.data.zero_()
    assert all(torch.equal(x, old) for x, old in zip(maps, before, strict=True))


@pytest.mark.parametrize("kind", ["fast", "softmax", "unbounded"])
def test_weights_learn(kind):
    """Their gradient is that of the plain formula."""
    fusion = Fusion(kind, 3).double()
    torch.nn.init.uniform_(fusion.weights, 0.1, 1)
    maps = [torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]

    def fused(weights, *maps):
        return sum(x * share for x, share in zip(maps, fusion.shares(weights), strict=True))

    weights = fusion.weights.detach().clone().requires_grad_()
    out = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    wanted = torch.autograd.grad((fused(weights, *maps) * out).sum(), [weights, *maps])
    actual = torch.autograd.grad((fusion(maps) * out).sum(), [fusion.weights, *maps])
    for one, other in zip(actual, wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert (actual[0].abs() > 0).all()


def test_a_sum_learns_nothing():
    assert not list(Fusion("sum", 3).parameters())
    assert Fusion("fast", 3).weights.tolist() == [1.0, 1.0, 1.0]


# Whole necks.


def run_table(pyramid, net, maps):
    """A neck by its table alone, every operation not in place."""
    known = list(maps)
    for number in range(len(known), len(net.neck.levels)):
        size = [-(-side // 2) for side in known[-1].shape[-2:]]
        known.append(pyramid.extra[str(number)](known[-1], size))
    sizes = [x.shape[-2:] for x in known]
    for layer in pyramid.layers:
        held = list(known)
        for node, joint in zip(net.nodes, layer.joints, strict=True):
            size = sizes[node.level - net.neck.min_level]
            same = [joint.resample[str(i)](held[i], size) for i in node.inputs]
            count = len(same)
            shares = [1.0] * count
            if net.neck.fusion != "sum":
                shares = joint.fusion.shares(joint.fusion.weights)
            fused = sum(x * share for x, share in zip(same, shares, strict=True))
            active = {"silu": F.silu, "relu": F.relu, "relu6": F.relu6, "hardswish": F.hardswish}
            held.append(joint.norm(joint.conv(active[net.activation](fused))))
        known = [held[i] for i in outputs(net.nodes, net.neck.levels)]
    return known


@settings(max_examples=40, deadline=None)
@given(detectors(), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_any_table_is_run_as_it_reads(net, height, width, train):
    pyramid = drawn(Pyramid(net, net.nodes)).double().train(train)
    for module in pyramid.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # a level may be a single pixel
    maps = [x.double() for x in maps_for(net, height, width)]
    before = [x.clone() for x in maps]
    with torch.set_grad_enabled(train):
        actual = pyramid(maps)
        wanted = run_table(pyramid, net, before)
    levels = net.neck.levels
    for level, one, other in zip(levels, actual, wanted, strict=True):
        torch.testing.assert_close(one, other)
        assert one.shape == (2, net.neck.width, -(-height // 2**level), -(-width // 2**level))
    assert all(torch.equal(x, old) for x, old in zip(maps, before, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_everything_in_a_neck_learns(kind, fusion):
    """Every kernel and every weight of a fusion has a gradient; in-place work spoils none."""
    net = replace(
        NET, neck=replace(NET.neck, kind=kind, fusion=fusion, depth=1), activation="relu6"
    )
    pyramid = drawn(Pyramid(net, net.nodes)).double()
    for name, p in pyramid.named_parameters():
        if name.endswith("weights"):
            p.data.uniform_(0.5, 1.0)
    maps = [x.double().requires_grad_() for x in maps_for(net, 64, 96)]
    names, parameters = zip(*pyramid.named_parameters(), strict=True)
    draw = torch.Generator().manual_seed(3)
    ends = [torch.randn(x.shape, generator=draw, dtype=x.dtype) for x in pyramid(maps)]

    def gradients(outputs):
        total = sum((x * end).sum() for x, end in zip(outputs, ends, strict=True))
        return torch.autograd.grad(total, [*parameters, *maps])

    actual = gradients(pyramid(maps))
    wanted = gradients(run_table(pyramid, net, maps))
    for name, one, other in zip([*names, *"maps"], actual, wanted, strict=False):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")
    # A single input's share by softmax is 1 whatever its weight.
    alone = {
        f"layers.0.joints.{i}.fusion.weights" for i, n in enumerate(net.nodes) if len(n.inputs) == 1
    }
    idle = {name for name, g in zip(names, actual, strict=False) if not g.abs().sum() > 0}
    assert idle <= (alone if fusion == "softmax" else set())


def test_the_first_layer_projects_and_the_others_need_not():
    pyramid = Pyramid(NET, NET.nodes)
    projected = [
        {
            (j, int(i))
            for j, joint in enumerate(layer.joints)
            for i, resample in joint.resample.items()
            if list(resample.parameters())
        }
        for layer in pyramid.layers
    ]
    # P2 and P3 are 4 and 5 wide and P4 is 6, as wide as the neck; P5 is made of P4.
    wide = {(j, i) for j, node in enumerate(NET.nodes) for i in node.inputs if i in (0, 1)}
    assert projected == [wide, set()]
    assert list(pyramid.extra) == ["3", "4"]


@pytest.mark.parametrize(("width", "groups"), [(6, 3), (32, 2), (24, 3), (48, 3)])
def test_group_norm_takes_gcd_of_width_and_16_channels_together(width, groups):
    net = replace(NET, norm="group", norm_eps=1e-3, neck=replace(NET.neck, width=width))
    module = norm(net)
    x = torch.randn(2, width, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = x.reshape(2, groups, -1)
    mean, variance = together.mean(2, keepdim=True), together.var(2, keepdim=True, correction=0)
    wanted = (together - mean) / (variance + 1e-3).sqrt()
    torch.testing.assert_close(module.double()(x), wanted.reshape(x.shape))


def test_no_norm_of_a_neck_is_a_batch_norm_if_groups_are_wanted():
    module = Pyramid(replace(NET, norm="group"), NET.nodes)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in module.modules())
    groups = sum(isinstance(m, torch.nn.GroupNorm) for m in module.modules())
    norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in Pyramid(NET, NET.nodes).modules())
    assert groups == norms > 0
