"""What blocks in a row add up to, by hand, in any grouping, for one network and for many."""

from __future__ import annotations

from functools import reduce

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.cost.cost import Workload
from scalesearch.cost.sums import NOTHING, Sums, join, price, repeat

# flops, flops_total, params, activations, norms, norm_width, largest, copies, live, saved, ahead,
# rise
FIRST = Sums(100, 130, 10, 7, 1, 3, 6, 20, 500, 300, 340, 360)
SECOND = Sums(40, 50, 50, 9, 2, 5, 30, 100, 490, 80, 90, 310)
COUNTS = st.integers(0, 10**9)
CHAINED = st.lists(COUNTS, min_size=12, max_size=12).map(lambda counts: Sums(*counts))
# Of a detector; what autograd keeps of a block is more than its gradients here, as usually.
FED = st.lists(COUNTS, min_size=17, max_size=17).map(Sums._make)
FED = FED.map(lambda block: block._replace(saved=block.saved + 4 * block.params))
BLOCKS = CHAINED | FED
NETWORKS = st.tuples(BLOCKS, BLOCKS, st.integers(1, 10**6), st.integers(1, 1000))


def test_two_in_a_row_by_hand():
    assert join(FIRST, SECOND) == Sums(
        flops=140,
        flops_total=180,
        params=60,
        activations=16,
        norms=3,
        norm_width=8,
        largest=30,
        copies=120,
        live=20 + 490,  # the first's copies are there while the second runs
        saved=380,
        ahead=300 + 90,  # so is what autograd saved of the first
        # Backward in the second: 300 saved before, while gradients of the first's 10 parameters
        # of 4 bytes are not made yet.
        rise=300 - 4 * 10 + 310,
    )


def test_a_peak_in_the_first_block_stays():
    high = FIRST._replace(live=9_000, ahead=8_000, rise=7_000)
    both = join(high, SECOND)
    assert (both.live, both.ahead, both.rise) == (9_000, 8_000, 7_000)


def test_a_map_for_a_neck_is_held_and_its_gradient_waits_behind_it():
    tapped = FIRST._replace(held=70, waiting=90)
    both = join(tapped, SECOND)
    assert both.live == 20 + 70 + 490  # its copies, the map
    assert both.rise == 300 - 4 * 10 + 90 + 310  # the gradient waits while backward is in here
    assert (both.held, both.waiting) == (70, 90)
    assert (both.saved, both.ahead) == (380, 390)
    # The heads come when the map is gone, and go back before it has a gradient.
    heads = NOTHING._replace(saved=5, late=800, early=900)
    whole = join(both, heads)
    assert whole.late == 120 + 800
    assert whole.early == 380 - 4 * 60 + 900
    assert (whole.live, whole.rise) == (both.live, both.rise)
    spent = price(whole, 0, 0, Workload(inference_batch=1, training_batch=1, optimizer_copies=0))
    weights, buffers = 4 * 60, 4 * 2 * 8 + 8 * 3
    assert spent.inference_bytes == weights + buffers + 920
    assert spent.training_bytes == weights + buffers + 1040 + weights + 2 * 4


def test_three_equal_blocks_by_hand():
    # Autograd saves more of a block than its gradients take: the peak is in the last.
    assert repeat(FIRST, 3) == Sums(
        flops=300,
        flops_total=390,
        params=30,
        activations=21,
        norms=3,
        norm_width=9,
        largest=6,
        copies=60,
        live=500 + 2 * 20,
        saved=900,
        ahead=340 + 2 * 300,
        rise=360 + 2 * (300 - 4 * 10),
    )
    # It saves less: in the first, when the gradients of the others have been made.
    assert repeat(SECOND, 3).rise == 310


@given(BLOCKS, st.integers(1, 5))
def test_repeating_is_joining_equal_blocks(block, times):
    block = block._replace(held=0, waiting=0)
    assert repeat(block, times) == reduce(join, [block] * times)


@given(FED, FED, FED)
@settings(max_examples=50)
def test_grouping_does_not_matter_with_a_neck(a, b, c):
    assert join(join(a, b), c) == join(a, join(b, c))


@given(CHAINED, CHAINED, CHAINED)
@settings(max_examples=50)
def test_grouping_does_not_matter(a, b, c):
    assert join(join(a, b), c) == join(a, join(b, c))


@given(BLOCKS)
def test_nothing_before_a_block_is_the_block(block):
    assert join(NOTHING, block) == block


@given(st.lists(NETWORKS, min_size=1, max_size=4))
@settings(max_examples=20)
def test_arrays_hold_what_ints_hold(networks):
    workload = Workload(inference_batch=3, training_batch=5, optimizer_copies=2, ema=True)
    firsts, seconds, images, classes = zip(*networks, strict=True)

    def columns(blocks):
        return Sums(*(np.array(column) for column in zip(*blocks, strict=True)))

    both = join(columns(firsts), columns(seconds), np.maximum)
    many = price(both, np.array(images), np.array(classes), workload, np.maximum)
    one_by_one = [price(join(a, b), i, k, workload) for a, b, i, k in networks]
    for name, values in many.known().items():
        assert values.tolist() == [one.known()[name] for one in one_by_one]


def test_the_price_of_a_forward_pass_by_hand():
    sums = Sums(1, 2, 100, 3, 2, 12, 60, 0, 5_000, 0, 0, 0)
    spent = price(sums, 48, 10, Workload(inference_batch=2))
    # Weights, running mean and variance, two counters of steps, two images, the blocks.
    assert spent.inference_bytes == 4 * 100 + 4 * 2 * 12 + 8 * 2 + 4 * 2 * 48 + 5_000


def training_bytes(sums, **fields):
    return price(sums, 48, 10, Workload(training_batch=2, **fields)).training_bytes


def test_the_price_of_a_training_step_by_hand():
    rest = 4 * 2 * 12 + 8 * 2 + 4 * 2 * 48 + 4 * 100  # buffers, images, weights
    sums = Sums(1, 2, 100, 3, 2, 12, 60, 0, 0, 3_000, 3_100, 3_500)
    backward = 3_500 + 4 * 100 + 2 * 4  # with all gradients, the loss and its own
    assert training_bytes(sums, optimizer_copies=0) == rest + backward
    # Momentum is a value for each parameter, Adam keeps two.
    assert training_bytes(sums, optimizer_copies=1) == rest + backward + 400
    assert training_bytes(sums, optimizer_copies=2) == rest + backward + 800
    # A moving average holds weights and buffers once more.
    averaged = training_bytes(sums, optimizer_copies=1, ema=True)
    assert averaged == rest + backward + 400 + 400 + 4 * 2 * 12 + 8 * 2


def test_a_step_peaks_in_forward_in_the_loss_or_in_the_update():
    low = Sums(1, 2, 100, 3, 2, 12, 60, 0, 0, 10, 20, 30)
    rest = 4 * 2 * 12 + 8 * 2 + 4 * 2 * 48 + 4 * 100
    # All gradients; Adam makes two temporaries of the largest weight on top.
    assert training_bytes(low, optimizer_copies=2) == rest + 800 + 4 * 100 + 2 * 4 * 60
    # Log-softmax, its gradient and that of the logits: 2 images of 10 classes each.
    loss = low._replace(saved=3_000, rise=30)
    assert training_bytes(loss, optimizer_copies=0) == rest + 3_000 + 3 * 4 * 20 + 2 * 4
    ahead = low._replace(ahead=9_000)
    assert training_bytes(ahead, optimizer_copies=0) == rest + 9_000
