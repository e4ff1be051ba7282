"""Detectors as modules: effdet's raw outputs with effdet's weights, and how training starts."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings

from scalesearch.arch import walk as walk_module
from scalesearch.arch.backbone import Backbone, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.neck import Neck
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk
from scalesearch.cost.closed_form import cost
from scalesearch.nn.build import build
from scalesearch.nn.weights import load_weights
from tests.detectors import SIDES, detectors
from tests.effdets import config, effdet, flat
from tests.nn.correspondence import ran, walked
from tests.rule_mistakes import mistakes_in

SMALL = Detector(
    backbone=Backbone(
        stem=Stem(width=4),
        stages=tuple(Stage(block="separable", width=8, stride=2) for _ in range(3)),
        resolution=32,
    ),
    neck=Neck(width=8, depth=1, min_level=2, max_level=5),
    heads=Heads(depth=2),
    anchors=Anchors(octaves=2, ratios=(1.0, 2.0, 0.5)),
    num_classes=3,
)


@lru_cache
def peer(name, size, **changes):
    """effdet's detector for images of this size, its weights, norms and shares drawn at random."""
    torch.manual_seed(0)
    model = effdet.EfficientDet(config(name, size, **changes), pretrained_backbone=False)
    for key, p in model.named_parameters():
        if key.endswith("edge_weights"):
            p.data.uniform_(-0.2, 1.0)
        elif p.ndim == 1:
            p.data.add_(torch.randn_like(p) * 0.1)
    with torch.no_grad():  # statistics of such images, so that signals neither grow nor die
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        model.train()(images(size))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return model.eval()


def images(size, channels=3):
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


def check_against(name, net, size, **changes):
    theirs, ours = peer(name, size, **changes), build(net).eval()
    assert load_weights(ours, theirs.state_dict()).complete
    with torch.no_grad():
        logits, deltas = ours(images(size))
        wanted = theirs(images(size))
    for got, levels, values in zip((logits, deltas), wanted, (net.num_classes, 4), strict=True):
        want = flat(levels, values)
        assert got.shape == want.shape
        assert float((got - want).abs().max()) <= 1e-4 * float(want.abs().max())
    return logits


@pytest.mark.parametrize(
    ("name", "ours", "fields", "size"),
    [
        ("tf_efficientdet_d0", "efficientdet_d0", {}, (128, 128)),
        # Neither square nor divisible by 32.
        ("tf_efficientdet_d0", "efficientdet_d0", {}, (100, 164)),
        ("efficientdet_d0", "efficientdet_d0", {"padding": "symmetric"}, (128, 128)),
        ("efficientdet_d0", "efficientdet_d0", {"padding": "symmetric"}, (164, 100)),
        ("tf_efficientdet_lite0", "efficientdet_lite0", {}, (128, 128)),
    ],
)
def test_raw_outputs_are_effdets(name, ours, fields, size):
    check_against(name, published(ours, **fields), size)


@pytest.mark.parametrize(
    ("theirs", "neck"),
    [
        ("bifpn_attn", {"fusion": "softmax"}),
        ("bifpn_sum", {"fusion": "sum"}),
        ("pan_fa", {"kind": "panet"}),
        ("pan_sum", {"kind": "panet", "fusion": "sum"}),
    ],
)
def test_other_necks_and_fusions_are_effdets(theirs, neck):
    """`attn` is a softmax of the weights of a node's inputs."""
    net = published("efficientdet_d0", neck={"depth": 2, **neck})
    check_against("tf_efficientdet_d0", net, (96, 128), fpn_name=theirs, fpn_cell_repeats=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "fields", "size"),
    [
        ("d1", {}, (128, 128)),
        ("d2", {}, (256, 128)),
        ("d3", {}, (160, 256)),
        ("d6", {}, (128, 128)),
        ("d7x", {}, (256, 256)),  # with a P8 of one pixel
        ("d2", {"padding": "symmetric"}, (132, 96)),
        ("d3", {"padding": "symmetric"}, (96, 128)),
    ],
)
def test_raw_outputs_of_larger_ones_are_effdets(number, fields, size):
    prefix = "" if fields else "tf_"
    net = published(f"efficientdet_{number}", **fields)
    check_against(f"{prefix}efficientdet_{number}", net, size)


@pytest.mark.slow
@pytest.mark.parametrize("number", ["lite3", "d4", "d7"])
def test_all_others_have_effdets_weights(number):
    net = published(f"efficientdet_{number}")
    with torch.device("meta"):
        theirs = effdet.EfficientDet(
            config(f"tf_efficientdet_{number}", (64, 64)), pretrained_backbone=False
        )
        ours = build(net)
    wanted = {name: p.shape for name, p in theirs.state_dict().items()}
    assert sum(map(torch.Size.numel, wanted.values())) == sum(
        t.numel() for t in ours.state_dict().values()
    )
    assert cost(net).params == sum(p.numel() for p in theirs.parameters())


