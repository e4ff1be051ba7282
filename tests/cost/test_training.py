"""Memory of single blocks in a training step, worked out by hand."""

from __future__ import annotations

import pytest

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk, walk_head, walk_stage
from scalesearch.cost.chain import first_setting
from scalesearch.cost.cost import Workload
from scalesearch.cost.training import training

BATCH = 3
IMAGE = (6, 8)
PIXELS = 6 * 8


def setting(precision="float32", **fields):
    net = Backbone(stages=(Stage(width=1),), **fields)
    return first_setting(net, Workload(training_batch=BATCH, precision=precision))


def of_block(stage, width, *, kept=False, **fields):
    parts, _ = walk_stage("stage", stage, width, IMAGE)
    return training(parts[0].ops, setting(**fields)._replace(blocks=2, kept=kept))[0]


def of_stem(stem, **fields):
    net = Backbone(stages=(Stage(width=1),), stem=stem, resolution=8)
    return training(next(iter(walk(net))).ops, setting(**fields))


def test_a_stem_with_silu():
    # Autograd saves what the convolution and the norm put out, and two statistics of each
    # channel, but not the image, which the caller holds. SiLU's backward has two gradients of
    # that size alive, and none of the weights: 27 * 2 and 4 of the norm.
    out, statistics = 4 * BATCH * 2 * 16, 4 * 2 * 2
    held, after = of_stem(Stem(width=2))
    assert held == (2 * out + statistics, 0, 2 * out + statistics + 2 * out - 4 * (27 * 2 + 4))
    assert (after.blocks, after.kept) == (1, False)


def test_a_stem_with_relu_keeps_what_it_puts_out():
    out, statistics = 4 * BATCH * 2 * 16, 4 * 2 * 2
    held, after = of_stem(Stem(width=2), activation="relu")
    assert held.saved == 2 * out + statistics
    assert (after.blocks, after.kept) == (1, True)
    # So a block behind it does not save its input once more.
    stage = Stage(block="basic", width=5)
    into = 4 * BATCH * 5 * PIXELS
    fresh, kept = (of_block(stage, 5, kept=kept, activation="relu") for kept in (False, True))
    assert fresh.saved - kept.saved == into


@pytest.mark.parametrize("activation", ["relu6", "silu", "hardswish"])
def test_only_relu_is_read_from_its_output(activation):
    assert of_stem(Stem(width=2), activation=activation)[1].kept is False


def test_autocast_saves_copies_of_image_and_weight():
    out, statistics = 2 * BATCH * 2 * 16, 4 * 2 * 2
    image, weights = 2 * BATCH * 3 * 64, 27 * 2
    held, _ = of_stem(Stem(width=2), precision="bf16")
    assert held.saved == image + 2 * weights + 2 * out + statistics
    assert held.rise == held.saved + 2 * out - 4 * (weights + 4)


def test_autocast_makes_a_weights_gradient_twice():
    # A classifier of 64 features: when its weights' gradient is cast, it is there in 2 and in 4
    # bytes a value, beside that of its input and that of the biases in 2; those in 4 count as made.
    head = walk_head(Head(width=0), 500, 64, (1, 1))
    held, _ = training(head.ops, setting("bf16")._replace(blocks=2))
    weights, features = 64 * 500, 2 * BATCH * 64
    assert held.saved == features + 2 * weights
    assert held.rise == features + (2 + 4) * weights + 2 * 500 - 4 * (weights + 500)


def test_a_block_without_shortcut_adds_up_its_operations():
    # Depthwise 3x3 and 1x1 convolution, each with norm and SiLU: two inputs, and what each
    # convolution and each norm put out. At its height the last activation's two gradients.
    stage = Stage(block="separable", width=5)
    narrow, wide = 4 * BATCH * 4 * PIXELS, 4 * BATCH * 5 * PIXELS
    saved = 4 * narrow + 2 * wide + 4 * 2 * (4 + 5)
    params = 4 * 9 + 2 * 4 + 4 * 5 + 2 * 5
    assert of_block(stage, 4) == (saved, 0, saved + 2 * wide - 4 * params)


def test_the_gradient_of_an_identity_shortcut_waits():
    # ReLU behind the sum; basic block of 5 channels, its input not kept. Saved: input, what two
    # convolutions put out, the first activation, the sum.
    out, weights = 4 * BATCH * 5 * PIXELS, 5 * 5 * 9
    held = of_block(Stage(block="basic", width=5), 5, activation="relu")
    assert held.saved == 5 * out + 4 * 4 * 5
    # In the sum's backward two gradients are alive with all that is saved. In the second
    # convolution's three are, the shortcut's being the third, but its output and the sum are gone,
    # and its weights have their gradient.
    in_sum = held.saved + 2 * out - 4 * 2 * (weights + 10)
    in_second = held.saved - 2 * out - 4 * 2 * 5 + 3 * out - 4 * (weights + 10)
    assert held.rise == max(in_sum, in_second)


