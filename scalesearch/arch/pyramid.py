"""The operations of a detector's neck and heads, in the words of `nn/pyramid.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scalesearch.arch.detector import Detector, norm_groups, wiring
from scalesearch.arch.graph import FeatureMap, Graph, GraphBuilder, Size, shrink
from scalesearch.arch.neck import Node, outputs


class NeckConfig(NamedTuple):
    """What all layers of a neck and of its heads share.

    Attributes:
        kind, levels, width, fusion: as in `Neck`.
        activation, norm, norm_bias, padding: as in `Detector`.
    """

    kind: str
    levels: range
    width: int
    fusion: str
    activation: str
    norm: str
    norm_bias: bool
    padding: str

    @classmethod
    def of(cls, net: Detector) -> NeckConfig:
        """That of a detector."""
        neck = net.neck
        return cls(
            kind=neck.kind,
            levels=neck.levels,
            width=neck.width,
            fusion=neck.fusion,
            activation=net.activation,
            norm=net.norm,
            norm_bias=net.norm_bias,
            padding=net.padding,
        )

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The fusions of one layer."""
        return wiring(self.kind, self.levels)

    def builder(self, inputs: Sequence[FeatureMap]) -> GraphBuilder:
        """A builder of a graph with these inputs."""
        return GraphBuilder(inputs, self.activation, same=self.padding == "same")


def level_sizes(levels: range, size: Size) -> tuple[Size, ...]:
    """The size of each level for an image of `size`: each halves the one below, rounded up."""
    return tuple(shrink(size, 2**level) for level in levels)


def projection(config: NeckConfig, tap: FeatureMap) -> Graph:
    """The 1x1 convolution that brings a map of the backbone to the width of the neck."""
    g = config.builder((tap,))
    x = g.conv("conv", 0, config.width, bias=config.norm_bias)
    return g.graph(_norm(g, config, "norm", x))


def projection_uses(config: NeckConfig, number: int, taps: int) -> int:
    """How often the first layer takes map `number` of the backbone's `taps`.

    Each use projects it anew. Of the last one the levels are made that the backbone lacks.
    """
    makes_levels = number == taps - 1 and taps < len(config.levels)
    return sum(number in node.inputs for node in config.nodes) + makes_levels


def neck_layer(config: NeckConfig, projected: tuple[bool, ...], sizes: tuple[Size, ...]) -> Graph:
    """One layer of a neck.

    Args:
        config: of the neck.
        projected: for each map that the layer takes, finest first, whether each of its uses has a
            projection of its own. Levels beyond these are made of the last one.
        sizes: of every level.
    """
    uses = [
        projection_uses(config, i, len(projected)) if own else 1 for i, own in enumerate(projected)
    ]
    maps = [
        FeatureMap(config.width, size)
        for n, size in zip(uses, sizes, strict=False)
        for _ in range(n)
    ]
    g, first = config.builder(maps), [sum(uses[:i]) for i in range(len(uses))]

    def take(number: int) -> int:
        """A map by its number in the table; of a projected one the next of its copies."""
        if number >= len(projected) or not projected[number]:
            return known[number]
        known[number] += 1
        return known[number] - 1

    known = first
    for level in range(len(projected), len(sizes)):
        known.append(g.hold(_resample(g, f"extra.{level}", take(level - 1), sizes[level])))
    for number, node in enumerate(config.nodes):
        size = sizes[node.level - config.levels.start]
        name = f"joints.{number}"
        inputs = [
            g.hold(_resample(g, f"{name}.resample.{i}", take(i), size), name) for i in node.inputs
        ]
        known.append(g.hold(_fusion_node(g, config, name, inputs)))
    return g.graph(*(known[i] for i in outputs(config.nodes, config.levels)))


def predictor(
    config: NeckConfig, name: str, depth: int, channels: int, sizes: tuple[Size, ...]
) -> Graph:
    """A head over all levels: `depth` convolutions, then the prediction of `channels` values.

    Levels share the convolutions; norms are each level's own. The last 1x1 convolution runs once,
    over the pixels of all levels.
    """
    g = config.builder([FeatureMap(config.width, size) for size in sizes])
    pixels = []
    for level in range(len(sizes)):
        x, shared = level, level > 0
        for layer in range(depth):
            x = _separable(g, config, f"convs.{layer}", x, shared=shared)
            x = g.act("active", _norm(g, config, f"norms.{layer}.{level}", x))
        conv = g.conv(
            "predict.depthwise", x, config.width, kernel=3, groups=config.width, shared=shared
        )
        pixels.append(conv)
    total = sum(rows * columns for rows, columns in sizes)
    x = g.op("concat", "", *pixels, output=FeatureMap(config.width, (1, total)))
    x = g.conv("predict.pointwise", x, channels, bias=True)
    g.op("focal_loss" if name == "class_head" else "box_loss", "", x)
    return g.graph(x)


def _fusion_node(g: GraphBuilder, config: NeckConfig, name: str, inputs: Sequence[int]) -> int:
    """One node of a layer: its inputs are fused, activated, convolved and normed."""
    fused = g.op("fuse", f"{name}.fusion", *inputs, function=config.fusion)
    active = g.act(f"{name}.active", fused)
    convolved = _separable(g, config, f"{name}.conv", active)
    return _norm(g, config, f"{name}.norm", convolved)


def _resample(g: GraphBuilder, name: str, x: int, size: Size) -> int:
    """A map at the size of another level: max-pooled, or the nearest pixels repeated."""
    before, width = g.map(x).size, g.map(x).width
    if before == size:
        return x
    if before[0] <= size[0] and before[1] <= size[1]:
        return g.op("upsample", name, x, output=FeatureMap(width, size))
    stride = max(-(-side // wanted) for side, wanted in zip(before, size, strict=True))
    return g.max_pool(name, x, stride + 1, stride, size)


def _separable(
    g: GraphBuilder, config: NeckConfig, name: str, x: int, *, shared: bool = False
) -> int:
    width = config.width
    x = g.conv(f"{name}.depthwise", x, width, kernel=3, groups=width, shared=shared)
    return g.conv(f"{name}.pointwise", x, width, bias=config.norm_bias, shared=shared)


def _norm(g: GraphBuilder, config: NeckConfig, name: str, x: int) -> int:
    if config.norm == "group":
        return g.op("group_norm", name, x, groups=norm_groups(config.width))
    return g.op("batch_norm", name, x)
