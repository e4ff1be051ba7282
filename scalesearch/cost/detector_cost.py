"""What a detector's neck and heads cost, whose feature maps go to several blocks.

A map of the backbone that the neck takes is held while later blocks run; in backward its gradient
waits until the blocks that made it are reached.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import NamedTuple

from scalesearch.arch.detector import Detector
from scalesearch.arch.graph import FeatureMap, Size
from scalesearch.arch.pyramid import (
    NeckConfig,
    level_sizes,
    neck_layer,
    predictor,
    projection,
    projection_uses,
)
from scalesearch.cost.composition import (
    NOTHING,
    BlockCost,
    MemoryContext,
    block_cost,
    join,
    repeat,
)


class Ends(NamedTuple):
    """What neck and heads are made of, beside the maps that the neck takes.

    Attributes:
        config: of the neck.
        depth: layers of the neck.
        head_depth: convolutions of each head before its prediction.
        class_channels, box_channels: that the heads predict.
        size: of the image.
    """

    config: NeckConfig
    depth: int
    head_depth: int
    class_channels: int
    box_channels: int
    size: Size

    @classmethod
    def of(cls, net: Detector, size: Size) -> Ends:
        """Those of a detector."""
        return cls(
            config=NeckConfig.of(net),
            depth=net.neck.depth,
            head_depth=net.heads.depth,
            class_channels=net.num_classes * net.anchors.count,
            box_channels=4 * net.anchors.count,
            size=size,
        )


def held_map(x: FeatureMap, context: MemoryContext) -> BlockCost:
    """A map that waits for the neck, or for a later layer of it."""
    unit = context.value_bytes * x.values
    return BlockCost(held=context.inference_batch * unit, waiting=context.training_batch * unit)


def ends_cost(ends: Ends, taps: tuple[FeatureMap, ...], context: MemoryContext) -> BlockCost:
    """The cost of neck, heads and loss, behind a backbone that holds the maps `taps`.

    Args:
        ends: what they are made of.
        taps: the backbone's maps that the neck takes, from the finest.
        context: behind the backbone.
    """
    config, plain = ends.config, context._replace(input_saved=False, input_held=False)
    total, held = NOTHING, reduce(join, (held_map(tap, plain) for tap in taps))
    for number, tap in enumerate(taps):
        if tap.width == config.width:
            continue
        saved = number < len(taps) - 1 or context.input_saved
        own = plain._replace(input_saved=saved, input_held=True)
        block, _ = block_cost(projection, (config, tap), own)
        # The gradient that it makes is its map's, which is counted as waiting.
        waiting = held_map(tap, plain).waiting
        block = block._replace(backward_peak=block.backward_peak - waiting)
        output = held_map(FeatureMap(config.width, tap.size), plain)
        for _ in range(projection_uses(config, number, len(taps))):
            total, held = join(join(total, block), output), join(held, output)
    first, others, heads = _simulated(ends, tuple(tap.width != config.width for tap in taps), plain)
    # What is held for the first layer is gone when the heads run, and no gradient of it is there
    # before that layer's backward, which makes them.
    first = first._replace(backward_peak=first.backward_peak - held.waiting)
    others = others._replace(backward_peak=others.backward_peak - held.waiting)
    heads = heads._replace(
        inference_peak=heads.inference_peak - held.held,
        backward_peak=heads.backward_peak - held.waiting,
    )
    return reduce(join, (total, first, others, heads))


@lru_cache(maxsize=100_000)
def _simulated(
    ends: Ends, projected: tuple[bool, ...], context: MemoryContext
) -> tuple[BlockCost, BlockCost, BlockCost]:
    """The first layer, all others, and both heads with their losses."""
    config, sizes = ends.config, level_sizes(ends.config.levels, ends.size)
    own = context._replace(input_held=True, input_saved=not any(projected))
    first, _ = block_cost(neck_layer, (config, projected, sizes), own)
    others = NOTHING
    if ends.depth > 1:
        layer, _ = block_cost(neck_layer, (config, (False,) * len(sizes), sizes), context)
        others = repeat(layer, ends.depth - 1)
    maps = sum(config.width * rows * columns for rows, columns in sizes)
    classes, _ = block_cost(
        predictor, (config, "class_head", ends.head_depth, ends.class_channels, sizes), context
    )
    boxes, _ = block_cost(
        predictor,
        (config, "box_head", ends.head_depth, ends.box_channels, sizes),
        context._replace(input_saved=True),
    )
    # The maps' gradients that the box head has made wait for those of the class head.
    unit = context.training_batch * context.value_bytes
    classes = classes._replace(backward_peak=classes.backward_peak + unit * maps)
    output = FeatureMap(classes.outputs, (1, 1))
    logits = BlockCost(held=context.inference_batch * context.value_bytes * output.values)
    return first, others, join(join(classes, logits), boxes)
