"""What blocks in a row add up to, by hand, in any grouping, for one network and for many."""

from __future__ import annotations

from functools import reduce

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.arch.published import published
from scalesearch.arch.walk import walk
from scalesearch.cost.composition import (
    NOTHING,
    BlockCost,
    MemoryContext,
    block_cost,
    chain,
    join,
    price,
    repeat,
)
from scalesearch.cost.cost import Workload

FIRST = BlockCost(
    flops=100,
    flops_total=130,
    params=10,
    activations=7,
    buffers=32,
    largest_weight=6,
    weight_copies=20,
    inference_peak=500,
    saved=300,
    forward_peak=340,
    backward_peak=360,
)
SECOND = BlockCost(
    flops=40,
    flops_total=50,
    params=50,
    activations=9,
    buffers=56,
    largest_weight=30,
    weight_copies=100,
    inference_peak=490,
    saved=80,
    forward_peak=90,
    backward_peak=310,
)
FIELDS = len(BlockCost._fields)
# What is alive in backward is at least what autograd keeps and the gradients of the weights.
BLOCKS = (
    st.lists(st.integers(0, 10**9), min_size=FIELDS, max_size=FIELDS)
    .map(BlockCost._make)
    .map(lambda block: block._replace(backward_peak=block.backward_peak + 4 * block.params))
)


def test_two_in_a_row_by_hand():
    assert join(FIRST, SECOND) == BlockCost(
        flops=140,
        flops_total=180,
        params=60,
        activations=16,
        buffers=88,
        largest_weight=30,
        weight_copies=120,
        inference_peak=20 + 490,  # the first's copies are there while the second runs
        saved=380,
        forward_peak=300 + 90,  # so is what autograd saved of the first
        # In the second 300 + 310; in the first 360, with 4 bytes for each of the second's 50
        # gradients.
        backward_peak=610,
    )
    low = SECOND._replace(backward_peak=200)
    assert join(FIRST, low).backward_peak == 360 + 4 * 50


def test_a_peak_in_the_first_block_stays():
    high = FIRST._replace(inference_peak=9_000, forward_peak=8_000)
    both = join(high, SECOND)
    assert (both.inference_peak, both.forward_peak) == (9_000, 8_000)


def test_a_map_for_a_neck_is_held_and_its_gradient_waits_behind_it():
    both = join(FIRST._replace(held=70, waiting=90), SECOND)
    assert both.inference_peak == 20 + 70 + 490  # its copies, the map
    assert both.backward_peak == 300 + 90 + 310  # the gradient waits while backward is in here
    assert (both.saved, both.forward_peak) == (380, 390)
    # The neck takes the map: behind it nothing is held.
    taken = join(both, BlockCost(held=-70, waiting=-90))
    assert join(taken, SECOND).inference_peak == max(580, 120 + 490)
    assert join(taken, SECOND).backward_peak == max(700 + 4 * 50, 380 + 310)


def test_three_equal_blocks_by_hand():
    # Autograd saves more of a block than its gradients take: the peak is in the last.
    three = repeat(FIRST, 3)
    assert three == BlockCost(
        flops=300,
        flops_total=390,
        params=30,
        activations=21,
        buffers=96,
        largest_weight=6,
        weight_copies=60,
        inference_peak=500 + 2 * 20,
        saved=900,
        forward_peak=340 + 2 * 300,
        backward_peak=360 + 2 * 300,
    )
    # It saves less: in the first, when the gradients of the others have been made.
    assert repeat(SECOND, 3).backward_peak == 310 + 2 * 4 * 50


@given(BLOCKS, st.integers(1, 5))
def test_repeating_is_joining_equal_blocks(block, times):
    block = block._replace(held=0, waiting=0, images=0, outputs=0)
    assert repeat(block, times) == reduce(join, [block] * times)


@given(BLOCKS, BLOCKS, BLOCKS)
@settings(max_examples=50)
def test_grouping_does_not_matter(a, b, c):
    assert join(join(a, b), c) == join(a, join(b, c))


@given(BLOCKS)
def test_nothing_before_a_block_is_the_block(block):
    assert join(NOTHING, block) == block


@given(st.lists(st.tuples(BLOCKS, BLOCKS), min_size=1, max_size=4))
@settings(max_examples=20)
def test_arrays_hold_what_ints_hold(networks):
    workload = Workload(inference_batch=3, training_batch=5, optimizer_copies=2, ema=True)

    def columns(blocks):
        return BlockCost(*(np.array(column) for column in zip(*blocks, strict=True)))

    both = join(*(columns(blocks) for blocks in zip(*networks, strict=True)), np.maximum)
    many = price(both, workload, np.maximum)
    one_by_one = [price(join(a, b), workload) for a, b in networks]
    for name, values in many.known().items():
        assert values.tolist() == [getattr(one, name) for one in one_by_one]


def test_parts_in_a_row_are_their_blocks_in_a_row():
    """However often a part repeats: the chain takes each block once, here every block runs."""
    context = MemoryContext(2, 3, 4)
    parts = list(walk(published("efficientnet_b2", resolution=64)))
    total, after = NOTHING, context
    for part in parts:
        for _ in range(part.repeats):
            block, after = block_cost(part.rule, part.args, after)
            total = join(total, block)
    assert chain(parts, context) == (total, after)


WHOLE = BlockCost(params=100, buffers=112, largest_weight=60, images=48, outputs=10)


def test_the_price_of_a_forward_pass_by_hand():
    block = WHOLE._replace(inference_peak=5_000)
    # Weights, buffers, two images, the blocks.
    rest = 4 * 100 + 112 + 4 * 2 * 48
    assert price(block, Workload(inference_batch=2)).inference_bytes == rest + 5_000
    # Under autocast the outputs are made float32 in the end: that is more than a small peak.
    low = Workload(inference_batch=2, precision="bf16")
    assert price(block, low).inference_bytes == rest + 5_000
    outputs = price(WHOLE._replace(inference_peak=50), low).inference_bytes
    assert outputs == rest + 2 * 10 * (2 + 4)


def training_bytes(block, **fields):
    return price(block, Workload(training_batch=2, **fields)).training_bytes


def test_the_price_of_a_training_step_by_hand():
    rest = 112 + 4 * 2 * 48 + 4 * 100  # buffers, images, weights
    block = WHOLE._replace(saved=3_000, forward_peak=3_100, backward_peak=3_500)
    backward = 3_500 + 2 * 4  # with the loss and its gradient
    assert training_bytes(block, optimizer_copies=0) == rest + backward
    # Momentum is a value for each parameter, Adam keeps two.
    assert training_bytes(block, optimizer_copies=1) == rest + backward + 400
    assert training_bytes(block, optimizer_copies=2) == rest + backward + 800
    # A moving average holds weights and buffers once more.
    averaged = training_bytes(block, optimizer_copies=1, ema=True)
    assert averaged == rest + backward + 400 + 400 + 112


def test_a_step_peaks_in_forward_or_in_the_update():
    rest = 112 + 4 * 2 * 48 + 4 * 100
    low = WHOLE._replace(saved=10, forward_peak=20, backward_peak=30)
    # All gradients; Adam makes two temporaries of the largest weight on top.
    assert training_bytes(low, optimizer_copies=2) == rest + 800 + 4 * 100 + 2 * 4 * 60
    forward = low._replace(forward_peak=9_000)
    assert training_bytes(forward, optimizer_copies=0) == rest + 9_000
