"""The one walk over a described network: its parts with their graphs, in forward order.

Counts are sums over it, memory is simulated along it, and population tables are made of it. A
network is stated twice, here (`blocks.py` for the blocks, `pyramid.py` for neck and heads) and as
modules (`nn/`), in the same order and the same words; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.blocks import BLOCKS, BlockContext, Style
from scalesearch.arch.detector import Described, Detector
from scalesearch.arch.graph import FeatureMap, Graph, Size, shrink
from scalesearch.arch.pyramid import NeckConfig, head, level_sizes, neck_layer
from scalesearch.arch.stage import Stage

Rule = Callable[..., Graph]


class Part(NamedTuple):
    """`repeats` equal blocks in a row; or the stem, the head, or a piece of a neck or its heads.

    `rule(*args)` gives the graph of one block: equal arguments, equal graphs, so that whatever is
    computed from a graph can be cached.

    Attributes:
        name: stem, stage1 … stageN, head; of a detector also neck.…, class_head, box_head.
        repeats: how many equal blocks follow each other.
        rule, args: what the graph of one of them is made of.
    """

    name: str
    repeats: int
    rule: Rule
    args: tuple[Hashable, ...]

    @property
    def graph(self) -> Graph:
        """The operations of one block."""
        return self.rule(*self.args)


def walk(net: Described, size: Size | None = None) -> Iterator[Part]:
    """The parts of a network for an image of `size` (by default its square resolution)."""
    size = size or (net.resolution, net.resolution)
    trunk, style, taps = net.trunk, style_of(net.trunk), list[FeatureMap]()
    part, x = stem_part(trunk.stem, net.in_channels, size, style)
    yield part
    for index, stage in enumerate(trunk.stages):
        parts, x = stage_parts(f"stage{index + 1}", stage, x, style, first=index == 0)
        yield from parts
        if index in net.sources:
            taps.append(x)
    if isinstance(net, Detector):
        yield from pyramid_parts(net, tuple(taps), size)
    else:
        yield head_part(net.head, net.num_classes, x, style)


def style_of(backbone: Backbone) -> Style:
    """What all blocks of a backbone share."""
    return Style(backbone.activation, backbone.padding, backbone.drop_path > 0)


def stem_part(stem: Stem, in_channels: int, size: Size, style: Style) -> tuple[Part, FeatureMap]:
    """The stem's part, and its output."""
    output = shrink(shrink(size, stem.stride), stem.pool)
    return Part("stem", 1, _stem, (stem, in_channels, size, style)), FeatureMap(stem.width, output)


def stage_parts(
    name: str, stage: Stage, x: FeatureMap, style: Style, *, first: bool = False
) -> tuple[tuple[Part, ...], FeatureMap]:
    """A stage's first block and its others behind `x`, and the stage's output.

    `first`: it is the network's first stage, whose first block is never dropped.
    """
    rule, block = BLOCKS[stage.block], _one_deep(stage)
    output = FeatureMap(stage.width, shrink(x.size, stage.stride))
    own = style._replace(drop_path=False) if first else style
    part = Part(name, 1, rule, (block, BlockContext(x.width, x.size, stage.stride, own)))
    if stage.depth == 1:
        return (part,), output
    context = BlockContext(output.width, output.size, 1, style)
    return (part, Part(name, stage.depth - 1, rule, (block, context))), output


def head_part(head: Head, num_classes: int, x: FeatureMap, style: Style) -> Part:
    """The part of a head that takes `x`."""
    return Part("head", 1, _head, (head, num_classes, x, style))


def pyramid_parts(net: Detector, taps: tuple[FeatureMap, ...], size: Size) -> Iterator[Part]:
    """The parts of a neck that takes the maps `taps`, and of its heads."""
    config, sizes = NeckConfig.of(net), level_sizes(net.neck.levels, size)
    yield Part("neck.layer1", 1, neck_layer, (config, taps, sizes))
    if net.neck.depth > 1:
        maps = tuple(FeatureMap(config.width, size) for size in sizes)
        yield Part("neck.layer2", net.neck.depth - 1, neck_layer, (config, maps, sizes))
    for name, values in (("class_head", net.num_classes), ("box_head", 4)):
        args = (config, name, net.heads.depth, values * net.anchors.count, sizes)
        yield Part(name, 1, head, args)


@lru_cache(maxsize=10_000)
def _one_deep(stage: Stage) -> Stage:
    """No block depends on how many there are: all depths of a stage share what is cached."""
    return replace(stage, depth=1)


def _stem(stem: Stem, in_channels: int, size: Size, style: Style) -> Graph:
    g = style.builder(FeatureMap(in_channels, size))
    x, k, s = 0, stem.kernel, stem.stride
    x = g.conv_norm_act("stem", x, stem.width, kernel=k, stride=s, norm=stem.norm, act=stem.norm)
    if stem.pool > 1:
        x = g.max_pool("stem_pool", x, 3, stem.pool, shrink(g.map(x).size, stem.pool))
    return g.graph(x, image=True)


def _head(head: Head, num_classes: int, x: FeatureMap, style: Style) -> Graph:
    g, y = style.builder(x), 0
    if head.width:
        y = g.conv_norm_act("head", y, head.width)
    elif head.norm:
        y = g.norm_act("head", y)
    y = g.op("avg_pool", "pool", y, output=FeatureMap(g.map(y).width, (1, 1)))
    if head.dropout:
        y = g.op("dropout", "dropout", y)
    y = g.op("linear", "classifier", y, output=FeatureMap(num_classes, (1, 1)))
    g.op("cross_entropy", "", y)
    return g.graph(y)
