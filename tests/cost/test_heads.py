"""The sums of heads and loss by hand; whole detectors are measured in `test_detector`."""

from __future__ import annotations

from scalesearch.arch.detector_walk import Frame
from scalesearch.cost.heads import heads
from scalesearch.cost.memory import Setting

SETTING = Setting(2, 3, 4, 4, same=False, in_place=False, drop_path=False)
FRAME = Frame("fpn", range(3, 5), 8, "sum", "silu", "batch", norm_bias=False)
SIZES = ((4, 4), (2, 2))
PIXELS = 16 + 4
LAST = (5, 4)  # of one anchor: five classes, a box
NONE = (False, False)


def test_heads_without_depth_by_hand():
    sums = heads(FRAME, 0, LAST, NONE, SIZES, SETTING)
    assert sums.flops == sums.flops_total == PIXELS * (2 * 8 * 9 + 8 * 9)
    assert sums.params == 2 * 8 * 9 + 8 * 9 + 9
    # Both heads keep the neck's maps, each what its 1x1 convolution takes; the loss its slopes.
    assert sums.saved == 3 * 4 * PIXELS * (8 + 2 * 8 + 5)
    # With the logits, the codes and two temporaries of one image.
    assert sums.ahead == sums.saved + 3 * 4 * PIXELS * (5 + 4) + 2 * 4 * PIXELS * 5
    assert heads(FRAME, 0, LAST, (True, False), SIZES, SETTING).saved == sums.saved - 3 * 4 * 8 * 16
    assert (sums.live, sums.rise, sums.held, sums.waiting) == (0,) * 4


def test_convolutions_are_there_once_and_norms_for_every_level():
    flat, deep = (heads(FRAME, depth, LAST, NONE, SIZES, SETTING) for depth in (0, 1))
    assert deep.params - flat.params == 2 * (8 * 9 + 8 * 8 + 2 * 2 * 8)
    assert deep.norms == 2 * 2
    # Inputs of both convolutions, of the norm and of the activation; the norm's statistics.
    kept = 3 * 4 * PIXELS * 2 * 4 * 8 - 3 * 4 * PIXELS * 8 + 2 * 2 * 2 * 4 * 8
    assert deep.saved - flat.saved == kept + 3 * 4 * PIXELS * 8


def test_a_forward_pass_by_hand():
    """The maps, the class logits, and before the codes the pixels twice, as they are joined."""
    wide = heads(FRAME, 0, (500, 4), NONE, SIZES, SETTING)
    assert wide.late == 2 * 4 * PIXELS * (8 + 500 + 2 * 8)


def test_what_is_put_out_under_autocast_is_made_float32_when_its_copies_are_gone():
    low = SETTING._replace(value_bytes=2)
    wide = heads(FRAME, 0, (500, 4), NONE, SIZES, low)
    assert wide.put_out == 2 * (2 + 4) * PIXELS * (500 + 4)
    assert heads(FRAME, 0, (500, 4), NONE, SIZES, SETTING).put_out == 0
    assert wide.copies == 2 * wide.params


def test_the_box_loss_goes_back_first():
    """Gradients of logits and codes are there when backward enters the heads."""
    sums = heads(FRAME, 0, (500, 4), NONE, SIZES, SETTING)
    given = 3 * 4 * PIXELS * (500 + 4)
    assert sums.early >= sums.saved + given - 4 * sums.params
