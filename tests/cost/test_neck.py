"""A neck's sums by hand; that whole detectors measure the same is shown in `test_detector`."""

from __future__ import annotations

from functools import reduce

import pytest

from scalesearch.arch.detector_walk import Frame
from scalesearch.cost.memory import Setting
from scalesearch.cost.neck import first_layer, next_layer, tap
from scalesearch.cost.sums import join, repeat

SETTING = Setting(2, 3, 4, 4, same=False, in_place=False, drop_path=False, blocks=2)
BIFPN = Frame("bifpn", range(3, 6), 8, "fast", "silu", "batch", norm_bias=False)
SIZES = ((16, 16), (8, 8), (4, 4))
P4 = (5, SIZES[1])


def test_what_a_map_is_to_a_neck_by_hand():
    """An inner level is taken on the way down and, once more, on the way up."""
    sums, behind = tap(BIFPN, 1, P4, SIZES, False, SETTING)
    weights = 2 * (5 * 8 + 2 * 8)
    assert sums.flops == sums.activations * 5 == 2 * 5 * 8 * 64
    assert sums.flops_total == sums.flops + 2 * 2 * 8 * 64
    assert (sums.params, sums.norms, sums.norm_width, sums.largest) == (weights, 2, 16, 40)
    values = 4 * 5 * 64
    assert sums.held == 2 * values
    assert sums.saved == 3 * values  # both projections keep the same map
    assert sums.waiting == 3 * values + 4 * weights
    assert (sums.copies, sums.live, sums.ahead, sums.rise, sums.late, sums.early) == (0,) * 6
    assert behind == SETTING._replace(kept=True, tapped=True)


def test_a_map_that_is_kept_already_is_not_kept_again():
    sums, _ = tap(BIFPN, 1, P4, SIZES, False, SETTING._replace(kept=True))
    assert sums.saved == 0
    assert sums.held == 2 * 4 * 5 * 64


def test_levels_that_the_backbone_lacks_are_made_of_its_last_map():
    inside, _ = tap(BIFPN, 1, P4, SIZES, False, SETTING)
    last, _ = tap(BIFPN, 1, P4, SIZES, True, SETTING)
    assert 2 * last.flops == 3 * inside.flops
    top, _ = tap(BIFPN, 2, (5, SIZES[2]), SIZES, True, SETTING)  # nothing is left to be made
    assert top == tap(BIFPN, 2, (5, SIZES[2]), SIZES, False, SETTING)[0]


def test_autocast_copies_the_weights_of_projections():
    low = SETTING._replace(value_bytes=2)
    sums, _ = tap(BIFPN._replace(norm_bias=True), 1, P4, SIZES, False, low)
    assert sums.copies == 2 * 2 * (5 * 8 + 8)
    assert sums.saved == sums.copies + 3 * 2 * 5 * 64


@pytest.mark.parametrize(
    ("kind", "fusion", "same", "keeps"),
    [
        ("fpn", "fast", False, True),  # the product with its share
        ("fpn", "sum", False, False),  # a sum needs nothing, and upsampling neither
        ("fully_connected", "sum", False, True),  # max pooling for the level above
        ("fully_connected", "sum", True, False),  # which keeps what was padded
    ],
)
def test_a_map_as_wide_as_the_neck_is_kept_for_some_uses(kind, fusion, same, keeps):
    frame = BIFPN._replace(kind=kind, fusion=fusion)
    sums, behind = tap(frame, 1, (8, SIZES[1]), SIZES, False, SETTING._replace(same=same))
    assert sums.params == sums.flops == 0
    assert bool(sums.saved) == behind.kept == keeps
    assert sums.waiting == 3 * 4 * 8 * 64


FPN = Frame("fpn", range(3, 5), 8, "sum", "relu", "batch", norm_bias=True)
TWO = ((4, 4), (2, 2))
NARROW = (True, True)


def test_a_layer_by_hand():
    """P4 alone, then P3 with P4 made larger: a copy, a sum, two convolutions and a norm each."""
    sums, kept = first_layer(FPN, NARROW, TWO, SETTING)
    pixels = 16 + 4
    assert sums.flops == pixels * (8 * 9 + 8 * 8)
    assert sums.flops_total == sums.flops + 2 * 8 * pixels + 8 * 16
    assert sums.params == 2 * (8 * 9 + 8 * 8 + 8 + 2 * 8)
    # ReLU keeps what it puts out, which is what the first convolution takes; then what the second
    # and what the norm take. Each norm keeps a mean and a deviation for each channel.
    assert sums.saved == 3 * 4 * 8 * pixels * 3 + 2 * 2 * 4 * 8
    assert kept == (False, False)
    # P4's output, then that made larger, the sum, and what both convolutions put out.
    assert sums.live == 2 * 4 * 8 * (4 + 4 * 16)
    # First the norm of P3: its gradient and that of what it took in, beside P4's gradient. No
    # gradient of a weight is made but the norm's own.
    assert sums.early >= sums.saved + 3 * 4 * 8 * (16 + 16 + 4) - 4 * (sums.params - 2 * 8)
    assert sums.rise > 0


def test_learnt_fusion_keeps_its_inputs():
    plain, _ = first_layer(FPN, NARROW, TWO, SETTING)
    learnt, kept = first_layer(FPN._replace(fusion="fast"), NARROW, TWO, SETTING)
    # The maps are kept with what they are to the neck: P4 made larger is new.
    assert learnt.saved - plain.saved == 3 * 4 * 8 * 16
    assert learnt.params - plain.params == 1 + 2
    assert kept == (False, False)


def test_group_norm_has_no_running_statistics():
    batch, _ = first_layer(FPN, NARROW, TWO, SETTING)
    group, _ = first_layer(FPN._replace(norm="group"), NARROW, TWO, SETTING)
    assert (group.norms, group.norm_width, group.params) == (0, 0, batch.params)
    assert group.flops_total - batch.flops_total == 3 * 8 * (16 + 4)
    # Of one group of each of 3 images, not of each of 8 channels.
    assert batch.saved - group.saved == 2 * 2 * 4 * (8 - 3)


def test_projections_of_the_first_layer_come_on_top_of_the_next():
    first, kept = first_layer(BIFPN, (False,) * 3, SIZES, SETTING)
    narrow, _ = first_layer(BIFPN, (True,) * 3, SIZES, SETTING)
    later = next_layer(BIFPN, kept, SIZES, SETTING)
    assert first[:7] == narrow[:7] == later[:7]  # counts are alike
    # What each of four projections puts out, with its statistics, and its norm's output; the
    # product keeps that, where it would keep the map itself.
    assert first.saved > narrow.saved
    assert first.live > narrow.live
    assert (later.rise, later.late) == (0, 0)
    assert reduce(join, [later] * 3) == repeat(later, 3)


def test_a_layer_says_which_of_its_maps_it_keeps_itself():
    _, kept = first_layer(BIFPN, (False,) * 3, SIZES, SETTING)
    # P3 and P4 go up by max pooling, the top goes nowhere.
    assert kept == (True, True, False)
    _, kept = first_layer(BIFPN, (False,) * 3, SIZES, SETTING._replace(same=True))
    assert kept == (False, False, False)  # pooling keeps the padded maps
