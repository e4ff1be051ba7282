"""Numbers of EfficientNet-B0 as timm builds and fvcore counts it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.cli.profile import Measured, measure_network, print_measured
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Cost, Workload
from tests.shapes import detector

# fvcore on timm's efficientnet_b0 at 224 pixels, evaluation mode.
B0 = {"flops": 385_814_752, "flops_total": 399_352_864, "params": 5_288_548}
B0 |= {"activations": 6_748_036}


def test_the_table_of_b0(scalesearch):
    done = scalesearch("profile", "efficientnet_b0")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    for number in ("385.8 M", "399.4 M", "5.3 M", "6.7 M"):
        assert number in lines["total"]
    assert "mbconv k3 s1 e1 se0.25" in lines["stage1"]
    assert "14 x 14" in lines["stage5"]
    assert len([name for name in lines if name.startswith("stage")]) == 8  # with its head line
    assert "1 flop = 1 multiply-add" in done.out
    assert "\x1b" not in done.out


def test_json_is_exact(scalesearch):
    plain = json.loads(scalesearch("profile", "efficientnet_b0", "--json").out)
    assert {name: plain[name] for name in B0} == B0
    assert plain["resolution"] == 224
    for name, total in B0.items():
        assert sum(stage[name] for stage in plain["stages"]) == total
    assert [stage["stage"] for stage in plain["stages"]] == [
        "stem",
        *(f"stage{n}" for n in range(1, 8)),
        "head",
    ]


def test_another_resolution(scalesearch):
    plain = json.loads(
        scalesearch("profile", "efficientnet_b0", "--resolution", "112", "--json").out
    )
    assert plain["params"] == B0["params"]
    assert plain["flops"] < B0["flops"] / 3
    assert plain["stages"][0]["output"] == "56 x 56"


def test_an_image_that_is_no_square(scalesearch):
    plain = json.loads(scalesearch("profile", "resnet50", "--resolution", "480x640", "--json").out)
    assert plain["resolution"] == [480, 640]
    # Five halvings of each side.
    assert plain["stages"][-1]["output"] == "15 x 20"
    assert "at 480 x 640" in scalesearch("profile", "resnet50", "--resolution", "480x640").out


def test_the_training_step_that_memory_is_counted_for(scalesearch):
    def training(*options):
        return json.loads(scalesearch("profile", "wrn_16_8", "--json", *options).out)[
            "training_bytes"
        ]

    assert training("--batch", "64") > 1.5 * training()
    # 10.96 M parameters of 4 bytes: one copy more for the second moment.
    assert training("--optimizer", "adamw") >= training() + 4 * 10_961_370
    assert training("--precision", "bf16") < 0.8 * training()
    shown = scalesearch("profile", "wrn_16_8", "--batch", "64", "--optimizer", "adamw").out
    assert "training, batch 64" in shown
    assert "(float32, adamw)" in shown


def test_measured_beside_the_closed_form(scalesearch):
    small = ("profile", "wrn_10_1", "--resolution", "16", "--measured")
    assert "counted by fvcore in" in scalesearch(*small).out
    plain = json.loads(scalesearch(*small, "--json").out)
    for name in ("flops", "flops_total", "params", "activations"):
        assert plain["measured"][name] == plain[name]
    assert plain["measured"]["training_bytes"] == pytest.approx(plain["training_bytes"], rel=0.1)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientdet_d0"])
def test_maps_of_one_pixel_cannot_be_trained_one_at_a_time(scalesearch, wrong, name):
    """Batch norm has nothing to normalise by; arithmetic and two images have."""
    small = ("profile", name, "--resolution", "32", "--measured")
    said = wrong(*small, "--batch", "1")
    assert "cannot be run on images of 1 x 3 x 32 x 32: Expected more than 1 value" in said
    assert "take two images or more (--batch 2)" in said
    assert scalesearch(*small[:4], "--batch", "1").code == 0
    assert scalesearch(*small, "--batch", "2").code == 0


def test_mistakes(wrong, tmp_path):
    assert "efficientnet_bo" in wrong("profile", "efficientnet_bo")
    assert "missing.yaml" in wrong("profile", tmp_path / "missing.yaml")
    assert "resolution" in wrong("profile", "efficientnet_b0", "--resolution", "0")
    assert "height and width: 480x640" in wrong(
        "profile", "efficientnet_b0", "--resolution", "224x"
    )
    assert "sgd, rmsprop" in wrong("profile", "efficientnet_b0", "--optimizer", "lion")
    assert "float32, bf16" in wrong("profile", "efficientnet_b0", "--precision", "int8")
    assert "no_such_module" in wrong("profile", "no_such_module:net")


COST = Cost(1_000_000, 1_100_000, 2_000, 30_000, 400_000, 5_000_000)


def shown(capsys):
    lines = map(str.split, capsys.readouterr().out.splitlines())
    return {words[0]: words for words in lines if words}


def test_equal_counts_are_called_equal_and_others_by_their_difference(capsys):
    costs = replace(COST, flops=800_000, training_bytes=5_100_000)
    print_measured(COST, 0.0004, Measured(costs, 0.1, 2.0, 3.0))
    rows = shown(capsys)
    assert rows["params"] == ["params", "2,000", "2,000", "equal"]
    assert rows["flops"] == ["flops", "1,000,000", "800,000", "+25.00%"]
    assert rows["training_bytes"][3] == "-1.96%"
    assert " ".join(rows["closed"]).startswith("closed form in 0.4 ms; built in 100 ms, counted by")


def test_a_network_is_built_and_counted():
    # One 3x3 convolution to 2 channels, one to 4, a classifier of 4 to 3.
    stages = (Stage(block="fused_mbconv", width=4),)
    net = Backbone(stages=stages, stem=Stem(width=2, stride=1), head=Head(width=0), num_classes=3)
    measured = measure_network(net, (4, 6), Workload(training_batch=2))
    assert measured.cost.flops == 24 * (9 * 3 * 2 + 9 * 2 * 4) + 4 * 3
    assert measured.cost.params == (9 * 3 * 2 + 2 * 2) + (9 * 2 * 4 + 2 * 4) + (4 * 3 + 3)
    assert measured.cost.training_bytes > measured.cost.inference_bytes
    assert min(measured[1:]) > 0


def test_a_detector_is_measured_with_its_loss(capsys):
    measured = measure_network(detector(), (32, 32), Workload(training_batch=2))
    arithmetic = cost(detector())
    assert measured.cost.counts() == arithmetic.counts()
    print_measured(arithmetic, 1e-4, measured)
    out = capsys.readouterr().out
    assert out.count("equal") == 5  # four counts and inference; in training a few scalars are left
    assert f"{measured.cost.training_bytes:,}" in out