def test_predictions_are_ordered_by_level_row_column_and_anchor():
    """A head whose last convolution outputs the number of each of its channels."""
    net = build(SMALL).eval()
    last = net.class_head.predict.pointwise
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.arange(float(len(last.bias))))
        logits, deltas = net(images((32, 48)))
    pixels = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2  # P2 to P5
    assert logits.shape == (2, pixels * 6, 3)
    assert deltas.shape == (2, pixels * 6, 4)
    # Anchor by anchor, class by class, at every pixel alike.
    assert torch.equal(logits[0].reshape(pixels, 18), torch.arange(18.0).expand(pixels, 18))


def test_pixels_come_row_by_row():
    """One level, one anchor, one class, and a neck that hands on where it is."""
    net = build(replace(SMALL, anchors=Anchors(octaves=1, ratios=(1.0,)), num_classes=1)).eval()
    maps = [torch.zeros(1, 8, 2 ** (3 - i), 2 ** (4 - i)) for i in range(4)]
    with torch.no_grad():
        before = net.class_head(maps)[0, :, 0]
        maps[0][0, :, 1, 3] = 9.0  # row 1, column 3 of P2, of 16 columns
        changed = net.class_head(maps)[0, :, 0]
    # A 3x3 convolution three times over reaches three pixels around.
    moved = (changed != before)[:128].reshape(8, 16).nonzero()
    assert moved[:, 0].max() <= 4
    assert (moved[:, 1].min(), moved[:, 1].max()) == (0, 6)
    assert not (changed != before)[128:].any()


def test_levels_share_convolutions_and_have_norms_of_their_own():
    head = build(SMALL).class_head
    assert len(head.convs) == 2
    assert [len(norms) for norms in head.norms] == [4, 4]
    assert sum(isinstance(m, torch.nn.Conv2d) for m in head.modules()) == 2 * 2 + 2


@settings(max_examples=15, deadline=None)
@given(detectors(), SIDES, SIDES)
def test_any_detector_runs_and_has_the_described_params(net, height, width):
    model = build(net).eval()
    with torch.no_grad():
        logits, deltas = model(torch.randn(2, net.in_channels, height, width))
    pixels = sum(-(-height // 2**level) * -(-width // 2**level) for level in net.neck.levels)
    assert logits.shape == (2, pixels * net.anchors.count, net.num_classes)
    assert deltas.shape == (2, pixels * net.anchors.count, 4)
    assert sum(p.numel() for p in model.parameters()) == cost(net).params


@settings(max_examples=40, deadline=None)
@given(detectors(), SIDES, SIDES)
def test_what_runs_is_what_is_walked(net, height, width):
    """Every operation of backbone, neck and heads: name, order, inputs, sizes, options."""
    images = torch.randn(1, net.in_channels, height, width)
    assert ran(build(net), images) == walked(net, (height, width))


def test_every_mistake_in_the_graphs_of_necks_and_heads_is_seen(monkeypatch):
    net, size = replace(SMALL, heads=Heads(depth=1)), (37, 52)
    right = ran(build(net), torch.randn(1, 3, *size))
    assert walked(net, size) == right
    unseen, planted = [], 0
    for name in ("neck_layer", "head"):
        rule = getattr(walk_module, name)
        ops = {
            op.name: op for part in walk(net, size) if part.rule is rule for op in part.graph.ops
        }
        for words, wrong, _ in mistakes_in(rule, ops.values()):
            planted += 1
            with monkeypatch.context() as patched:
                patched.setattr(walk_module, name, wrong)
                if walked(net, size) == right:
                    unseen.append((name, words))
    assert unseen == []
    assert planted > 100


def test_images_of_a_batch_are_found_alone():
    model = build(SMALL).eval()
    batch = images((32, 32))
    with torch.no_grad():
        both = model(batch)
        for i in (0, 1):
            for all_of_it, one in zip(both, model(batch[i : i + 1]), strict=True):
                torch.testing.assert_close(all_of_it[i : i + 1], one, rtol=1e-4, atol=1e-5)


def test_training_starts_calm():
    """Every anchor has an object with a probability of 1 %, and every box is its anchor.

    Focal loss, Lin et al. 2017, 3.3 and 4.1.
    """
    for seed in range(3):
        torch.manual_seed(seed)
        model = build(published("efficientdet_d0", num_classes=10)).train()
        with torch.no_grad():
            logits, deltas = model(images((128, 128)))
        assert float(logits.sigmoid().mean()) == pytest.approx(0.01, rel=0.05)
        assert float(logits.sigmoid().max()) < 0.02
        assert float(deltas.abs().mean()) < 0.1


def test_everything_learns():
    """No weight of a detector is without a gradient once shares are above 0."""
    model = build(SMALL).train()
    logits, deltas = model(images((64, 64)))
    (logits.square().sum() + deltas.square().sum()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_the_same_seed_gives_the_same_weights():
    def weights_of(seed):
        torch.manual_seed(seed)
        return build(SMALL).state_dict()

    assert all(
        torch.equal(a, b)
        for a, b in zip(weights_of(0).values(), weights_of(0).values(), strict=True)
    )
    assert not torch.equal(
        weights_of(0)["class_head.predict.pointwise.weight"],
        weights_of(1)["class_head.predict.pointwise.weight"],
    )
