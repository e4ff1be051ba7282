"""The one walk over a described network: every operation with its sizes, in forward order.

Cost, memory and tables are sums over it, so a block kind is described once here and once as a
module (`nn/blocks.py`), in the same order and the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage

Size = tuple[int, int]  # height, width in pixels
Rule = Callable[..., "tuple[Op, ...]"]


class Op(NamedTuple):
    """One operation on one image.

    Attributes:
        kind: `conv`, `linear`, `pool` (average over the whole image), `gate` (each channel times
            the sigmoid of its squeeze-excite weight), `add` (of the block's input), `cut`
            (identity block that changes its input) or `dropout`.
        name: as the module is called within its block.
        inputs, outputs: channels.
        size_in, size_out: height and width.
        kernel, groups, bias: of a conv.
        norm: a batch norm follows.
        active: an activation follows.
        counted: whether fvcore counts a pool (it counts AdaptiveAvgPool2d, not `mean`).
        stride: of a conv or cut.
    """

    kind: str
    name: str
    inputs: int
    outputs: int
    size_in: Size
    size_out: Size
    kernel: int = 1
    groups: int = 1
    bias: bool = False
    norm: bool = False
    active: bool = False
    counted: bool = False
    stride: int = 1

    @property
    def values_in(self) -> int:
        """Input values for one image."""
        return self.inputs * self.size_in[0] * self.size_in[1]

    @property
    def values_out(self) -> int:
        """Output values for one image."""
        return self.outputs * self.size_out[0] * self.size_out[1]

    @property
    def weights(self) -> int:
        """Learnable parameters of the conv or linear layer itself, its norm left out."""
        if self.kind not in ("conv", "linear"):
            return 0
        kernel = self.inputs // self.groups * self.kernel * self.kernel
        return self.outputs * (kernel + self.bias)


class Part(NamedTuple):
    """`repeats` equal blocks in a row, or the stem, or the head.

    `rule(*args)` gives the operations of one block: equal arguments, equal operations, so that
    whatever is computed from them can be kept.
    """

    name: str  # stem, stage1 … stageN, head
    repeats: int
    rule: Rule
    args: tuple[Hashable, ...]

    @property
    def ops(self) -> tuple[Op, ...]:
        """The operations of one block in forward order."""
        return self.rule(*self.args)


def walk(backbone: Backbone, size: Size | None = None) -> Iterator[Part]:
    """The parts of a network for an image of `size` (by default its square resolution)."""
    size = size or (backbone.resolution, backbone.resolution)
    yield Part("stem", 1, _stem, (backbone.stem, backbone.in_channels, size))
    width, size = backbone.stem.width, shrink(size, backbone.stem.stride)
    for number, stage in enumerate(backbone.stages, start=1):
        name, rule = f"stage{number}", BLOCKS[stage.block]
        yield Part(name, 1, rule, (stage, width, size, stage.stride))
        width, size = stage.width, shrink(size, stage.stride)
        if stage.depth > 1:
            yield Part(name, stage.depth - 1, rule, (stage, width, size, 1))
    yield Part("head", 1, _head, (backbone.head, backbone.num_classes, width, size))


def shrink(size: Size, stride: int) -> Size:
    """The output size of any strided operation here: odd kernels, padded: ceil(side / stride)."""
    return (-(-size[0] // stride), -(-size[1] // stride)) if stride > 1 else size


def _stem(stem: Stem, in_channels: int, size: Size) -> tuple[Op, ...]:
    out = shrink(size, stem.stride)
    conv = Op("conv", "conv", in_channels, stem.width, size, out, stem.kernel, stride=stem.stride)
    return (conv._replace(norm=True, active=True),)


def _mbconv(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    inner = width * stage.expand
    out = shrink(size, stride)
    ops = []
    if stage.expand > 1:
        ops.append(Op("conv", "expand", width, inner, size, size, 1, 1, False, True, True))
    k, flags = stage.kernel, (False, True, True, False)
    ops.append(Op("conv", "depthwise", inner, inner, size, out, k, inner, *flags, stride))
    if stage.se:
        squeezed, one = squeeze_width(width, stage.se), (1, 1)
        ops += (
            Op("pool", "squeeze.pool", inner, inner, out, one),
            Op("conv", "squeeze.reduce", inner, squeezed, one, one, 1, 1, True, False, True),
            Op("conv", "squeeze.expand", squeezed, inner, one, one, 1, 1, True),
            Op("gate", "squeeze", inner, inner, out, out),
        )
    ops.append(Op("conv", "project", inner, stage.width, out, out, 1, 1, False, True))
    if stride == 1 and width == stage.width:
        ops.append(Op("add", "add", width, width, out, out))
    return tuple(ops)


def _identity(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    if stride == 1 and width == stage.width:
        return ()
    return (Op("cut", "cut", width, stage.width, size, shrink(size, stride), stride=stride),)


def _head(head: Head, num_classes: int, width: int, size: Size) -> tuple[Op, ...]:
    wide, one = head.width, (1, 1)
    dropout = (Op("dropout", "dropout", wide, wide, one, one),) if head.dropout else ()
    return (
        Op("conv", "conv", width, wide, size, size, norm=True, active=True),
        Op("pool", "pool", wide, wide, size, one, counted=True),
        *dropout,
        Op("linear", "classifier", wide, num_classes, one, one, bias=True),
    )


def squeeze_width(width: int, share: float) -> int:
    """Channels of squeeze-excite for a block with `width` input channels, at least 1."""
    return max(1, int(width * share))


BLOCKS: dict[str, Callable[[Stage, int, Size, int], tuple[Op, ...]]] = {
    "mbconv": _mbconv,
    "identity": _identity,
}
