"""Estimated latency of blocks that a table lacks, from times that are known to be linear."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.arch.published import published
from scalesearch.arch.walk import walk
from scalesearch.cost.cost import Deployment
from scalesearch.cost.counts import block_counts
from scalesearch.cost.latency_estimate import estimator, part_of_entry
from scalesearch.cost.latency_table import LatencyTable, entry_name, predict
from scalesearch.errors import UserError

NETS = [
    published(name, **more)
    for name in ("efficientnet_b0", "mobilenet_v2", "resnet50", "wrn_16_8", "mobilenet_v1")
    for more in ({}, {"padding": "same"})
]


def seconds_of(part):
    """3 us for each block, 1 ns for each kilo-FLOP, 2 ns for each activation."""
    counted = block_counts(part.rule, part.args)
    return 3e-6 + 1e-12 * counted.flops + 2e-9 * counted.activations


def table_of(*nets):
    entries = {entry_name(p.args): [seconds_of(p)] for net in nets for p in walk(net)}
    return LatencyTable(
        deployment=Deployment(), machine="m", torch="t", entries=entries, rests=[1e-4]
    )


def total(net):
    return 1e-4 + sum(part.repeats * seconds_of(part) for part in walk(net))


@pytest.mark.parametrize("net", NETS, ids=lambda net: f"{net.stages[0].block}_{net.padding}")
def test_every_entry_names_its_block(net):
    for part in walk(net):
        again = part_of_entry(entry_name(part.args))
        assert entry_name(again.args) == entry_name(part.args)
        assert block_counts(again.rule, again.args) == block_counts(part.rule, part.args)


def test_blocks_of_the_table_are_as_predicted():
    net = published("efficientnet_b0")
    table = table_of(net)
    assert estimator(table)(net) == pytest.approx(predict(table, net))


@pytest.mark.parametrize("resolution", [192, 260, 380])
def test_other_sizes_are_estimated_where_time_is_linear_in_work(resolution):
    net = published("efficientnet_b0")
    other = replace(net, resolution=resolution)
    with pytest.raises(UserError, match="has no entry"):
        predict(table_of(net), other)
    assert estimator(table_of(net))(other) == pytest.approx(total(other), rel=0.02)


def test_other_widths_are_estimated():
    b4 = published("efficientnet_b4")
    assert estimator(table_of(published("efficientnet_b0")))(b4) == pytest.approx(
        total(b4), rel=0.03
    )


def test_a_kind_of_block_that_the_table_lacks_is_told():
    estimate = estimator(table_of(published("efficientnet_b0")))
    with pytest.raises(UserError, match="no entry like 'stem k7"):
        estimate(published("resnet50"))


@pytest.mark.parametrize(
    "name", ["", "mbconv", "mbcnov k3 e1 se0.0 s1, 1 to 1 channels of 1 x 1, relu"]
)
def test_names_of_nothing_are_told(name):
    with pytest.raises(UserError, match="is no entry of a latency table"):
        part_of_entry(name)
