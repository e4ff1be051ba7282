"""EfficientDet by name: the paper's Table 1, effdet's settings, parameters of both."""

from __future__ import annotations

import pytest

from scalesearch.arch.efficientdet import EFFICIENTDET_LITES, EFFICIENTDETS, FAMILIES
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from tests.effdets import config

NAMES = tuple(FAMILIES)

# Tan, Pang & Le 2020, Table 1: input, backbone, width and layers of the BiFPN, layers of the heads.
TABLE_1 = {
    "efficientdet_d0": (512, "efficientnet_b0", 64, 3, 3),
    "efficientdet_d1": (640, "efficientnet_b1", 88, 4, 3),
    "efficientdet_d2": (768, "efficientnet_b2", 112, 5, 3),
    "efficientdet_d3": (896, "efficientnet_b3", 160, 6, 4),
    "efficientdet_d4": (1024, "efficientnet_b4", 224, 7, 4),
    "efficientdet_d5": (1280, "efficientnet_b5", 288, 7, 4),
    "efficientdet_d6": (1280, "efficientnet_b6", 384, 8, 5),
    "efficientdet_d7": (1536, "efficientnet_b6", 384, 8, 5),
    "efficientdet_d7x": (1536, "efficientnet_b7", 384, 8, 5),
}
# Params (M) and FLOPs (G), Table 2.
TABLE_2 = {
    "efficientdet_d0": ("3.9", "2.5"),
    "efficientdet_d1": ("6.6", "6.1"),
    "efficientdet_d2": ("8.1", "11"),
    "efficientdet_d3": ("12", "25"),
    "efficientdet_d4": ("21", "55"),
    "efficientdet_d5": ("34", "135"),
    "efficientdet_d6": ("52", "226"),
    "efficientdet_d7": ("52", "325"),
    "efficientdet_d7x": ("77", "410"),
}
# Params (M) and fvcore's total (G), counted on effdet 0.4.1's tf_efficientdet_d0 … d3.
COUNTED = {
    "efficientdet_d0": (3.88, 2.57),
    "efficientdet_d1": (6.63, 6.18),
    "efficientdet_d2": (8.10, 11.11),
    "efficientdet_d3": (12.03, 25.09),
}


@pytest.mark.parametrize("name", EFFICIENTDETS)
def test_table_1(name):
    net = published(name)
    resolution, backbone, width, depth, heads = TABLE_1[name]
    assert (net.resolution, net.neck.width, net.neck.depth, net.heads.depth) == (
        resolution,
        width,
        depth,
        heads,
    )
    assert net.backbone.stages == published(backbone).stages
    assert net.backbone.stem == published(backbone).stem


@pytest.mark.parametrize("name", TABLE_2)
def test_table_2(name):
    """The paper's FLOPs hold one operation more for each value that a convolution puts out."""
    spent, (params, flops) = cost(published(name)), TABLE_2[name]
    for value, printed in ((spent.params / 1e6, params), (spent.flops / 1e9, flops)):
        more = spent.activations / 1e9 if printed == flops else 0
        assert f"{value + more:.{len(printed.partition('.')[2])}f}" == printed


@pytest.mark.parametrize("name", COUNTED)
def test_counted_numbers(name):
    spent = cost(published(name))
    assert (round(spent.params / 1e6, 2), round(spent.flops_total / 1e9, 2)) == COUNTED[name]


@pytest.mark.parametrize("name", NAMES)
def test_effdets_settings(name):
    net, theirs = published(name), config(f"tf_{name}")
    assert (net.resolution, net.resolution) == tuple(theirs.image_size)
    assert net.neck.width == theirs.fpn_channels
    assert net.neck.depth == theirs.fpn_cell_repeats
    assert (net.neck.min_level, net.neck.max_level) == (theirs.min_level, theirs.max_level)
    assert net.neck.fusion == ("sum" if theirs.fpn_name == "bifpn_sum" else "fast")
    assert net.heads.depth == theirs.box_class_repeats
    assert net.num_classes == theirs.num_classes
    assert net.norm_bias == theirs.redundant_bias
    assert net.padding == theirs.pad_type
    assert net.activation == {"swish": "silu"}.get(theirs.act_type, theirs.act_type)
    assert (net.norm_eps, net.norm_momentum) == (
        theirs.norm_kwargs.eps,
        theirs.norm_kwargs.momentum,
    )
    assert net.anchors.scale == theirs.anchor_scale
    assert net.anchors.octaves == theirs.num_scales
    assert net.anchors.shapes == tuple(map(tuple, theirs.aspect_ratios))
    assert theirs.backbone_name.removeprefix("tf_") == backbone_of(name)


def backbone_of(name):
    return {**EFFICIENTDETS, **EFFICIENTDET_LITES}[name].backbone


def test_symmetric_padding_gives_effdets_own():
    net, theirs = published("efficientdet_d0", padding="symmetric"), config("efficientdet_d0")
    assert (net.norm_bias, theirs.redundant_bias) == (False, False)
    assert (net.padding, theirs.pad_type) == ("symmetric", "")
    assert (net.norm_eps, net.norm_momentum) == (1e-3, 0.01)
    assert (net.backbone.norm_eps, net.backbone.norm_momentum) == (1e-5, 0.1)
    # All else stays, and what is asked for holds.
    assert net.backbone.stages == published("efficientdet_d0").backbone.stages
    assert published("efficientdet_d0", padding="symmetric", norm_bias=True).norm_bias
    assert published("efficientdet_d0", padding="same") == published("efficientdet_d0")
