"""What a network costs, by arithmetic over its description: no torch, in a fraction of a ms."""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import NamedTuple

from scalesearch.arch.backbone import Stem
from scalesearch.arch.blocks import Style
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.graph import FeatureMap, Size
from scalesearch.arch.pyramid import NeckConfig, heads, level_sizes, neck_layer
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import head_part, stage_parts, stem_part, style_of
from scalesearch.cost.composition import (
    BlockCost,
    MemoryContext,
    block_cost,
    chain,
    join,
    price,
    repeat,
)
from scalesearch.cost.cost import Cost, Workload

_DEFAULT = Workload()


def cost(net: Architecture, *, size: Size | None = None, workload: Workload = _DEFAULT) -> Cost:
    """The cost of a network in closed form. Where memory is not wanted, `counts` is faster.

    Args:
        net: the described network.
        size: height and width of the image; by default its square resolution.
        workload: batches, optimizer and precision that memory is counted for.
    """
    return price(network_cost(net, size or (net.resolution, net.resolution), workload), workload)


class Prefix(NamedTuple):
    """What the blocks behind have to know of those before them.

    Attributes:
        output: of the last block.
        style: of the network.
        context: of the next block.
        taps: the maps so far that the neck of a detector takes, from the finest.
        first: no stage has come yet.
    """

    output: FeatureMap
    style: Style
    context: MemoryContext
    taps: tuple[FeatureMap, ...] = ()
    first: bool = True

    @classmethod
    def of(cls, net: Architecture, size: Size, workload: Workload) -> Prefix:
        """That of a network's stem: the images."""
        images = FeatureMap(net.in_channels, size)
        return cls(images, style_of(net.trunk), MemoryContext.of(workload))


def network_cost(net: Architecture, size: Size, workload: Workload) -> BlockCost:
    """What all blocks of a network add up to for an image of `size`."""
    total, prefix = stem_cost(net.trunk.stem, Prefix.of(net, size, workload))
    for index, stage in enumerate(net.trunk.stages):
        block, prefix = stage_cost(stage, prefix, tapped=index in net.sources)
        total = join(total, block)
    return join(total, end_cost(net, size, prefix))


def stem_cost(stem: Stem, prefix: Prefix) -> tuple[BlockCost, Prefix]:
    """The cost of a stem, and the prefix behind it."""
    images = prefix.output
    part, output = stem_part(stem, images.width, images.size, prefix.style)
    cost, context = chain((part,), prefix.context)
    return cost, prefix._replace(output=output, context=context)


@lru_cache(maxsize=100_000)
def stage_cost(stage: Stage, prefix: Prefix, *, tapped: bool = False) -> tuple[BlockCost, Prefix]:
    """The cost of a stage, and the prefix behind it; `tapped`: a neck takes its output.

    The networks of a search share most of their stages, so what was computed is cached.
    """
    parts, output = stage_parts("", stage, prefix.output, prefix.style, first=prefix.first)
    cost, context = chain(parts, prefix.context)
    prefix = prefix._replace(output=output, context=context, first=False)
    if not tapped:
        return cost, prefix
    return join(cost, _waiting((output,), context)), prefix._replace(taps=(*prefix.taps, output))


def end_cost(net: Architecture, size: Size, prefix: Prefix) -> BlockCost:
    """The cost of all behind the stages: head, or neck and heads, and the loss."""
    if not isinstance(net, Detector):
        part = head_part(net.head, net.num_classes, prefix.output, prefix.style)
        return chain((part,), prefix.context)[0]
    config, sizes = NeckConfig.of(net), level_sizes(net.neck.levels, size)
    new = prefix.context._replace(input_saved=False)
    # The maps wait no longer: they are inputs of the first layer, and kept by what follows them.
    taken = BlockCost(*(-value for value in _waiting(prefix.taps, new)))
    saved = new._replace(input_saved=True)
    blocks = [taken, block_cost(neck_layer, (config, prefix.taps, sizes), saved)[0]]
    if net.neck.depth > 1:
        maps = tuple(FeatureMap(config.width, size) for size in sizes)
        layer, _ = block_cost(neck_layer, (config, maps, sizes), new)
        blocks.append(repeat(layer, net.neck.depth - 1))
    channels = tuple(values * net.anchors.count for values in (net.num_classes, 4))
    blocks.append(block_cost(heads, (config, net.heads.depth, channels, sizes), new)[0])
    return reduce(join, blocks)


def _waiting(maps: tuple[FeatureMap, ...], context: MemoryContext) -> BlockCost:
    """Maps that are held until the neck takes them, and in backward their gradients."""
    unit = context.value_bytes * sum(each.values for each in maps)
    return BlockCost(held=context.inference_batch * unit, waiting=context.training_batch * unit)
