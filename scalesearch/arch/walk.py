"""The one walk over a described network: every operation with its sizes, in forward order.

Cost, memory and tables are sums over it. A network is stated twice, here (`blocks.py` for the
blocks) and as modules (`nn/`), in the same order and the same words; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import NamedTuple

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.blocks import BLOCKS
from scalesearch.arch.op import Op, Size, shrink
from scalesearch.arch.stage import Stage

Rule = Callable[..., "tuple[Op, ...]"]


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
    part, size = walk_stem(backbone.stem, backbone.in_channels, size)
    yield part
    width = backbone.stem.width
    for number, stage in enumerate(backbone.stages, start=1):
        parts, size = walk_stage(f"stage{number}", stage, width, size)
        yield from parts
        width = stage.width
    yield walk_head(backbone.head, backbone.num_classes, width, size)


def walk_stem(stem: Stem, in_channels: int, size: Size) -> tuple[Part, Size]:
    """The stem's part, and the size of what it puts out."""
    out = shrink(shrink(size, stem.stride), stem.pool)
    return Part("stem", 1, _stem, (stem, in_channels, size)), out


def walk_stage(name: str, stage: Stage, width: int, size: Size) -> tuple[tuple[Part, ...], Size]:
    """A stage's first block and its others, and the size of what they put out."""
    rule, out = BLOCKS[stage.block], shrink(size, stage.stride)
    first = Part(name, 1, rule, (stage, width, size, stage.stride))
    if stage.depth == 1:
        return (first,), out
    return (first, Part(name, stage.depth - 1, rule, (stage, stage.width, out, 1))), out


def walk_head(head: Head, num_classes: int, width: int, size: Size) -> Part:
    """The head's part for `width` channels of `size`."""
    return Part("head", 1, _head, (head, num_classes, width, size))


def _stem(stem: Stem, in_channels: int, size: Size) -> tuple[Op, ...]:
    out, norm = shrink(size, stem.stride), stem.norm
    flags = (1, False, norm, norm, False, stem.stride)
    conv = Op("conv", "conv", in_channels, stem.width, size, out, stem.kernel, *flags)
    if stem.pool == 1:
        return (conv,)
    pooled = shrink(out, stem.pool)
    pool = Op("max_pool", "pool", stem.width, stem.width, out, pooled, 3, stride=stem.pool)
    return conv, pool


def _head(head: Head, num_classes: int, width: int, size: Size) -> tuple[Op, ...]:
    wide, one = head.width or width, (1, 1)
    before: tuple[Op, ...] = ()
    if head.width:
        before = (Op("conv", "conv", width, wide, size, size, norm=True, active=True),)
    elif head.norm:
        before = (Op("norm", "norm", width, width, size, size, norm=True, active=True),)
    dropout = (Op("dropout", "dropout", wide, wide, one, one),) if head.dropout else ()
    return (
        *before,
        Op("pool", "pool", wide, wide, size, one, counted=True),
        *dropout,
        Op("linear", "classifier", wide, num_classes, one, one, bias=True),
    )
