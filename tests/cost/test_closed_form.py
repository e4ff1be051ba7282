"""The closed form against fvcore on the built model, published counts, and 4,100 real networks."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch import blocks
from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.arch.walk import walk
from scalesearch.cost.closed_form import cost, stage_cost
from scalesearch.cost.composition import block_cost
from scalesearch.cost.counts import block_counts, counts
from scalesearch.cost.measured import measure_counts
from scalesearch.nn.build import build
from scalesearch.spaces.backbone import BackboneSpace
from tests.detectors import detectors
from tests.peers import CLASSIFIERS, described, weightless
from tests.rule_mistakes import PROBE_SIZE, every_mistake, probe
from tests.strategies import SIZES, backbones

ROOT = Path(__file__).parents[2]
CSV = ROOT.parent / "shared" / "data" / "mbconv_imagenet.csv"
# The skeleton of the file's networks, which is that of EfficientNet-B0 (Accel-NASBench, DAC 2024).
SKELETON = [(16, 1), (24, 2), (40, 2), (80, 2), (112, 1), (192, 2), (320, 1)]


def counted(net, size=None):
    """fvcore's counts on the built network, whose weights decide nothing."""
    with torch.device("meta"):
        described = build(net)
    size = size or (net.resolution, net.resolution)
    return measure_counts(weightless(described), (1, net.in_channels, *size))


def test_efficientnet_b0_at_224():
    # fvcore 0.1.5.post20221221 on timm's efficientnet_b0 at 224 pixels.
    spent = cost(published("efficientnet_b0"))
    assert spent.counts() == {
        "flops": 385_814_752,
        "flops_total": 399_352_864,
        "params": 5_288_548,
        "activations": 6_748_036,
    }


# Networks that fvcore counts in less than a second at their own resolution; the others are counted
# there in a slow test, and here on a small image that is not square.
CHEAP = [name for name in CLASSIFIERS if cost(published(name)).flops < 2e9]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_published_network_is_counted_as_fvcore_does(name):
    net = published(name)
    size = None if name in CHEAP else (33, 47)
    assert cost(net, size=size).counts() == counted(net, size)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in CHEAP])
def test_a_large_published_network_is_counted_at_its_resolution(name):
    net = published(name)
    assert cost(net).counts() == counted(net)


@pytest.mark.parametrize("name", ["wrn_10_1", "wrn_40_2", "wrn_16_10", "resnet18", "mobilenet_v2"])
def test_other_images_and_classes_are_counted_as_fvcore_does(name):
    net = published(name, in_channels=1, num_classes=7)
    assert cost(net, size=(47, 33)).counts() == counted(net, (47, 33))


def theirs(name, library, size):
    return measure_counts(weightless(described(name, library)), (1, 3, *size))


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("efficientnet_b0", "timm"),
        ("efficientnet_lite0", "timm"),
        ("mobilenet_v1", "timm"),
        ("mobilenet_v2", "timm"),
        ("resnet18", "torchvision"),
        ("resnet50", "torchvision"),
    ],
)
def test_public_implementations_count_the_same(name, library):
    assert theirs(name, library, (97, 65)) == cost(published(name), size=(97, 65)).counts()


def test_torchvision_counts_the_same_but_for_the_pooling_in_squeeze_excite():
    # torchvision pools there with AdaptiveAvgPool2d, of which fvcore counts every input value; we
    # and timm take a mean, of which it counts nothing.
    name, size = "efficientnet_b0", (97, 65)
    pooled = sum(
        part.repeats * op.source.values
        for part in walk(published(name), size)
        for op in part.graph.ops
        if op.kind == "mean"
    )
    own = cost(published(name), size=size).counts()
    assert theirs(name, "torchvision", size) == own | {"flops_total": own["flops_total"] + pooled}


def test_pytorchcv_counts_the_same_but_for_the_last_pooling():
    # It pools with AvgPool2d(8), of which fvcore counts nothing; ours is adaptive: 8 x 8 pixels of
    # 512 channels.
    own = cost(published("wrn_16_8")).counts()
    expected = own | {"flops_total": own["flops_total"] - 8 * 8 * 512}
    assert theirs("wrn_16_8", "pytorchcv", (32, 32)) == expected


@given(backbones(), SIZES)
@settings(max_examples=30)
def test_equal_to_fvcore_on_any_network_and_image(net, size):
    assert cost(net, size=size).counts() == counted(net, size)


@pytest.mark.parametrize("kind", BLOCK_FIELDS)
@given(data=st.data())
@settings(max_examples=6)
def test_equal_to_fvcore_on_any_network_of_one_kind(kind, data):
    net, size = data.draw(backbones([kind])), data.draw(SIZES)
    assert cost(net, size=size).counts() == counted(net, size)


