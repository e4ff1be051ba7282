"""The numbers of docs/scaling.md, computed again."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.arch.efficientnet import EFFICIENTNETS
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.scaling.coefficients import Coefficients, Multipliers
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.family import members
from scalesearch.scaling.multiply import multiply
from scalesearch.scaling.realise import effective
from scalesearch.scaling.scale import scale
from scalesearch.scaling.strategies import STRATEGIES

PAGE = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text()
PAPER = Coefficients(1.2, 1.1, 1.15)  # Tan & Le 2019, section 3.3, step 1
HALVES = (0, 0.5, 1, 2, 3.5, 5, 6, 7)
# Tan & Le 2019, Tables 3 and 7: baseline, depth 4, width 2, resolution 2, and all three.
SINGLE = [
    Multipliers(),
    Multipliers(depth=4),
    Multipliers(width=2),
    Multipliers(resolution=2),
    Multipliers(1.4, 1.2, 1.3),
]


def row(name, after=""):
    """The cells of the first row that begins with `name`, behind the words `after`."""
    found = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", PAGE[PAGE.index(after) :], re.M)
    assert found, name
    return [cell.strip() for cell in found[1].split("|")]


def four_digits(flops):
    return f"{flops / 1e9:.3f}" if flops < 1e10 else f"{flops / 1e9:.2f}"


def test_the_official_table_is_the_codes():
    width, depth, side, _ = zip(*EFFICIENTNETS.values(), strict=True)
    assert row("official depth") == [str(d) for d in depth]
    assert row("official width") == [str(w) for w in width]
    assert row("official resolution") == [str(r) for r in side]


def test_the_phi_of_each_multiplier():
    def phi(multiplier, coefficient):
        return f"{math.log(multiplier) / math.log(coefficient):.2f}"

    official = list(EFFICIENTNETS.values())[1:]
    assert row("phi by depth")[1:] == [phi(d, PAPER.alpha) for _, d, _, _ in official]
    assert row("phi by width")[1:] == [phi(w, PAPER.beta) for w, _, _, _ in official]
    assert row("phi by resolution")[1:] == [phi(r / 224, PAPER.gamma) for _, _, r, _ in official]


def test_the_formula_at_the_nearest_halves():
    assert [float(cell) for cell in row("nearest halves")] == list(HALVES)
    by = [PAPER.at(phi) for phi in HALVES]
    assert row("depth there") == [f"{m.depth:.2f}" for m in by]
    assert row("width there") == [f"{m.width:.2f}" for m in by]
    assert row("resolution there") == [f"{224 * m.resolution:.0f}" for m in by]
    b0 = published("efficientnet_b0")
    there = [cost(scale(b0, PAPER, phi)).flops for phi in HALVES]
    official = [cost(published(name)).flops for name in EFFICIENTNETS]
    assert row("official flops") == [f"{four_digits(flops)} G" for flops in official]
    assert row("flops there") == [f"{four_digits(flops)} G" for flops in there]


def test_what_is_read_from_the_table():
    width, depth, side, _ = zip(*EFFICIENTNETS.values(), strict=True)
    by = [PAPER.at(phi) for phi in HALVES]
    assert [round(m.width, 1) for m in by[:-1]] == list(width[:-1])
    assert round(by[-1].width, 1) == width[-1] - 0.1
    above = [r / 224 / m.resolution for r, m in zip(side, by, strict=True)][2:]
    assert min(above) > 1
    assert max(above) < 1.045
    assert depth[-1] / by[-1].depth == pytest.approx(0.87, abs=0.005)
    # Least squares through phi 0, where every multiplier is 1.
    log = sum(phi * math.log(d) for phi, d in zip(HALVES, depth, strict=True))
    assert math.exp(log / sum(phi**2 for phi in HALVES)) == pytest.approx(1.175, abs=5e-4)


# Counted on public implementations by fvcore (convolutions and linear layers), G. ResNet-50 of
# width 2 keeps its stem there.
COUNTED = {
    "mobilenet_v1": (0.569, None, 2.22, 2.27, 2.47),
    "mobilenet_v2": (0.301, 1.22, 1.14, 1.20, None),
    "resnet50": (4.09, 14.6, 15.9, 16.35, None),
    "efficientnet_b0": (0.386, 1.575, 1.450, 1.538, 1.800),
}


def test_other_networks_scaled():
    for name in COUNTED:
        flops = [cost(multiply(published(name), by)).flops for by in SINGLE]
        assert row(f"`{name}`") == [four_digits(one) for one in flops], name


def test_other_networks_scaled_as_others_count():
    for name, counted in COUNTED.items():
        net = published(name)
        for by, expected in zip(SINGLE, counted, strict=True):
            scaled = multiply(net, by)
            if name == "resnet50":
                scaled = replace(scaled, stem=net.stem)
            if expected is not None:
                digits = len(f"{expected}".partition(".")[2])
                ours = round(cost(scaled).flops / 1e9, max(2, digits))
                assert ours == pytest.approx(expected, abs=0.6 * 10**-digits), (name, by)


def test_resnet_50_of_width_2_by_hand():
    # Every convolution between equal widths has 4 times the multiply-adds; stem (7 * 7 * 3 * 64 at
    # 112 * 112) and classifier (2048 * 1000) have one fixed side and 2 times.
    net = published("resnet50")
    stem, classifier = 147 * 64 * 112**2, 2048 * 1000
    expected = 4 * (cost(net).flops - stem - classifier) + 2 * (stem + classifier)
    wide = multiply(net, Multipliers(width=2))
    assert cost(wide).flops == expected
    assert "has 15.87 G" in PAGE
    assert cost(replace(wide, stem=net.stem)).flops / 1e9 == pytest.approx(15.87, abs=5e-3)


def test_activations_of_fast_scaling():
    # Dollar et al. 2021: at s = 4, activations grow by s^.6, s^.83, s^.5, s and s.
    for triple, growth in (
        (Coefficients(2**0.1, 2**0.4, 2**0.05), 2.30),
        (Coefficients(2 ** (1 / 3), 2 ** (1 / 6), 2 ** (1 / 6)), 3.17),
        (Coefficients(1, 2**0.5, 1), 2.0),
        (Coefficients(2, 1, 1), 4.0),
        (Coefficients(1, 1, 2**0.5), 4.0),
    ):
        assert triple.growth == pytest.approx(2)
        by = triple.at(2)
        assert by.depth * by.width * by.resolution**2 == pytest.approx(growth, abs=5e-3)
        if by.depth < 2:  # strong depth alone leaves stem and head behind
            net = published("resnet50")
            grown = cost(scale(net, triple, 2)).activations / cost(net).activations
            assert grown == pytest.approx(growth, rel=0.06)


def test_fast_scaling_of_b0():
    b0 = published("efficientnet_b0")
    for triple, words in (
        (Coefficients(2**0.1, 2**0.4, 2**0.05), "5.2 times the FLOPs for 2.9 times"),
        (Coefficients(2 ** (1 / 3), 2 ** (1 / 6), 2 ** (1 / 6)), "4.8 for 3.6"),
    ):
        before, after = cost(b0), cost(scale(b0, triple, 2))
        grown = (after.flops / before.flops, after.activations / before.activations)
        assert [f"{one:.1f}" for one in grown] == re.findall(r"\d\.\d", words)
        assert words in PAGE.replace("\n", " ")


def test_a_negative_phi():
    b0 = published("efficientnet_b0")
    assert scale(b0, PAPER, -1.57).depth == b0.depth
    assert scale(b0, PAPER, -1.6).depth < b0.depth
    assert cost(scale(b0, PAPER, -1)).flops / cost(b0).flops == pytest.approx(0.78, abs=5e-3)
    assert PAPER.growth**-1 == pytest.approx(0.52, abs=5e-3)


MEASURED = Coefficients(1.2, 1.1, 1.15, match="measured", budget=2.0)


def test_b0_below_its_own_flops():
    nets = [scale(published("efficientnet_b0"), MEASURED, phi) for phi in (-1, -2, -3)]
    assert [(net.depth, net.resolution) for net in nets] == [(13, 192), (10, 160), (9, 144)]
    assert "13 of its 16 blocks at 192 pixels" in PAGE


def test_strategies_at_four_times_the_flops_of_b0():
    b0 = published("efficientnet_b0")
    base = cost(b0)
    for member in members(b0, MEASURED, [2], (*STRATEGIES, "d1_w1_r1")):
        net, by = member.architecture, effective(b0, member.architecture)
        spent = cost(net)
        assert row(f"`{member.strategy}`", "training memory |") == [
            *(f"{by.depth:.2f}", f"{by.width:.2f}", f"{net.resolution}"),
            *(f"{spent.flops / base.flops:.2f}", f"{spent.params / 1e6:.1f} M"),
            f"{spent.activations / base.activations:.2f}",
            f"{spent.training_bytes / 2**30:.1f} GiB",
        ]


def test_detectors_meet_their_compound_member_by_steps_of_their_own():
    d0 = published("efficientdet_d0")
    family = members(d0, DetectorCoefficients(), [0.5, 1, 2.5, 3])
    compound = {m.phi: cost(m.architecture).flops for m in family if m.strategy == "compound"}
    for member in family:
        ratio = cost(member.architecture).flops / compound[member.phi]
        assert ratio == pytest.approx(1, abs=0.02), member.name
