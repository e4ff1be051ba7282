"""Memory of single blocks in a forward pass, worked out by hand."""

from __future__ import annotations

import pytest

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import walk, walk_stage
from scalesearch.cost.chain import first_setting
from scalesearch.cost.cost import Workload
from scalesearch.cost.inference import inference

BATCH = 3
IMAGE = (6, 8)  # height and width of what a block takes in
PIXELS = 6 * 8


def setting(precision="float32", **fields):
    net = Backbone(stages=(Stage(width=1),), **fields)
    workload = Workload(inference_batch=BATCH, precision=precision)
    return first_setting(net, workload)


def of_block(stage, width, **fields):
    parts, _ = walk_stage("stage", stage, width, IMAGE)
    return inference(parts[0].ops, setting(**fields)._replace(blocks=2))


def test_a_stem_holds_the_outputs_of_its_convolution_and_its_norm():
    net = Backbone(stages=(Stage(width=1),), stem=Stem(width=5), resolution=8)
    stem = next(iter(walk(net)))
    assert inference(stem.ops, setting()) == (0, 4 * BATCH * 2 * 5 * 16)


def test_a_same_padded_stem_holds_the_padded_image():
    # 8 pixels strided by 2 with kernel 7: 3 * 2 + 7 = 13 are read. The norm takes less.
    net = Backbone(stages=(Stage(width=1),), stem=Stem(width=5, kernel=7), resolution=8)
    stem = next(iter(walk(net)))
    padded, out = 3 * 13 * 13, 5 * 16
    assert inference(stem.ops, setting(padding="same")) == (0, 4 * BATCH * (padded + out))
    # Autocast copies weights and the padded image, which is still there.
    weights = 2 * 3 * 5 * 49
    live = weights + BATCH * (4 * padded + 2 * padded + 2 * out)
    assert inference(stem.ops, setting("bf16", padding="same")) == (weights, live)


def test_a_max_pooling_makes_places_of_8_bytes():
    net = Backbone(stages=(Stage(width=1),), stem=Stem(width=5, pool=2), resolution=8)
    stem = next(iter(walk(net)))
    into, out = 5 * 16, 5 * 4
    assert inference(stem.ops, setting()) == (0, BATCH * max(4 * 2 * into, 4 * into + 12 * out))


def test_an_mbconv_holds_its_input_to_its_end():
    # Its input, what the depthwise convolution takes in, and what convolution and norm put out.
    stage = Stage(width=4, expand=3)
    assert of_block(stage, 4) == (0, 4 * BATCH * PIXELS * (4 + 3 * 12))


def test_squeeze_excite_holds_means_and_weights():
    # Where a map is one pixel: the block's input, what the depthwise convolution puts out and its
    # product with the weights; means, weights and their sigmoid.
    stage = Stage(width=4, stride=8, se=0.5)
    assert of_block(stage, 4) == (0, 4 * BATCH * (4 * PIXELS + 2 * 4 + 3 * 4))
    # float16 autocast makes the means in float32, bf16 does not.
    weights = 2 * (4 * 9 + 2 * (4 * 2) + 2 + 4)
    shared = weights + 2 * BATCH * (4 * PIXELS + 2 * 4 + 2 * 4)
    assert of_block(stage, 4, precision="bf16")[1] == shared + 2 * BATCH * 4
    assert of_block(stage, 4, precision="float16")[1] == shared + 4 * BATCH * 4


def test_a_projection_comes_while_the_branch_waits():
    # Input, the branch, and what the projection and its norm put out.
    wide, after = 10, 3 * 4
    stage = Stage(block="basic", width=wide, stride=2)
    assert of_block(stage, 2) == (0, 4 * BATCH * (2 * PIXELS + 3 * wide * after))
    # A wide block's activated input is held beside the raw one, and its projection has no norm.
    stage = Stage(block="wide", width=wide, stride=2)
    assert of_block(stage, 2) == (0, 4 * BATCH * (2 * 2 * PIXELS + 2 * wide * after))


def test_copies_of_weights_stay_under_autocast():
    weights = 4 * 12 + 12 * 9 + 12 * 4
    stage = Stage(width=4, expand=3)
    copies, live = of_block(stage, 4, precision="bf16")
    assert copies == 2 * weights
    # At the depthwise convolution, when the projection's copy is not made yet.
    assert live == 2 * (4 * 12 + 12 * 9) + 2 * BATCH * PIXELS * (4 + 3 * 12)


def test_a_head_lets_go_of_the_images_when_they_are_pooled():
    net = Backbone(stages=(Stage(width=1),), head=Head(width=5), num_classes=400)
    *_, head = walk(net)
    live = inference(head.ops, setting()._replace(blocks=2))[1]
    assert live == 4 * BATCH * (1 + 2 * 5) * 112**2
    copies, live = inference(head.ops, setting("bf16")._replace(blocks=2))
    assert copies == 2 * (5 + 5 * 400 + 400)
    assert live == 2 * 5 + 2 * BATCH * (1 + 2 * 5) * 112**2


@pytest.mark.parametrize("activation", ["silu", "relu", "relu6", "hardswish"])
def test_every_activation_works_in_place_without_gradients(activation):
    stage = Stage(block="bottleneck", width=8, reduce=2)
    assert of_block(stage, 8, activation=activation) == (0, 4 * BATCH * PIXELS * (8 + 4 + 2 * 8))
