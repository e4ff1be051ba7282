"""Counts of one block by hand."""

from __future__ import annotations

from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import BLOCKS
from scalesearch.cost.tally import tally


def test_a_whole_block_by_hand():
    # 4 channels, expanded to 12, on 6 x 10 pixels, strided to 3 x 5; kernel 5; to 7 channels.
    stage = Stage(width=7, stride=2, kernel=5, expand=3, se=0.5)
    counted = tally(BLOCKS["mbconv"](stage, 4, (6, 10), 2))
    inner, squeezed, before, after = 12, 2, 6 * 10, 3 * 5
    convolutions = 4 * inner * before + inner * 25 * after + inner * 7 * after
    squeeze = inner * squeezed + squeezed * inner
    assert counted.flops == convolutions + squeeze
    norms = 2 * (inner * before + inner * after + 7 * after)
    assert counted.flops_total == counted.flops + norms
    weights = 4 * inner + inner * 25 + inner * 7
    biases = squeezed + inner
    assert counted.params == weights + squeeze + biases + 2 * (inner + inner + 7)
    outputs = inner * before + inner * after + squeezed + inner + 7 * after
    assert counted.activations == outputs
    assert (counted.norms, counted.norm_width) == (3, inner + inner + 7)
    assert counted.largest == inner * 25


def test_a_block_without_operations_costs_nothing():
    assert set(tally(())) == {0}
