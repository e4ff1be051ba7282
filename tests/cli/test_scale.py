from __future__ import annotations

import subprocess
import sys

import pytest

from scalesearch.arch.plain import digest
from scalesearch.arch.published import published
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.files.architecture import load_architecture

TRIPLE = ("--alpha", "1.2", "--beta", "1.1", "--gamma", "1.15")


def test_b0_before_and_after(scalesearch, tmp_path):
    """By hand, to steps of 8 channels: 40 * 1.1 = 44 -> 48, 80 -> 88, 112 -> 120, 192 -> 208."""
    out = tmp_path / "b1.yaml"
    done = scalesearch("scale", "efficientnet_b0", *TRIPLE, "--phi", "1", "-o", out)
    assert done.code == 0
    assert "depth x 1.200, width x 1.100, resolution x 1.150" in done.out
    rows = [line.split() for line in done.out.splitlines()]
    assert ["stage3", "40", "44.0", "48", "2", "2.40", "3"] in rows
    assert ["stage4", "80", "88.0", "88", "3", "3.60", "4"] in rows
    assert ["stage6", "192", "211.2", "208", "4", "4.80", "5"] in rows
    assert ["head", "1280", "1408.0", "1408", "1", "1.00", "1"] in rows
    assert ["depth", "1.200", "1.438"] in rows  # 23 blocks of 16
    assert ["resolution", "1.150", "1.152"] in rows  # 258 pixels of 224
    assert ["resolution", "224", "258", "1.15"] in rows  # 224 * 1.15 = 257.6
    assert next(row for row in rows if row[:1] == ["flops"])[1:3] == ["385.8", "M"]
    assert f"written to {out}" in done.out
    assert load_architecture(out).resolution == 258
    assert "# scaled from: efficientnet_b0" in out.read_text()


def test_the_head_may_keep_its_width(scalesearch):
    done = scalesearch("scale", "efficientnet_b0", *TRIPLE, "--head-scaling", "keep", "--phi", "1")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["head", "1280", "1280.0", "1280", "1", "1.00", "1"] in rows
    assert ["stage6", "192", "211.2", "208", "4", "4.80", "5"] in rows


def test_coefficients_of_a_run(scalesearch, whole):
    file = whole.folder.path / "coefficients.yaml"
    net = whole.folder.path / "baseline.yaml"
    done = scalesearch("scale", net, "--coefficients", file, "--phi", "1")
    assert done.code == 0
    assert f"depth x {whole.folder.coefficients.alpha:.3f}" in done.out


def test_dropout_grows_along_the_family(scalesearch, tmp_path):
    """0.2 + 3 * 0.05 is 0.35, in tenths 0.4, as the official code has it for B4."""
    out = tmp_path / "b4.yaml"
    more = ("--dropout-per-phi", "0.05", "-o", out)
    done = scalesearch("scale", "efficientnet_b0", *TRIPLE, "--phi", "3", *more)
    assert "note  dropout 0.2 -> 0.4" in done.out
    net = load_architecture(out)
    assert (net.head.dropout, net.drop_path) == (0.4, 0.2)
    done = scalesearch("scale", "efficientdet_d0", "--phi", "2", "--drop-path-per-phi", "0.05")
    assert "note  stochastic depth 0.2 -> 0.3" in done.out
    done = scalesearch("scale", "efficientnet_b0", "--flops", "1.8G", *more)  # phi is 2.36
    assert load_architecture(out).head.dropout == 0.3
    assert cost(load_architecture(out)).flops <= 1.8e9


@pytest.mark.parametrize(
    ("network", "option", "said"),
    [
        ("efficientdet_d0", ("--dropout-per-phi", "0.05"), "a detector has no dropout before"),
        ("efficientdet_d0", ("--drop-path-per-phi", "0"), "--drop-path-per-phi: 0.0 cannot be"),
    ],
)
def test_rates_that_cannot_grow(wrong, network, option, said):
    assert said in wrong("scale", network, "--phi", "1", *option)


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
    assert ["neck", "64", "86.4", "88", "3", "4.00", "4"] in rows
    assert ["class_head", "64", "86.4", "88", "3", "3.33", "3"] in rows
    assert ["resolution", "512", "640", "1.25"] in rows
    assert load_architecture(out).neck.width == 88
    wider = scalesearch("scale", "efficientdet_d0", "--phi", "1", "--neck-width", "1.5")
    rows = [line.split() for line in wider.out.splitlines()]
    assert ["neck", "64", "96.0", "96", "3", "4.00", "4"] in rows


def flops_of(done):
    """The FLOPs after scaling, as printed, in G."""
    row = next(line.split() for line in done.out.splitlines() if line.split()[:1] == ["flops"])
    return float(row[3]) * {"M": 1e-3, "G": 1}[row[4]]


@pytest.mark.parametrize("strategy", ["compound", "width", "fast_compound", "d1_w1_r1"])
def test_the_largest_within_flops(scalesearch, tmp_path, strategy):
    out = tmp_path / "net.yaml"
    arguments = ["--flops", "1.8G", "--strategy", strategy, "-o", out]
    done = scalesearch("scale", "efficientnet_b0", *arguments)
    assert done.code == 0
    assert 0.98 * 1.8e9 <= cost(load_architecture(out)).flops <= 1.8e9
    if strategy == "compound":
        assert "note  coefficients: EfficientNet-B0's alpha 1.2, beta 1.1, gamma 1.15" in done.out


