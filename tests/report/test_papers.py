"""The printed numbers: none is forgotten, and public implementations count what is said of them."""

from __future__ import annotations

import pytest
import torch
import torchvision

from scalesearch.arch.published import names
from scalesearch.report.papers import PAPERS
from scalesearch.units import parse_count
from tests.effdets import config, effdet

ROWS = {name: row for paper in PAPERS.values() for name, row in paper.rows.items()}


def test_every_published_network_has_a_row():
    assert set(names()) <= set(ROWS)
    assert len(ROWS) == sum(len(paper.rows) for paper in PAPERS.values())


def test_every_row_says_something():
    for name, row in ROWS.items():
        assert row.params or row.flops or row.counted_params, name


COUNTED = [name for name, row in ROWS.items() if row.counted_params]


@pytest.mark.parametrize("name", [name for name in COUNTED if name.startswith("efficientdet")])
def test_what_effdet_counts(name):
    with torch.device("meta"):
        model = effdet.EfficientDet(config(f"tf_{name}"), pretrained_backbone=False)
    digits = len(ROWS[name].counted_params.removesuffix("M").partition(".")[2])
    params = sum(p.numel() for p in model.parameters())
    assert f"{params / 1e6:.{digits}f}M" == ROWS[name].counted_params


@pytest.mark.parametrize("name", [name for name in COUNTED if not name.startswith("efficientdet")])
def test_what_torchvision_says_of_its_own(name):
    if name == "mobilenet_v1":
        pytest.skip("torchvision has none")
    meta = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta
    digits = len(ROWS[name].counted_params.removesuffix("M").partition(".")[2])
    assert f"{meta['num_params'] / 1e6:.{digits}f}M" == ROWS[name].counted_params
    if name == "efficientnet_b2":  # theirs is made for 288 pixels
        return
    assert meta["_ops"] * 1e9 == pytest.approx(parse_count(ROWS[name].counted_flops), rel=1e-3)