def test_a_dropped_branch_has_a_gradient_of_its_own():
    # Without it the peak is in the projection: gradients of its output, its input and the sum,
    # with all that is saved but its output and two statistics of each channel.
    stage = Stage(width=16)
    out, depthwise, project = 4 * BATCH * 16 * PIXELS, 16 * 9 + 2 * 16, 16 * 16
    plain, dropped = (of_block(stage, 16, drop_path=rate) for rate in (0.0, 0.2))
    assert plain.rise == plain.saved - out - 4 * 2 * 16 + 3 * out - 4 * depthwise
    # With it in the norm: gradients of the sum, of the branch and of the projection's output.
    assert dropped.rise == plain.saved + 3 * out - 4 * (depthwise + project)
    assert dropped.saved - plain.saved == 4 * BATCH  # one value for each image


def test_a_projection_runs_back_before_the_branch():
    # Basic block, 2 to 10 channels at stride 1: the gradient of the projection's input waits
    # while the branch runs back.
    stage = Stage(block="basic", width=10)
    into, out = 4 * BATCH * 2 * PIXELS, 4 * BATCH * 10 * PIXELS
    held = of_block(stage, 2, activation="silu")
    # Input; of three convolutions what they put out; the first norm; SiLU; the sum.
    assert held.saved == into + 6 * out + 3 * 4 * 2 * 10
    # At its height in the sum's SiLU: two gradients, with all that is saved and no parameter's.
    params = 2 * 10 * 9 + 10 * 10 * 9 + 2 * 10 + 3 * 20
    assert held.rise == held.saved + 2 * out - 4 * params
    # In forward the sum, which is saved, is made while branch and shortcut are there.
    assert held.ahead == held.saved + 2 * out


def test_squeeze_excite():
    # 4 channels on 48 pixels, no expansion: the depthwise output x is saved by the gate (SiLU does
    # not keep it), with means, what two convolutions take in, and the sigmoid.
    stage = Stage(width=7, se=0.5)
    x, out, means, few = (4 * BATCH * n for n in (4 * PIXELS, 7 * PIXELS, 4, 2))
    held = of_block(stage, 4)
    saved = 3 * x + 4 * 2 * 4 + (means + 2 * few + means) + x + x + out + 4 * 2 * 7
    assert held.saved == saved
    # At its height in the gate: gradients of its output, of x and of each pixel's weight, and the
    # sum of the last; the projection's parameters have theirs.
    before = 4 * 9 + 8 + 2 * (4 * 2) + 2 + 4
    gate = saved - x - out - 4 * 2 * 7 + 3 * x + means - 4 * before
    norm = saved + 2 * out - 4 * (before + 4 * 7)
    assert held.rise == max(gate, norm)


def test_a_max_pooling_saves_its_input_and_places():
    into, out = 5 * 16, 5 * 4
    silu, _ = of_stem(Stem(width=5, pool=2))
    relu, after = of_stem(Stem(width=5, pool=2), activation="relu")
    conv = 4 * BATCH * 2 * into + 4 * 2 * 5
    assert silu.saved == conv + 4 * BATCH * into + 8 * BATCH * out
    assert relu.saved == conv + 8 * BATCH * out  # ReLU keeps it already
    assert after.kept is False


def test_same_padding_saves_the_padded_input():
    # 6 x 8 strided by 2 with kernel 5: 9 x 11 are read.
    stage = Stage(block="separable", width=5, stride=2, kernel=5)
    same, symmetric = (of_block(stage, 4, padding=word) for word in ("same", "symmetric"))
    assert same.saved - symmetric.saved == 4 * BATCH * 4 * (9 * 11 - 6 * 8)
    # In forward the block holds what is saved no more: its input.
    assert same.ahead == same.saved + 4 * BATCH * (4 * PIXELS + 5 * 12)


def test_an_identity_that_cuts_saves_nothing():
    held, after = training(
        walk_stage("s", Stage(block="identity", width=9, stride=2), 4, IMAGE)[0][0].ops,
        setting()._replace(blocks=2),
    )
    # Back come the channels, then the columns, then the rows.
    rows_left, into = 4 * 3 * 8, 4 * PIXELS
    assert held == (0, 4 * BATCH * (into + 9 * 12), 4 * BATCH * (rows_left + into))
    assert after.kept is False


def test_an_identity_without_operations_changes_nothing():
    before = setting()._replace(blocks=2, kept=True)
    assert training((), before) == ((0, 0, 0), before)