def test_several_limits_at_once(scalesearch, tmp_path):
    out = tmp_path / "net.yaml"
    limits = ("--flops", "1.8G", "--params", "12M", "--memory", "3GiB")
    assert scalesearch("scale", "efficientnet_b0", *limits, "-o", out).code == 0
    costs = cost(load_architecture(out))  # the memory of 32 images decides
    assert costs.flops <= 1.8e9
    assert costs.params <= 12e6
    assert 0.93 * 3 * 2**30 < costs.training_bytes <= 3 * 2**30
    fewer = ("--memory", "3GiB", "--batch", "8")
    done = scalesearch("scale", "efficientnet_b0", *fewer, "-o", out)
    assert done.code == 0
    net = load_architecture(out)
    assert cost(net, workload=Workload(training_batch=8)).training_bytes <= 3 * 2**30
    assert cost(net).flops > 2.5 * costs.flops


def test_a_detector_to_its_limit(scalesearch):
    assert 10 < flops_of(scalesearch("scale", "efficientdet_d0", "--flops", "12G")) <= 12


def test_a_file_of_another_baseline_is_a_warning(scalesearch, tmp_path):
    file = tmp_path / "coefficients.yaml"
    triple = "alpha: 1.2\nbeta: 1.1\ngamma: 1.15\n"
    arguments = ("--coefficients", file, "--phi", "1")
    for entry, warned in (
        ("", False),
        (f"baseline_digest: {digest(published('efficientnet_b0'))}\n", False),
        ("baseline_digest: 0123456789abcdef\n", True),
    ):
        file.write_text(triple + entry)
        done = scalesearch("scale", "efficientnet_b0", *arguments)
        assert done.code == 0
        assert ("was found for another network than this" in done.out) == warned


FOUND = """\
alpha: {alpha}
beta: {beta}
gamma: {gamma}
match: measured
budget: {budget}
evidence: {{beyond_results: {beyond}}}
"""
UP = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15, "budget": 2.0, "beyond": "false"}
DOWN = {"alpha": 0.85, "beta": 0.9, "gamma": 0.85, "budget": 0.5, "beyond": "false"}


@pytest.mark.parametrize(
    ("fields", "options", "said"),
    [
        (UP, ("--phi", "1"), ""),
        (DOWN, ("--phi", "1"), ""),
        (DOWN, ("--flops", "200M"), ""),
        (UP, ("--phi", "-1"), "found for growing and not for shrinking"),
        (DOWN, ("--phi", "-1"), "found for shrinking and not for growing"),
        (DOWN, ("--flops", "800M"), "found for shrinking and not for growing"),
        (UP | {"beyond": "true"}, ("--phi", "1"), "are beyond the results that they were found"),
        # 3 * 3^2 * 3^2 = 243; 1.3 * 1.1^2 * 1.15^2 = 2.08, which rounding makes up for.
        (
            UP | {"alpha": 3, "beta": 3, "gamma": 3},
            ("--phi", "1"),
            "multiplies FLOPs by 243, and the budget is 2: the coefficients are taken as a direct",
        ),
        (UP | {"alpha": 1.3}, ("--phi", "1"), ""),
    ],
)
def test_coefficients_that_may_not_be_the_best_here_are_a_warning(
    scalesearch, tmp_path, fields, options, said
):
    file = tmp_path / "coefficients.yaml"
    file.write_text(FOUND.format(**fields))
    done = scalesearch("scale", "efficientnet_b0", "--coefficients", file, *options)
    assert done.code == 0, done
    notes = [line for line in done.out.splitlines() if "warning: " in line]
    assert len(notes) == bool(said)
    assert said in "".join(notes)


def test_a_latency_table_predicts_the_limit(scalesearch, wrong, tmp_path):
    table = tmp_path / "table.json"
    table.write_text("{}")
    said = wrong("scale", "efficientnet_b0", "--latency", "20ms", "--table", table)
    assert "this is not a latency table" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phi", "1", "--flops", "1G"], "--phi and --flops both say how large"),
        ([], "nothing says how large the network is to be"),
        (["--flops", "1.8X"], "--flops: '1.8X' is not understood"),
        (["--memory", "0"], "--memory: 0 cannot be a limit"),
        (
            ["--flops", "10k"],
            "no member of this family is within flops 10.0 k: the",
        ),
        (
            ["--flops", "1G", "--params", "1k"],
            "is within params 1.0 k: the smallest, at",
        ),
        (["--flops", "100T"], "every member of this family is within flops 100.0 T: the largest"),
        (["--params", "1T"], "within params 1.0 T: the largest, at phi 16, has 1.8 G"),
        (["--flops", "1G", "--strategy", "widht"], "did you mean 'width'?"),
        (["--flops", "1G", "--strategy", "width", "--alpha", "2"], "has shares of its own"),
        (["--flops", "1G", "--match", "exact"], "match: 'exact' is not known"),
        (["--flops", "1G", "--alpha", "1.2"], "coefficients are missing"),
    ],
)
def test_targets_that_cannot_be(wrong, arguments, said):
    assert said in wrong("scale", "efficientnet_b0", *arguments)


def test_strategies_of_detectors_are_told(wrong):
    said = wrong("scale", "efficientdet_d0", "--flops", "12G", "--strategy", "width")
    assert "'width' does not scale a detector" in said


def test_a_target_takes_no_torch():
    code = (
        "import sys; from scalesearch.cli.main import app; "
        "app(['scale', 'efficientnet_b0', '--flops', '1.8G'], standalone_mode=False); "
        "print({'torch', 'numpy', 'pandas', 'optuna'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_coefficients_of_the_other_kind(wrong):
    said = wrong("scale", "efficientdet_d0", "--gamma", "1.15", "--phi", "1")
    assert "--gamma does not scale this kind of network" in said
    said = wrong("scale", "efficientnet_b0", *TRIPLE, "--neck-width", "1.2", "--phi", "1")
    assert "--neck-width does not scale this kind of network" in said