@given(backbones())
@settings(max_examples=4)
def test_by_default_the_image_is_the_networks_own(net):
    side = net.resolution
    assert cost(net) == cost(net, size=(side, side))
    assert cost(net).counts() == counted(net)


@given(backbones() | detectors())
@settings(max_examples=30)
def test_counts_alone_are_those_of_the_cost(net):
    assert counts(net)._asdict() == cost(net).counts()
    assert counts(net, (35, 41))._asdict() == cost(net, size=(35, 41)).counts()


@given(backbones() | detectors())
@settings(max_examples=30)
def test_what_was_counted_before_changes_nothing(net):
    for cached in (stage_cost, block_cost, block_counts):
        cached.cache_clear()
    cold = cost(net)
    published("efficientnet_b0")
    cost(replace(net, num_classes=net.num_classes + 1))
    assert cost(net) == cold


def test_every_mistake_in_a_rule_is_seen(monkeypatch):
    """The network of each block kind, with each mistake in its rule: counted as fvcore does not."""
    unseen = []
    for kind in BLOCK_FIELDS:
        right = counted(probe(kind), PROBE_SIZE)
        assert cost(probe(kind), size=PROBE_SIZE).counts() == right
        mistakes = [mistake for mistake in every_mistake(kind) if mistake.counts]
        # An identity block counts nothing; what is wrong with its sizes is seen in nn.
        assert mistakes or kind == "identity"
        for mistake in mistakes:
            with monkeypatch.context() as patched:
                patched.setitem(blocks.BLOCKS, kind, mistake.rule)
                if counts(probe(kind), PROBE_SIZE)._asdict() == right:
                    unseen.append((kind, mistake.words))
    assert unseen == []


PROBE = Backbone(
    stages=(Stage(width=10, depth=2, stride=3, kernel=5, expand=3, se=0.25),),
    stem=Stem(width=6),
    head=Head(width=12),
    resolution=23,
    num_classes=5,
)


def test_a_stride_on_the_wrong_block_is_seen():
    # Striding the last of two blocks runs the first at full size: more FLOPs, the same params.
    first, then = Stage(width=10, depth=1, stride=3), Stage(width=10, depth=1)
    right = replace(PROBE, stages=(first, then))
    wrong = replace(PROBE, stages=(replace(first, stride=1), replace(then, stride=3)))
    assert cost(right).params == cost(wrong).params
    assert cost(right).flops < cost(wrong).flops
    assert cost(right).counts() == counted(right)
    assert cost(wrong).counts() == counted(wrong)
    assert cost(replace(PROBE, stages=(replace(first, depth=2),))).counts() == counted(right)


def network_of(row):
    """The network of one row of the file."""
    stages = tuple(
        Stage(
            width=width,
            stride=stride,
            depth=int(row[f"stage{i}.depth"]),
            kernel=int(row[f"stage{i}.kernel"]),
            expand=int(row[f"stage{i}.expand"]),
            se=float(row[f"stage{i}.se"]),
        )
        for i, (width, stride) in enumerate(SKELETON, start=1)
    )
    return Backbone(stages=stages, stem=Stem(width=32), head=Head(width=1280))


@pytest.fixture(scope="module")
def rows():
    if not CSV.exists():
        pytest.skip(f"{CSV} is not there: the 4,100 networks of Accel-NASBench as one CSV")
    with CSV.open(newline="") as file:
        return list(csv.DictReader(file))


def test_parameters_of_every_network_that_accel_nasbench_trained(rows):
    assert len(rows) == 4100
    wrong = [
        number
        for number, row in enumerate(rows)
        if cost(network_of(row)).params != round(float(row["params_millions"]) * 1e6)
    ]
    assert wrong == []


def test_multiply_adds_of_accel_nasbench_lie_where_their_count_puts_them(rows):
    # Theirs counts norms and activations too: 2 to 17 percent above convolutions and linear.
    for row in rows[::10]:
        ratio = float(row["macs_millions"]) * 1e6 / cost(network_of(row)).flops
        assert 1.01 < ratio < 1.18


@pytest.mark.slow
def test_networks_of_the_mnasnet_space():
    space = BackboneSpace.load(ROOT / "search_spaces" / "mnasnet_imagenet.yaml")
    sizes = random.Random(0)
    for seed in range(20):
        net = space.sample(seed)
        side = 224 if seed % 10 == 0 else sizes.randint(32, 72)
        assert cost(net, size=(side, side)).counts() == counted(net, (side, side)), f"seed {seed}"
