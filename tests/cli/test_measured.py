from __future__ import annotations

from dataclasses import replace

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.cli.measured import Measured, measure_network, print_measured
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Cost, Workload
from tests.shapes import detector

COST = Cost(1_000_000, 1_100_000, 2_000, 30_000, 400_000, 5_000_000)


def shown(capsys):
    lines = map(str.split, capsys.readouterr().out.splitlines())
    return {words[0]: words for words in lines if words}


def test_equal_counts_are_called_equal_and_others_by_their_difference(capsys):
    measured = replace(COST, flops=800_000, training_bytes=5_100_000)
    print_measured(COST, 0.0004, Measured(measured, 0.1, 2.0, 3.0))
    rows = shown(capsys)
    assert rows["params"] == ["params", "2,000", "2,000", "equal"]
    assert rows["flops"] == ["flops", "1,000,000", "800,000", "+25.00%"]
    assert rows["training_bytes"][3] == "-1.96%"
    assert " ".join(rows["closed"]).startswith("closed form in 0.4 ms; built in 100 ms, counted by")


def test_a_network_is_built_and_counted():
    # One 3x3 convolution to 2 channels, one to 4, a classifier of 4 to 3.
    stages = (Stage(block="fused_mbconv", width=4),)
    net = Backbone(stages=stages, stem=Stem(width=2, stride=1), head=Head(width=0), num_classes=3)
    found = measure_network(net, (4, 6), Workload(training_batch=2))
    assert found.cost.flops == 24 * (9 * 3 * 2 + 9 * 2 * 4) + 4 * 3
    assert found.cost.params == (9 * 3 * 2 + 2 * 2) + (9 * 2 * 4 + 2 * 4) + (4 * 3 + 3)
    assert found.cost.training_bytes > found.cost.inference_bytes
    assert min(found.built, found.counted, found.followed) > 0


def test_a_detector_is_measured_with_its_loss(capsys):
    found = measure_network(detector(), (32, 32), Workload(training_batch=2))
    arithmetic = cost(detector())
    assert found.cost.counts() == arithmetic.counts()
    print_measured(arithmetic, 1e-4, found)
    out = capsys.readouterr().out
    assert out.count("equal") == 5  # four counts and inference; in training a few scalars are left
    assert f"{found.cost.training_bytes:,}" in out
