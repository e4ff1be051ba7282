"""What a network costs, by arithmetic over its description: no torch, in a fraction of a ms."""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import NamedTuple

from scalesearch.arch.backbone import Stem
from scalesearch.arch.blocks import Style
from scalesearch.arch.detector import Architecture, Described, Detector
from scalesearch.arch.factory import Factory
from scalesearch.arch.graph import FeatureMap, Size
from scalesearch.arch.pyramid import NeckConfig, heads, level_sizes, neck_layer
from scalesearch.arch.stage import Stage
from scalesearch.arch.table_row import TableRow
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


def cost(
    net: Architecture | TableRow, *, size: Size | None = None, workload: Workload = _DEFAULT
) -> Cost:
    """The cost of a network in closed form. Where memory is not wanted, `counts` is faster.

    Of a row of a table it is what the table gives; what a factory builds is built and counted.

    Args:
        net: the described network.
        size: height and width of the image; by default its square resolution.
        workload: batches, optimizer and precision that memory is counted for.
    """
    if isinstance(net, TableRow):
        return Cost.of_columns(dict(net.costs))
    if isinstance(net, Factory):
        from scalesearch.cost.factory import factory_cost  # torch, for what has to be built

        return factory_cost(net, size or (net.resolution, net.resolution), workload)
    return price(network_cost(net, size or (net.resolution, net.resolution), workload), workload)


class Prefix(NamedTuple):
    """What the blocks behind have to know of those before them.

    Attributes:
        output: of the last block.
        style: of the network.
        context: of the next block.
        taps: the maps so far that the neck of a detector takes, from the finest.
        tapped: the last block's output is one of them.
        first: no stage has come yet.
    """

    output: FeatureMap
    style: Style
    context: MemoryContext
    taps: tuple[FeatureMap, ...] = ()
    tapped: bool = False
    first: bool = True

    @classmethod
    def of(cls, net: Described, size: Size, workload: Workload) -> Prefix:
        """That of a network's stem: the images."""
        images = FeatureMap(net.in_channels, size)
        return cls(images, style_of(net.trunk), MemoryContext.of(workload))


def network_cost(net: Architecture, size: Size, workload: Workload) -> BlockCost:
    """What all blocks of a network add up to for an image of `size`."""
    if isinstance(net, Factory):
        from scalesearch.cost.factory import as_block, factory_cost

        return as_block(factory_cost(net, size, workload), workload)
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
    cost, context = chain(parts[:1], prefix.context)
    if prefix.tapped:  # the first block has counted its input itself
        cost = join(cost, BlockCost(held=_held(prefix.output, context)))
    rest, context = chain(parts[1:], context)
    taps = prefix.taps
    if tapped:
        taps, waiting = (*taps, output), BlockCost(waiting=_waiting(output, context))
        rest = join(rest, waiting)
    return join(cost, rest), Prefix(output, prefix.style, context, taps, tapped, first=False)


def end_cost(net: Described, size: Size, prefix: Prefix) -> BlockCost:
    """The cost of all behind the stages: head, or neck and heads, and the loss."""
    if not isinstance(net, Detector):
        part = head_part(net.head, net.num_classes, prefix.output, prefix.style)
        return chain((part,), prefix.context)[0]
    config, sizes = NeckConfig.of(net), level_sizes(net.neck.levels, size)
    new = prefix.context._replace(input_saved=False)
    first, _ = block_cost(neck_layer, (config, prefix.taps, sizes), new._replace(input_saved=True))
    # The first layer counts its inputs itself: all but the last are held already, until the neck
    # returns. It makes their gradients, which wait no longer. All but the last are kept for the
    # stages that follow them too.
    *before, last = prefix.taps
    held = sum(_held(tap, new) for tap in before)
    start = BlockCost(
        saved=0 if prefix.context.input_saved else _waiting(last, new),
        waiting=-sum(_waiting(tap, new) for tap in prefix.taps),
    )
    first = first._replace(inference_peak=first.inference_peak - held, held=_held(last, new))
    blocks = [start, first]
    if net.neck.depth > 1:
        maps = tuple(FeatureMap(config.width, size) for size in sizes)
        layer, _ = block_cost(neck_layer, (config, maps, sizes), new)
        blocks.append(repeat(layer, net.neck.depth - 1))
    channels = tuple(values * net.anchors.count for values in (net.num_classes, 4))
    both, _ = block_cost(heads, (config, net.heads.depth, channels, sizes), new)
    return reduce(join, [*blocks, BlockCost(held=-held - first.held), both])


def _held(x: FeatureMap, context: MemoryContext) -> int:
    """Bytes of a map in inference, which is held until the neck takes it."""
    return context.inference_batch * context.value_bytes * x.values


def _waiting(x: FeatureMap, context: MemoryContext) -> int:
    """Bytes of a map, and of its gradient, which waits while backward goes through later blocks."""
    return context.training_batch * context.value_bytes * x.values
