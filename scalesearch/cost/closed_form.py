"""What a network costs, by arithmetic over its description: no torch, in a fraction of a ms."""

from __future__ import annotations

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.graph import FeatureMap, Size
from scalesearch.arch.walk import style_of
from scalesearch.cost.composition import (
    BlockCost,
    MemoryContext,
    Prefix,
    head_cost,
    join,
    price,
    stage_cost,
    stem_cost,
)
from scalesearch.cost.cost import Cost, Workload
from scalesearch.cost.detector_cost import Ends, ends_cost, held_map

_DEFAULT = Workload()


def cost(net: Architecture, *, size: Size | None = None, workload: Workload = _DEFAULT) -> Cost:
    """The cost of a network in closed form. Where memory is not wanted, `counts` is faster.

    Args:
        net: the described network.
        size: height and width of the image; by default its square resolution.
        workload: batches, optimizer and precision that memory is counted for.
    """
    return price(network_cost(net, size or (net.resolution, net.resolution), workload), workload)


def network_cost(net: Architecture, size: Size, workload: Workload) -> BlockCost:
    """What all blocks of a network add up to for an image of `size`."""
    backbone, sources = net.trunk, net.sources
    images = FeatureMap(net.in_channels, size)
    prefix = Prefix(images, style_of(backbone), MemoryContext.of(workload))
    total, prefix = stem_cost(backbone.stem, prefix)
    taps = list[FeatureMap]()
    for index, stage in enumerate(backbone.stages):
        block, prefix = stage_cost(stage, prefix)
        total = join(total, block)
        if index in sources:
            taps.append(prefix.output)
            total = join(total, held_map(prefix.output, prefix.context))
            prefix = prefix.holding()
    if isinstance(net, Detector):
        return join(total, ends_cost(Ends.of(net, size), tuple(taps), prefix.context))
    return join(total, head_cost(backbone.head, backbone.num_classes, prefix))
