"""Rows of a network against the tables of the papers, and against its whole cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from scalesearch.arch.published import published
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import cost
from scalesearch.report.by_stage import ADDITIVE, by_stage
from tests.strategies import SIZES, backbones


def shape(name):
    return [(row.block, row.depth, row.width, row.size[0]) for row in by_stage(published(name))]


def test_resnet_50_as_in_table_1_of_he_et_al():
    assert shape("resnet50") == [
        ("conv k7 s2, max_pool k3 s2", 1, 64, 56),
        ("bottleneck k3 s1 r4", 3, 256, 56),
        ("bottleneck k3 s2 r4", 4, 512, 28),
        ("bottleneck k3 s2 r4", 6, 1024, 14),
        ("bottleneck k3 s2 r4", 3, 2048, 7),
        ("pool, linear", 1, 2048, 7),
    ]


def test_wrn_28_10_as_in_table_1_of_zagoruyko_and_komodakis():
    assert shape("wrn_28_10") == [
        ("conv k3 s1", 1, 16, 32),
        ("wide k3 s1", 4, 160, 32),
        ("wide k3 s2", 4, 320, 16),
        ("wide k3 s2", 4, 640, 8),
        ("norm, pool, linear", 1, 640, 8),
    ]


def test_efficientnet_v2_s_as_in_table_4_of_tan_and_le():
    assert shape("efficientnet_v2_s") == [
        ("conv k3 s2", 1, 24, 192),
        ("fused_mbconv k3 s1 e1", 2, 24, 192),
        ("fused_mbconv k3 s2 e4", 4, 48, 96),
        ("fused_mbconv k3 s2 e4", 4, 64, 48),
        ("mbconv k3 s2 e4 se0.25", 6, 128, 24),
        ("mbconv k3 s1 e6 se0.25", 9, 160, 24),
        ("mbconv k3 s2 e6 se0.25", 15, 256, 12),
        ("conv, pool, linear", 1, 1280, 12),
    ]


def test_stages_without_work_are_rows_too():
    net = published("mobilenet_v1")
    plain = Stage(block="identity", width=64, stride=2)
    row = list(by_stage(replace(net, stages=(net.stages[0], plain))))[2]
    assert row == ("stage2", "identity s2", 1, 64, (56, 56), dict.fromkeys(ADDITIVE, 0))


@pytest.mark.parametrize("resolution", [1, 2, 3])
def test_an_image_that_shrinks_to_one_pixel_says_so(resolution):
    rows = list(by_stage(published("efficientnet_b0", resolution=resolution)))
    # Five strides of 2: ceil(2 / 2) = 1 after the first, ceil(3 / 2) = 2 before the second.
    assert rows[0].size == ((resolution + 1) // 2,) * 2
    assert {row.size for row in rows[2:]} == {(1, 1)}


@given(backbones(), SIZES)
@settings(max_examples=50)
def test_rows_add_up_to_the_network(net, size):
    rows, whole = list(by_stage(net, size)), cost(net, size=size).counts()
    assert {key: sum(row.costs[key] for row in rows) for key in ADDITIVE} == whole
    assert [row.depth for row in rows[1:-1]] == [stage.depth for stage in net.stages]
    assert rows[-1].width == net.features
