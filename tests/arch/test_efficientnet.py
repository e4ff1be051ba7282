"""The EfficientNets against the numbers that their papers and their code print."""

from __future__ import annotations

import pytest

from scalesearch.arch.efficientnet import EFFICIENTNETS, EFFICIENTNETS_V2, FAMILIES, LITES
from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost

# Tan & Le 2019 (arXiv 1905.11946), Table 2, and the official code's resolution and dropout. Counted
# with fvcore 0.1.5 on timm's models: conv + linear G, all G, params M, activations M.
COUNTED = {
    "efficientnet_b0": (0.386, 0.399, 5.289, 6.7, 224, 0.2),
    "efficientnet_b1": (0.687, 0.709, 7.794, 10.9, 240, 0.2),
    "efficientnet_b2": (0.994, 1.021, 9.110, 13.8, 260, 0.3),
    "efficientnet_b3": (1.827, 1.875, 12.233, 23.8, 300, 0.3),
    "efficientnet_b4": (4.394, 4.493, 19.342, 49.5, 380, 0.4),
    "efficientnet_b5": (10.27, 10.46, 30.390, 98.9, 456, 0.4),
    "efficientnet_b6": (19.07, 19.40, 43.041, 167, 528, 0.5),
    "efficientnet_b7": (37.75, 38.33, 66.348, 290, 600, 0.5),
}


@pytest.mark.parametrize("name", COUNTED)
def test_costs_are_those_counted_on_timms_models(name):
    flops, total, params, activations, resolution, dropout = COUNTED[name]
    net, spent = published(name), cost(published(name))
    assert spent.flops / 1e9 == pytest.approx(flops, rel=1e-3, abs=5e-4)
    assert spent.flops_total / 1e9 == pytest.approx(total, rel=1e-3, abs=5e-4)
    assert spent.params / 1e6 == pytest.approx(params, abs=5e-4)
    assert spent.activations / 1e6 == pytest.approx(
        activations, abs=0.05 if activations < 100 else 0.5
    )
    assert (net.resolution, net.head.dropout) == (resolution, dropout)


# The table in the README of the official EfficientNet-Lite code: params M, multiply-adds M, input.
LITE = {
    "efficientnet_lite0": (4.7, 407, 224),
    "efficientnet_lite1": (5.4, 631, 240),
    "efficientnet_lite2": (6.1, 899, 260),
    "efficientnet_lite3": (8.2, 1440, 280),
    "efficientnet_lite4": (13.0, 2640, 300),
}


@pytest.mark.parametrize("name", LITE)
def test_lite_has_the_printed_parameters_and_nearly_the_printed_multiply_adds(name):
    params, millions, resolution = LITE[name]
    net, spent = published(name), cost(published(name))
    # 4.652 and 5.4167 M: the first was printed as 4.7, the second cut to 5.4.
    assert spent.params / 1e6 == pytest.approx(params, abs=0.05)
    # Theirs hold more than convolutions and linear layers: with three operations for each value
    # that those put out, about what batch norm and ReLU6 are, they are met within 1 %.
    assert (spent.flops + 3 * spent.activations) / 1e6 == pytest.approx(millions, rel=0.01)
    assert net.resolution == resolution


def test_lite_scales_neither_stem_nor_head_nor_the_outer_depths():
    for name in LITES:
        net = published(name)
        assert (net.stem.width, net.head.width) == (32, 1280)
        assert (net.stages[0].depth, net.stages[-1].depth) == (1, 1)
        assert (net.activation, net.padding) == ("relu6", "same")
        assert not any(stage.se for stage in net.stages)


# Tan & Le 2021 (arXiv 2104.00298), Table 7: params M, FLOPs G. The paper's params hold the running
# statistics of batch norms too; its FLOPs of S lie 5 % above, those of L 6 % below the ones that
# torchvision documents for the official weights, which are ours (test_published.py).
V2 = {
    "efficientnet_v2_s": (22, 8.8),
    "efficientnet_v2_m": (54, 24),
    "efficientnet_v2_l": (120, 53),
}


@pytest.mark.parametrize("name", V2)
def test_v2_is_near_what_the_paper_prints(name):
    params, billions = V2[name]
    spent = cost(published(name))
    assert spent.params / 1e6 == pytest.approx(params, rel=0.03)
    assert spent.flops / 1e9 == pytest.approx(billions, rel=0.06)


def test_v2_s_is_the_papers_table_4():
    # Tan & Le 2021, Table 4: operator, stride, channels, layers of stages 1 to 6; SE 0.25 behind.
    net = published("efficientnet_v2_s")
    fused = [(1, 1, 24, 2), (4, 2, 48, 4), (4, 2, 64, 4)]
    plain = [(4, 2, 128, 6), (6, 1, 160, 9), (6, 2, 256, 15)]
    assert net.stages == (
        *(
            Stage(block="fused_mbconv", expand=e, stride=s, width=w, depth=d)
            for e, s, w, d in fused
        ),
        *(Stage(expand=e, stride=s, width=w, depth=d, se=0.25) for e, s, w, d in plain),
    )
    assert (net.stem.width, net.stem.stride, net.head.width) == (24, 2, 1280)


def test_the_family_holds_all_of_its_names():
    assert set(FAMILIES) == {*EFFICIENTNETS, *LITES, *EFFICIENTNETS_V2}
    assert set(EFFICIENTNETS) == set(COUNTED)
    assert set(LITES) == set(LITE)
    assert set(EFFICIENTNETS_V2) == set(V2)
