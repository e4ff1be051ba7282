"""The operations of each block kind, in the order and the words of its module (`nn/blocks.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scalesearch.arch.graph import FeatureMap, Graph, GraphBuilder, Size, shrink
from scalesearch.arch.stage import Stage


class Style(NamedTuple):
    """What all blocks of a network share.

    Attributes:
        activation, padding: as in `Backbone`.
        drop_path: residual branches may be dropped (stochastic depth).
    """

    activation: str
    padding: str
    drop_path: bool = False

    def builder(self, *inputs: FeatureMap) -> GraphBuilder:
        """A builder of a graph with these inputs."""
        return GraphBuilder(inputs, self.activation, same=self.padding == "same")


class BlockContext(NamedTuple):
    """Where a block stands: all that decides over its operations beside its stage.

    Attributes:
        width, size: of its input.
        stride: 1 for all but the first block of a stage.
        style: of the network.
    """

    width: int
    size: Size
    stride: int
    style: Style

    def builder(self) -> GraphBuilder:
        """A builder whose tensor 0 is the block's input."""
        return self.style.builder(FeatureMap(self.width, self.size))

    def keeps(self, stage: Stage) -> bool:
        """Whether the block's output has the size and channels of its input."""
        return self.stride == 1 and self.width == stage.width


def _mbconv(stage: Stage, context: BlockContext) -> Graph:
    g, x, inner = context.builder(), 0, context.width * stage.expand
    y = g.conv_norm_act("expand", x, inner) if stage.expand > 1 else x
    y = g.conv_norm_act(
        "depthwise", y, inner, kernel=stage.kernel, stride=context.stride, groups=inner
    )
    if stage.se:
        y = g.squeeze_excite("squeeze", y, squeeze_width(context.width, stage.se))
    y = g.conv_norm_act("project", y, stage.width, act=False)
    return g.graph(_residual(g, context, x, y) if context.keeps(stage) else y)


def _fused_mbconv(stage: Stage, context: BlockContext) -> Graph:
    g, x, inner = context.builder(), 0, context.width * stage.expand
    y, expands, kernel, stride = x, stage.expand > 1, stage.kernel, context.stride
    if expands:
        y = g.conv_norm_act("expand", y, inner, kernel=kernel, stride=stride)
    if stage.se:
        y = g.squeeze_excite("squeeze", y, squeeze_width(context.width, stage.se))
    if expands:
        y = g.conv_norm_act("project", y, stage.width, act=False)
    else:  # the spatial convolution is the projection, and has the activation
        y = g.conv_norm_act("project", y, stage.width, kernel=kernel, stride=stride)
    return g.graph(_residual(g, context, x, y) if context.keeps(stage) else y)


def _separable(stage: Stage, context: BlockContext) -> Graph:
    g, width, stride = context.builder(), context.width, context.stride
    y = g.conv_norm_act("depthwise", 0, width, kernel=stage.kernel, stride=stride, groups=width)
    return g.graph(g.conv_norm_act("project", y, stage.width))


def _basic(stage: Stage, context: BlockContext) -> Graph:
    g, x = context.builder(), 0
    y = g.conv_norm_act("first", x, stage.width, kernel=stage.kernel, stride=context.stride)
    y = g.conv_norm_act("second", y, stage.width, kernel=stage.kernel, act=False)
    x = x if context.keeps(stage) else _projection(g, stage, context, x, norm=True)
    return g.graph(g.act("active", _residual(g, context, x, y)))


def _bottleneck(stage: Stage, context: BlockContext) -> Graph:
    g, x, inner = context.builder(), 0, reduced_width(stage.width, stage.reduce)
    y = g.conv_norm_act("reduce", x, inner)
    y = g.conv_norm_act("spatial", y, inner, kernel=stage.kernel, stride=context.stride)
    y = g.conv_norm_act("expand", y, stage.width, act=False)
    x = x if context.keeps(stage) else _projection(g, stage, context, x, norm=True)
    return g.graph(g.act("active", _residual(g, context, x, y)))


def _wide(stage: Stage, context: BlockContext) -> Graph:
    g, x, kernel = context.builder(), 0, stage.kernel
    entry = g.norm_act("entry", x)
    y = g.conv_norm_act("first", entry, stage.width, kernel=kernel, stride=context.stride)
    y = g.conv_norm_act("second", y, stage.width, kernel=kernel, norm=False, act=False)
    x = x if context.keeps(stage) else _projection(g, stage, context, entry, norm=False)
    return g.graph(_residual(g, context, x, y))


def _identity(stage: Stage, context: BlockContext) -> Graph:
    g, x = context.builder(), 0
    if not context.keeps(stage):
        output = FeatureMap(stage.width, shrink(context.size, context.stride))
        x = g.op("shortcut", "", x, output=output)
    return g.graph(x)


def _projection(g: GraphBuilder, stage: Stage, context: BlockContext, x: int, *, norm: bool) -> int:
    """The 1x1 convolution of a shortcut whose two ends differ (He et al. 2016, option B)."""
    return g.conv_norm_act("shortcut", x, stage.width, stride=context.stride, norm=norm, act=False)


def _residual(g: GraphBuilder, context: BlockContext, x: int, branch: int) -> int:
    return g.add("drop_path", x, g.hold(branch), drops=context.style.drop_path)


def squeeze_width(width: int, share: float) -> int:
    """Channels of squeeze-excite for a block with `width` input channels, at least 1."""
    return max(1, int(width * share))


def reduced_width(width: int, reduce: int) -> int:
    """Inner channels of a bottleneck with `width` output channels, at least 1."""
    return max(1, width // reduce)


BLOCKS: dict[str, Callable[[Stage, BlockContext], Graph]] = {
    "mbconv": _mbconv,
    "fused_mbconv": _fused_mbconv,
    "separable": _separable,
    "basic": _basic,
    "bottleneck": _bottleneck,
    "wide": _wide,
    "identity": _identity,
}
