"""Scaling detectors: the paper's equations beside its table, and what phi 0 leaves alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.scale import scale
from scalesearch.scaling.solve import solve_phi
from tests.detectors import detectors

D0 = published("efficientdet_d0")
PAPER = DetectorCoefficients()
NOTHING = DetectorCoefficients(
    alpha=1.0, beta=1.0, neck_width=1.0, neck_depth=0.0, head_depth=0.0, resolution=0.0
)


def formula(phi):
    net = scale(D0, PAPER, phi)
    return net.resolution, net.neck.width, net.neck.depth, net.heads.depth


# Equations 1 to 3 by hand: 512 + 128 phi; 64 * 1.35^phi = 64, 86.4, 116.6, 157.5, 212.6, 287.0,
# 387.4, to the nearest multiple of 8; 3 + phi; 3 + floor(phi / 3).
BY_HAND = [
    (512, 64, 3, 3),
    (640, 88, 4, 3),
    (768, 120, 5, 3),
    (896, 160, 6, 4),
    (1024, 216, 7, 4),
    (1152, 288, 8, 4),
    (1280, 384, 9, 5),
]


@pytest.mark.parametrize("phi", range(7))
def test_equations_by_hand(phi):
    assert formula(phi) == BY_HAND[phi]


def test_the_table_departs_from_the_equations_in_these_places():
    """EfficientDet's Table 1 and official code beside its own equations."""
    departs = {}
    for phi in range(7):
        net = published(f"efficientdet_d{phi}")
        table = (net.resolution, net.neck.width, net.neck.depth, net.heads.depth)
        keys = ("resolution", "width", "depth", "heads")
        for key, printed, computed in zip(keys, table, formula(phi), strict=True):
            if printed != computed:
                departs[phi, key] = (printed, computed)
    assert departs == {
        (2, "width"): (112, 120),
        (4, "width"): (224, 216),
        (5, "resolution"): (1280, 1152),
        (5, "depth"): (7, 8),
        (6, "depth"): (8, 9),
    }


@pytest.mark.parametrize("phi", [1, 2.5, -1])
def test_the_backbone_is_scaled_as_classifiers_are(phi):
    """Its input aside, which grows by pixels."""
    net = scale(D0, PAPER, phi)
    alone = scale(D0.backbone, Coefficients(1.2, 1.1, 1.0), phi)
    assert net.backbone == replace(alone, resolution=net.resolution)


@given(detectors())
def test_phi_0_and_coefficients_that_change_nothing_give_the_same_detector(net):
    assert scale(net, PAPER, 0) == net
    even = replace(net, backbone=replace(net.backbone, resolution=64))
    for phi in (-2, 0.7, 3):
        assert scale(even, NOTHING, phi) == even


@given(detectors(), st.floats(-3, 5))
def test_every_member_is_whole(net, phi):
    by = DetectorCoefficients(resolution=2.0)  # so that something is left of 8 pixels
    member = scale(net, by, phi)
    assert member.neck.levels == net.neck.levels
    assert member.nodes == net.nodes
    assert member.neck.depth >= 1
    assert member.heads.depth >= 0
    if phi != 0:
        assert member.resolution % 32 == 0
        assert abs(member.resolution - (net.resolution + 2 * phi)) <= 32


def test_depths_grow_at_whole_layers():
    thirds = [scale(D0, PAPER, phi / 3).heads.depth for phi in range(12)]
    assert thirds == [3] * 9 + [4] * 3
    assert [scale(D0, PAPER, phi).neck.depth for phi in (0.99, 1, -0.5, -3)] == [
        3,
        4,
        2,
        1,
    ]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"alpha": 0}, "alpha: 0 cannot be used\n  allowed: a number above 0"),
        ({"neck_width": -1.0}, "neck_width: -1.0 cannot be used\n  allowed: a number above 0"),
        ({"head_depth": -1}, "head_depth: -1 cannot be used\n  allowed: a number of at least 0"),
        (
            {"resolution": math.inf},
            "resolution: inf cannot be used\n  allowed: a number of at least 0",
        ),
        ({"beta": True}, "beta: True cannot be used\n  allowed: a number above 0"),
        ({"alpha": 1e4}, "alpha: 10000.0 cannot be used\n  allowed: a number above 0"),
    ],
)
def test_coefficients_that_cannot_be(fields, text):
    with pytest.raises(UserError) as told:
        DetectorCoefficients(**fields)
    assert str(told.value) == text


def test_a_phi_out_of_reach():
    with pytest.raises(UserError, match=r"phi: nan cannot be used\n  allowed: -1000 to 16"):
        scale(D0, PAPER, math.nan)
    with pytest.raises(UserError, match="scaling leaves a resolution of 0 pixels"):
        scale(D0, PAPER, -4)


def test_coefficients_of_the_other_kind():
    with pytest.raises(UserError, match="Coefficients cannot scale a Detector"):
        scale(D0, Coefficients(1.2, 1.1, 1.15), 1)
    with pytest.raises(UserError, match="DetectorCoefficients cannot scale a Backbone"):
        scale(published("efficientnet_b0"), PAPER, 1)


def test_coefficients_in_a_file(tmp_path):
    file = tmp_path / "coefficients.yaml"
    file.write_text("neck_width: 1.2\nresolution: 64\nap: 0.3\n")
    assert DetectorCoefficients.load(file) == DetectorCoefficients(neck_width=1.2, resolution=64)
    file.write_text("neck_width: -1\n")
    with pytest.raises(UserError, match=r"coefficients.yaml: neck_width: -1 cannot be used"):
        DetectorCoefficients.load(file)


def test_whether_anything_grows():
    assert PAPER.grows
    assert not NOTHING.grows
    assert replace(NOTHING, resolution=1.0).grows
    assert replace(NOTHING, beta=1.01).grows


def test_phi_within_a_limit():
    phi = solve_phi(D0, PAPER, flops=10e9)
    assert cost(scale(D0, PAPER, phi)).flops <= 10e9 < cost(scale(D0, PAPER, phi + 0.1)).flops
    with pytest.raises(UserError, match="none is above 1"):
        solve_phi(D0, NOTHING, flops=10e9)
