"""The operations of each block kind, in the order and the words of its module (`nn/blocks.py`)."""

from __future__ import annotations

from collections.abc import Callable

from scalesearch.arch.op import Op, Size, shrink
from scalesearch.arch.stage import Stage


def _mbconv(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    inner = width * stage.expand
    out = shrink(size, stride)
    ops = []
    if stage.expand > 1:
        ops.append(Op("conv", "expand", width, inner, size, size, 1, 1, False, True, True))
    k, flags = stage.kernel, (False, True, True, False)
    ops.append(Op("conv", "depthwise", inner, inner, size, out, k, inner, *flags, stride))
    if stage.se:
        ops += _squeeze(inner, squeeze_width(width, stage.se), out)
    ops.append(Op("conv", "project", inner, stage.width, out, out, 1, 1, False, True))
    if stride == 1 and width == stage.width:
        ops.append(Op("add", "add", width, width, out, out))
    return tuple(ops)


def _fused_mbconv(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    inner, out, k = width * stage.expand, shrink(size, stride), stage.kernel
    active = (1, False, True, True, False)
    # Without expansion the spatial convolution is the projection, and has the activation.
    expands = stage.expand > 1
    ops = [Op("conv", "expand", width, inner, size, out, k, *active, stride)] if expands else []
    if stage.se:
        ops += _squeeze(inner, squeeze_width(width, stage.se), out if expands else size)
    if expands:
        ops.append(Op("conv", "project", inner, stage.width, out, out, 1, 1, False, True))
    else:
        ops.append(Op("conv", "project", width, stage.width, size, out, k, *active, stride))
    if stride == 1 and width == stage.width:
        ops.append(Op("add", "add", width, width, out, out))
    return tuple(ops)


def _squeeze(width: int, squeezed: int, size: Size) -> tuple[Op, ...]:
    one = (1, 1)
    return (
        Op("pool", "squeeze.pool", width, width, size, one),
        Op("conv", "squeeze.reduce", width, squeezed, one, one, 1, 1, True, False, True),
        Op("conv", "squeeze.expand", squeezed, width, one, one, 1, 1, True),
        Op("gate", "squeeze", width, width, size, size),
    )


def _separable(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    out, k, flags = shrink(size, stride), stage.kernel, (False, True, True, False)
    return (
        Op("conv", "depthwise", width, width, size, out, k, width, *flags, stride),
        Op("conv", "project", width, stage.width, out, out, 1, 1, *flags),
    )


def _basic(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    out, wide, k, plain = shrink(size, stride), stage.width, stage.kernel, (1, False)
    return (
        Op("conv", "first", width, wide, size, out, k, *plain, True, True, False, stride),
        Op("conv", "second", wide, wide, out, out, k, *plain, True),
        *_projection(stage, width, size, stride, norm=True),
        Op("add", "add", wide, wide, out, out, active=True),
    )


def _bottleneck(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    out, wide, k = shrink(size, stride), stage.width, stage.kernel
    inner, flags = reduced_width(wide, stage.reduce), (1, False, True, True, False)
    return (
        Op("conv", "reduce", width, inner, size, size, 1, *flags),
        Op("conv", "spatial", inner, inner, size, out, k, *flags, stride),
        Op("conv", "expand", inner, wide, out, out, 1, 1, False, True),
        *_projection(stage, width, size, stride, norm=True),
        Op("add", "add", wide, wide, out, out, active=True),
    )


def _wide(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    out, wide, k, flags = shrink(size, stride), stage.width, stage.kernel, (1, False)
    return (
        Op("norm", "entry", width, width, size, size, norm=True, active=True),
        Op("conv", "first", width, wide, size, out, k, *flags, True, True, False, stride),
        Op("conv", "second", wide, wide, out, out, k),
        *_projection(stage, width, size, stride, norm=False),
        Op("add", "add", wide, wide, out, out),
    )


def _projection(stage: Stage, width: int, size: Size, stride: int, *, norm: bool) -> tuple[Op, ...]:
    """The 1x1 convolution of a shortcut whose two ends differ (He et al. 2016, option B)."""
    if stride == 1 and width == stage.width:
        return ()
    ends = (width, stage.width, size, shrink(size, stride))
    return (Op("conv", "shortcut", *ends, norm=norm, stride=stride, aside=True),)


def _identity(stage: Stage, width: int, size: Size, stride: int) -> tuple[Op, ...]:
    if stride == 1 and width == stage.width:
        return ()
    return (Op("cut", "cut", width, stage.width, size, shrink(size, stride), stride=stride),)


def squeeze_width(width: int, share: float) -> int:
    """Channels of squeeze-excite for a block with `width` input channels, at least 1."""
    return max(1, int(width * share))


def reduced_width(width: int, reduce: int) -> int:
    """Inner channels of a bottleneck that puts out `width`, at least 1."""
    return max(1, width // reduce)


BLOCKS: dict[str, Callable[[Stage, int, Size, int], tuple[Op, ...]]] = {
    "mbconv": _mbconv,
    "fused_mbconv": _fused_mbconv,
    "separable": _separable,
    "basic": _basic,
    "bottleneck": _bottleneck,
    "wide": _wide,
    "identity": _identity,
}
