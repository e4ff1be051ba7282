from __future__ import annotations

import pytest

from scalesearch.files.architecture import load_architecture

TRIPLE = ("--alpha", "1.2", "--beta", "1.1", "--gamma", "1.15")


def test_b0_before_and_after(scalesearch, tmp_path):
    """By hand, to steps of 8 channels: 40 * 1.1 = 44 -> 48, 80 -> 88, 112 -> 120, 192 -> 208."""
    out = tmp_path / "b1.yaml"
    done = scalesearch("scale", "efficientnet_b0", *TRIPLE, "--phi", "1", "-o", out)
    assert done.code == 0
    assert "depth x 1.200, width x 1.100, resolution x 1.150" in done.out
    rows = [line.split() for line in done.out.splitlines()]
    assert ["stage3", "40", "48", "2", "3"] in rows
    assert ["stage4", "80", "88", "3", "4"] in rows
    assert ["stage6", "192", "208", "4", "5"] in rows
    assert ["head", "1280", "1408", "1", "1"] in rows
    assert ["resolution", "224", "258", "1.15"] in rows  # 224 * 1.15 = 257.6
    assert next(row for row in rows if row[:1] == ["flops"])[1:3] == ["385.8", "M"]
    assert f"written to {out}" in done.out
    assert load_architecture(out).resolution == 258
    assert "# scaled from: efficientnet_b0" in out.read_text()


def test_the_head_may_keep_its_width(scalesearch):
    done = scalesearch("scale", "efficientnet_b0", *TRIPLE, "--head-scaling", "keep", "--phi", "1")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["head", "1280", "1280", "1", "1"] in rows
    assert ["stage6", "192", "208", "4", "5"] in rows


def test_coefficients_of_a_run(scalesearch, whole):
    file = whole.folder.path / "coefficients.yaml"
    net = whole.folder.path / "baseline.yaml"
    done = scalesearch("scale", net, "--coefficients", file, "--phi", "1")
    assert done.code == 0
    assert f"depth x {whole.folder.coefficients.alpha:.3f}" in done.out


def test_phi_zero_changes_nothing(scalesearch):
    done = scalesearch("scale", "efficientnet_b0", *TRIPLE, "--phi", "0")
    costs = [line.split() for line in done.out.splitlines() if "385.8 M" in line]
    assert costs[0][-1] == "1.00"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phi", "1"], "coefficients are missing"),
        ([*TRIPLE[:4], "--phi", "1"], "coefficients are missing"),
        ([*TRIPLE, "--coefficients", "x.yaml", "--phi", "1"], "not both"),
        (["--coefficients", "missing.yaml", "--phi", "1"], "missing.yaml"),
        ([*TRIPLE, "--phi", "-60"], "resolution"),
        ([*TRIPLE, "--head-scaling", "half", "--phi", "1"], "'half' is not known"),
        (["--alpha", "0", "--beta", "1", "--gamma", "1", "--phi", "1"], "alpha"),
    ],
)
def test_mistakes(wrong, arguments, said):
    assert said in wrong("scale", "efficientnet_b0", *arguments)


def test_a_detector_by_the_papers_coefficients(scalesearch, tmp_path):
    """EfficientDet's equations by hand: 64 * 1.35 = 86.4 -> 88 channels, 3 + 1 layers, 640 px."""
    out = tmp_path / "d1.yaml"
    done = scalesearch("scale", "efficientdet_d0", "--phi", "1", "-o", out)
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines()]
    assert ["neck", "64", "88", "3", "4"] in rows
    assert ["class_head", "64", "88", "3", "3"] in rows
    assert ["resolution", "512", "640", "1.25"] in rows
    assert load_architecture(out).neck.width == 88
    wider = scalesearch("scale", "efficientdet_d0", "--phi", "1", "--neck-width", "1.5")
    assert ["neck", "64", "96", "3", "4"] in [line.split() for line in wider.out.splitlines()]


def test_coefficients_of_the_other_kind(wrong):
    said = wrong("scale", "efficientdet_d0", "--gamma", "1.15", "--phi", "1")
    assert "--gamma does not scale this kind of network" in said
    said = wrong("scale", "efficientnet_b0", *TRIPLE, "--neck-width", "1.2", "--phi", "1")
    assert "--neck-width does not scale this kind of network" in said
