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


def neck_layer(config: NeckConfig, maps: tuple[FeatureMap, ...], sizes: tuple[Size, ...]) -> Graph:
    """One layer of a neck.

    Args:
        config: of the neck.
        maps: that the layer takes, finest first; levels beyond these are made of the last one.
        sizes: of every level.
    """
    g, known = config.builder(maps), list(range(len(maps)))
    for level in range(len(maps), len(sizes)):
        x = _resample(g, config, f"extra.{level}", known[-1], sizes[level])
        known.append(g.hold(x))
    for number, node in enumerate(config.nodes):
        size, name = sizes[node.level - config.levels.start], f"joints.{number}"
        inputs = [
            g.hold(_resample(g, config, f"{name}.resample.{i}", known[i], size), name)
            for i in node.inputs
        ]
        known.append(g.hold(_fusion_node(g, config, name, inputs)))
    return g.graph(*(known[i] for i in outputs(config.nodes, config.levels)))


def heads(
    config: NeckConfig, depth: int, channels: tuple[int, int], sizes: tuple[Size, ...]
) -> Graph:
    """The class and the box head over all levels, and their losses.

    Args:
        config: of the neck.
        depth: convolutions of each head before its prediction.
        channels: values that the class and the box head predict for a pixel.
        sizes: of every level.
    """
    g = config.builder([FeatureMap(config.width, size) for size in sizes])
    classes = _head(g, config, "class_head", depth, channels[0])
    boxes = _head(g, config, "box_head", depth, channels[1])
    g.op("focal_loss", "", classes)
    g.op("box_loss", "", boxes)
    return g.graph(classes, boxes)


def head(
    config: NeckConfig, name: str, depth: int, channels: int, sizes: tuple[Size, ...]
) -> Graph:
    """One of the two heads alone."""
    g = config.builder([FeatureMap(config.width, size) for size in sizes])
    return g.graph(_head(g, config, name, depth, channels))


def _head(g: GraphBuilder, config: NeckConfig, name: str, depth: int, channels: int) -> int:
    """`depth` convolutions of each level, then the prediction of `channels` values.

    Levels share the convolutions; norms are each level's own. The last 1x1 convolution runs once,
    over the pixels of all levels.
    """
    pixels = []
    for level in range(len(config.levels)):
        x, shared = level, level > 0
        for layer in range(depth):
            x = _separable(g, config, f"{name}.convs.{layer}", x, shared=shared)
            x = _norm(g, config, f"{name}.norms.{layer}.{level}", x)
            x = g.act(f"{name}.active", x)
        deep = f"{name}.predict.depthwise"
        x = g.conv(deep, x, config.width, kernel=3, groups=config.width, shared=shared)
        pixels.append(x)
    total = sum(g.map(x).values for x in pixels) // config.width
    x = g.op("concat", f"{name}.pixels", *pixels, output=FeatureMap(config.width, (1, total)))
    return g.conv(f"{name}.predict.pointwise", x, channels, bias=True)


def _fusion_node(g: GraphBuilder, config: NeckConfig, name: str, inputs: Sequence[int]) -> int:
    """One node of a layer: its inputs are fused, activated, convolved and normed."""
    fused = g.op("fuse", f"{name}.fusion", *inputs, function=config.fusion)
    active = g.act(f"{name}.active", fused)
    convolved = _separable(g, config, f"{name}.conv", active)
    return _norm(g, config, f"{name}.norm", convolved)


def _resample(g: GraphBuilder, config: NeckConfig, name: str, x: int, size: Size) -> int:
    """A map at the width of the neck and the size of another level."""
    width = config.width
    if g.map(x).width != width:
        x = g.conv(f"{name}.conv", x, width, bias=config.norm_bias)
        x = _norm(g, config, f"{name}.norm", x)
    before = g.map(x).size
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
