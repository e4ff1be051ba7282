"""The closed form against fvcore on the built model, published counts, and 4,100 real networks."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings

from scalesearch.arch import walk
from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost import closed_form
from scalesearch.cost.closed_form import cost
from scalesearch.cost.measured import measure_counts
from scalesearch.nn.build import build
from scalesearch.spaces.backbone import Space
from tests.strategies import SIZES, backbones

ROOT = Path(__file__).parents[2]
CSV = ROOT.parent / "shared" / "data" / "mbconv_imagenet.csv"
# The skeleton of the file's networks, which is that of EfficientNet-B0 (Accel-NASBench, DAC 2024).
SKELETON = [(16, 1), (24, 2), (40, 2), (80, 2), (112, 1), (192, 2), (320, 1)]


def counted(net, size=None):
    torch.manual_seed(0)
    size = size or (net.resolution, net.resolution)
    return measure_counts(build(net), (1, net.in_channels, *size))


# Each of its features is needed to see one of the mistakes below: squeeze channels that are no
# whole share, an odd image, a stride of 3 on a stage of two blocks, and expansion.
PROBE = Backbone(
    stages=(Stage(width=10, depth=2, stride=3, kernel=5, expand=3, se=0.25),),
    stem=Stem(width=6),
    head=Head(width=12),
    resolution=23,
    num_classes=5,
)


def test_efficientnet_b0_at_224():
    # fvcore 0.1.5.post20221221 on timm's efficientnet_b0 at 224 pixels.
    spent = cost(published("efficientnet_b0"))
    assert spent.counts() == {
        "flops": 385_814_752,
        "flops_total": 399_352_864,
        "params": 5_288_548,
        "activations": 6_748_036,
    }
    assert counted(published("efficientnet_b0")) == spent.counts()


def test_timms_own_model_counts_the_same():
    torch.manual_seed(0)
    peer = timm.create_model("efficientnet_b0")
    for size in [(64, 64), (97, 65)]:
        own = cost(published("efficientnet_b0"), size=size)
        assert measure_counts(peer, (1, 3, *size)) == own.counts()


@given(backbones(), SIZES)
@settings(max_examples=30)
def test_equal_to_fvcore_on_any_network_and_image(net, size):
    assert cost(net, size=size).counts() == counted(net, size)


@given(backbones())
@settings(max_examples=8)
def test_by_default_the_image_is_the_networks_own(net):
    side = net.resolution
    assert cost(net) == cost(net, size=(side, side))
    assert cost(net).counts() == counted(net)


@given(backbones())
@settings(max_examples=30)
def test_what_was_counted_before_changes_nothing(net):
    closed_form._counted.cache_clear()
    cold = cost(net)
    cost(replace(net, resolution=net.resolution + 1))
    assert cost(net) == cold


def mistaken(change):
    """The rule of an MBConv block with one operation changed."""
    rule = walk._mbconv

    def wrong(stage, width, size, stride):
        return tuple(op for op in map(change, rule(stage, width, size, stride)) if op)

    return wrong


def on(name, **fields):
    return lambda op: op._replace(**fields) if op.name == name else op


MISTAKES = {
    "no bias in squeeze-excite": on("squeeze.reduce", bias=False),
    "a norm left out": on("project", norm=False),
    "a bias too many": on("project", bias=True),
    "a pool that is a mean counted": on("squeeze.pool", counted=True),
    "a depthwise kernel too small": on("depthwise", kernel=3),
    "a depthwise convolution that is dense": on("depthwise", groups=1),
    "an image not shrunk": lambda op: (
        op._replace(size_out=op.size_in) if op.name == "depthwise" else op
    ),
    "the expansion left out": lambda op: None if op.name == "expand" else op,
    "squeeze-excite left out": lambda op: None if op.name.startswith("squeeze") else op,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_seen(mistake, monkeypatch):
    closed_form._counted.cache_clear()
    monkeypatch.setitem(walk.BLOCKS, "mbconv", mistaken(MISTAKES[mistake]))
    assert cost(PROBE).counts() != counted(PROBE)
    closed_form._counted.cache_clear()
    monkeypatch.undo()
    assert cost(PROBE).counts() == counted(PROBE)


def test_squeeze_channels_that_are_rounded_are_seen(monkeypatch):
    before = counted(PROBE)
    closed_form._counted.cache_clear()
    monkeypatch.setattr(walk, "squeeze_width", lambda width, share: round(width * share))
    assert cost(PROBE).counts() != before
    closed_form._counted.cache_clear()


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


def described(row):
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
        if cost(described(row)).params != round(float(row["params_millions"]) * 1e6)
    ]
    assert wrong == []


def test_multiply_adds_of_accel_nasbench_lie_where_their_count_puts_them(rows):
    # Theirs counts norms and activations too: 2 to 17 percent above convolutions and linear.
    for row in rows[::10]:
        ratio = float(row["macs_millions"]) * 1e6 / cost(described(row)).flops
        assert 1.01 < ratio < 1.18


@pytest.mark.slow
def test_two_hundred_networks_of_the_mnasnet_space():
    space = Space.load(ROOT / "search_spaces" / "mnasnet_imagenet.yaml")
    sizes = random.Random(0)
    for seed in range(200):
        net = space.sample(seed)
        side = 224 if seed % 20 == 0 else sizes.randint(32, 72)
        assert cost(net, size=(side, side)).counts() == counted(net, (side, side)), f"seed {seed}"
