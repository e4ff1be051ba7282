"""ResNets and wide residual networks against their papers' tables."""

from __future__ import annotations

import pytest

from scalesearch.arch.published import published
from scalesearch.arch.resnet import FAMILIES, RESNETS, WIDE_RESNETS
from scalesearch.arch.walk import walk
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError

# He et al. 2016, Table 1, "FLOPs" in G. Theirs has a bottleneck's stride on its first convolution;
# on the second, as torchvision and we have it, 224 pixels cost .2 to .3 G more.
PAPER = {"resnet18": 1.8, "resnet34": 3.6, "resnet50": 3.8, "resnet101": 7.6, "resnet152": 11.3}


@pytest.mark.parametrize("name", PAPER)
def test_costs_are_the_papers_with_the_stride_where_torchvision_has_it(name):
    flops = cost(published(name)).flops / 1e9
    moved = RESNETS[name][0] == "bottleneck"
    assert PAPER[name] < flops < PAPER[name] + (0.3 if moved else 0.1)


def test_resnets_are_the_papers_table_1():
    for name, (block, depths) in RESNETS.items():
        net = published(name)
        # The layers in a name: two or three convolutions a block, the stem and the classifier.
        layers = {"basic": 2, "bottleneck": 3}[block] * net.depth + 2
        assert name == f"resnet{layers}"
        assert tuple(stage.depth for stage in net.stages) == depths
        assert [stage.stride for stage in net.stages] == [1, 2, 2, 2]
        wide = {"basic": 1, "bottleneck": 4}[block]
        assert [stage.width for stage in net.stages] == [w * wide for w in (64, 128, 256, 512)]


# Zagoruyko & Komodakis 2016 (arXiv 1605.07146), Table 4: parameters in millions.
WIDE = {
    "wrn_40_1": 0.6,
    "wrn_40_2": 2.2,
    "wrn_40_4": 8.9,
    "wrn_40_8": 35.7,
    "wrn_28_10": 36.5,
    "wrn_28_12": 52.5,
    "wrn_22_8": 17.2,
    "wrn_22_10": 26.8,
    "wrn_16_8": 11.0,
    "wrn_16_10": 17.1,
}


@pytest.mark.parametrize("name", WIDE)
def test_wide_networks_have_the_papers_parameters(name):
    assert round(cost(published(name)).params / 1e6, 1) == WIDE[name]


@pytest.mark.parametrize("name", WIDE)
def test_a_wide_network_has_the_depth_of_its_name(name):
    net = published(name)
    _, depth, factor = name.split("_")
    # Two convolutions a block, the stem, the classifier; the projections of three stages, which
    # the paper counts too: D = 6 n + 4 for n blocks in each of three stages.
    projections = 2 if factor == "1" else 3
    assert 2 * net.depth + 1 + 3 == int(depth)
    assert [stage.width for stage in net.stages] == [k * int(factor) for k in (16, 32, 64)]
    shortcuts = [op for part in walk(net) for op in part.graph.ops if op.name == "shortcut.conv"]
    assert len(shortcuts) == projections
    assert (net.resolution, net.num_classes, net.head.norm, net.stem.norm) == (32, 10, True, False)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("wrn_27_10", "wrn_28_10"),
        ("wrn_26_4", "wrn_28_4"),
        ("wrn_4_2", "wrn_10_2"),
        ("wrn_28_0", "wrn_28_1"),
        ("wrn_28", "wrn_28_10"),
        ("wrn_28_10_2", "wrn_28_10"),
        ("wrn_-28_10", "wrn_28_10"),
    ],
)
def test_a_depth_or_a_factor_that_cannot_be_is_told(wrong, hint):
    with pytest.raises(UserError) as told:
        published(wrong)
    assert str(told.value) == (
        f"there is no wide residual network {wrong!r}\n"
        f"  allowed: wrn_D_K with D = 6 n + 4 and K >= 1\n  did you mean {hint!r}?"
    )


def test_the_family_holds_all_of_its_names():
    assert set(FAMILIES) == {*RESNETS, *WIDE_RESNETS}
