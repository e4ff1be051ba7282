"""The MobileNets against their papers."""

from __future__ import annotations

from scalesearch.arch.mobilenet import FAMILIES
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost


def test_v1_costs_what_its_paper_prints():
    # Howard et al. 2017 (arXiv 1704.04861), Table 4: 569 million mult-adds, 4.2 million parameters.
    spent = cost(published("mobilenet_v1"))
    assert round(spent.flops / 1e6) == 569
    assert round(spent.params / 1e6, 1) == 4.2


def test_v2_costs_what_its_paper_prints():
    # Sandler et al. 2018 (arXiv 1801.04381), Table 4: 300 M multiply-adds, 3.4 M parameters. Theirs
    # has 1001 classes and was cut, not rounded: 3.50 M as torchvision's, 300.8 M.
    spent = cost(published("mobilenet_v2"))
    assert int(spent.flops / 1e6) == 300
    assert 3.4 <= spent.params / 1e6 <= 3.51


def test_v1_is_the_papers_table_1():
    # Output channels of its 13 depthwise-separable layers, and on which of them the stride is 2.
    net = published("mobilenet_v1")
    layers = [
        (stage.width, stage.stride if index == 0 else 1)
        for stage in net.stages
        for index in range(stage.depth)
    ]
    assert layers == [
        *[(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)],
        *[(512, 1)] * 5,
        *[(1024, 2), (1024, 1)],
    ]
    assert net.features == 1024


def test_both_have_relu6_and_224_pixels():
    for name in FAMILIES:
        net = published(name)
        assert (net.activation, net.resolution) == ("relu6", 224)
    assert list(FAMILIES) == ["mobilenet_v1", "mobilenet_v2"]
