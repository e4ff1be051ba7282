"""Counts of one block by hand."""

from __future__ import annotations

import pytest

from scalesearch.arch.backbone import Head
from scalesearch.arch.blocks import BLOCKS
from scalesearch.arch.graph import Op
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk_head
from scalesearch.cost.tally import Tally, tally


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


def test_a_block_with_a_projected_shortcut_by_hand():
    # 4 channels on 6 x 10 pixels to 8 on 3 x 5; a quarter of 8 is 2 inner channels.
    stage = Stage(block="bottleneck", width=8, stride=2)
    counted = tally(BLOCKS["bottleneck"](stage, 4, (6, 10), 2))
    weights = 4 * 2 + 2 * 2 * 9 + 2 * 8 + 4 * 8
    assert counted.params == weights + 2 * (2 + 2 + 8 + 8)
    assert counted.flops == 4 * 2 * 60 + 2 * 2 * 9 * 15 + 2 * 8 * 15 + 4 * 8 * 15
    assert counted.activations == 2 * 60 + 2 * 15 + 8 * 15 + 8 * 15
    assert counted.flops_total == counted.flops + 2 * counted.activations  # each has a norm
    assert (counted.norms, counted.norm_width, counted.largest) == (4, 20, 36)


def test_a_norm_before_its_convolution_counts_what_it_takes():
    # 4 channels on 6 x 10 pixels to 8 at the same size: norms of 4 and of 8 channels.
    counted = tally(BLOCKS["wide"](Stage(block="wide", width=8), 4, (6, 10), 1))
    assert counted.flops == (4 * 8 * 9 + 8 * 8 * 9 + 4 * 8) * 60
    assert counted.flops_total == counted.flops + 2 * (4 + 8) * 60
    assert counted.activations == 3 * 8 * 60
    assert counted.params == 4 * 8 * 9 + 8 * 8 * 9 + 4 * 8 + 2 * (4 + 8)
    assert (counted.norms, counted.norm_width) == (2, 12)


@pytest.mark.parametrize(
    ("head", "features", "before"),
    [
        (Head(width=0), 4, Tally(0, 0, 0, 0, 0, 0, 0)),
        (Head(width=0, norm=True), 4, Tally(0, 2 * 4 * 15, 8, 0, 1, 4, 0)),
        (
            Head(width=6),
            6,
            Tally(4 * 6 * 15, 4 * 6 * 15 + 2 * 6 * 15, 24 + 12, 6 * 15, 1, 6, 24),
        ),
    ],
)
def test_heads_by_hand(head, features, before):
    # 4 channels on 3 x 5 pixels to 10 classes: the pooling counts each value that it takes.
    counted = tally(walk_head(head, 10, 4, (3, 5)).ops)
    assert counted.flops == before.flops + features * 10
    assert counted.flops_total == before.flops_total + features * 15 + features * 10
    assert counted.params == before.params + features * 10 + 10
    assert counted.activations == before.activations + 10
    assert (counted.norms, counted.norm_width) == (before.norms, before.norm_width)
    assert counted.largest == features * 10


def test_what_has_no_weights_and_is_not_counted_costs_nothing():
    size = (3, 5)
    for kind in ("add", "cut", "gate", "dropout", "max_pool", "pool"):
        assert tally((Op(kind, kind, 4, 4, size, size, active=True),)) == Tally(*[0] * 7)
    assert set(tally(())) == {0}
