"""Networks of equal FLOPs, really: multipliers realised at a target that is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.factory import Factory
from scalesearch.arch.stage import BLOCK_FIELDS
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.factory import nearest
from scalesearch.scaling.multiply import multiply, with_depths

TOLERANCE = 0.02  # share by which the FLOPs may miss their target
_MORE_BLOCKS = 2  # that a network may have, or lack, where that meets the target
_WIDER = 0.1  # share of its channels that it may have more, or lack
_WIDTHS = 40  # of those at most
_LARGER = 1.3  # factor by which its side may

Scaled = TypeVar("Scaled", bound=Backbone | Factory)


class Unrealised(UserError):
    """The steps of a network's dimensions are too coarse for a target."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Depths and widths, and how far they are from what was asked for, as a sum of logarithms."""

    off: float
    net: Backbone


def realise(net: Scaled, by: Multipliers, flops: float, tolerance: float = TOLERANCE) -> Scaled:
    """The network of some multipliers whose FLOPs are `flops`, within a share of them.

    Blocks are added one at a time, each to the stage that lags most behind the multiplier of depth;
    channels are rounded to their divisor (`arch/rounding.py`); the input's side takes up the rest.
    FLOPs grow in jumps where a side passes a multiple of the last map's pixels, so that a side
    alone may not do: then the network with a block or some channels more or less is taken whose
    depth, width and side are nearest to what was asked for, as a sum of logarithms.
    A factory does its own rounding (`scaling/factory.py`).

    Args:
        net: the baseline.
        by: its multipliers; that of the resolution says where the side is looked for.
        flops: of the result.
        tolerance: a share of `flops`.

    Raises:
        Unrealised: no such network comes that near.
    """
    find: Any = nearest if isinstance(net, Factory) else _nearest
    best: Scaled | None = find(net, by, flops, tolerance)
    if best is None:
        raise Unrealised(
            f"no network near depth {by.depth:.3g}, width {by.width:.3g} and resolution "
            f"{by.resolution:.3g} times the baseline's has {flops:.4g} FLOPs within "
            f"{tolerance:.1%}",
            hint="multipliers whose depth * width^2 * resolution^2 is near what FLOPs grow by "
            "leave least to be made up for",
        )
    return best


def _nearest(net: Backbone, by: Multipliers, flops: float, tolerance: float) -> Backbone | None:
    wanted = net.resolution * by.resolution
    best: tuple[float, Backbone] | None = None
    for shape in _shapes(net, by):
        if best is not None and best[0] <= shape.off:
            break  # all that follow are further off
        side = _side(shape.net, wanted, flops, tolerance)
        if side is None:
            continue
        off = shape.off + abs(math.log(side / wanted))
        if best is None or off < best[0]:
            best = off, replace(shape.net, resolution=side)
    return None if best is None else best[1]


def effective(net: Backbone | Factory, grown: Backbone | Factory) -> Multipliers:
    """By what a network was really multiplied: blocks, mean width of stages, side.

    Of a factory it is what this was asked for: how it rounds is not known.
    """
    if isinstance(net, Factory) or isinstance(grown, Factory):
        assert isinstance(net, Factory)
        assert isinstance(grown, Factory)
        return Multipliers(
            depth=grown.depth / net.depth,
            width=grown.width / net.width,
            resolution=grown.resolution / net.resolution,
        )
    before, after = _growing(net), _growing(grown)
    widths = [[stage.width for stage in each.stages] for each in (grown, net)]
    return Multipliers(
        depth=sum(after.values()) / sum(before.values()) if before else 1.0,
        width=math.exp(_mean_log(*widths)),
        resolution=grown.resolution / net.resolution,
    )


def lagging_depths(net: Backbone, blocks: int) -> tuple[int, ...]:
    """The depths of all stages with so many blocks in those that can grow, at least one in each.

    They are added one at a time to the stage that lags most behind the common multiplier, or taken
    one at a time from the one that is most ahead of it.
    """
    first = _growing(net)
    depths = dict(first)
    while (missing := blocks - sum(depths.values())) > 0:
        depths[min(depths, key=lambda i: (depths[i] / first[i], i))] += 1
    while missing < 0 and (shrinking := [i for i in depths if depths[i] > 1]):
        depths[max(shrinking, key=lambda i: (depths[i] / first[i], i))] -= 1
        missing += 1
    return tuple(depths.get(i, stage.depth) for i, stage in enumerate(net.stages))


def _growing(net: Backbone) -> dict[int, int]:
    """The depths of the stages that have one, by their positions."""
    stages = enumerate(net.stages)
    return {i: stage.depth for i, stage in stages if "depth" in BLOCK_FIELDS[stage.block]}


def _shapes(net: Backbone, by: Multipliers) -> Iterator[_Shape]:
    """Networks near the wanted depth and width, the nearest first."""
    pairs = [
        (deep_off + wide_off, deep, wide)
        for deep_off, deep in _depths_near(net, by.depth)
        for wide_off, wide in _widths_near(net, by)
    ]
    for off, deep, wide in sorted(pairs, key=lambda pair: pair[0]):
        yield _Shape(off, with_depths(wide, deep))


def _depths_near(net: Backbone, by: float) -> Sequence[tuple[float, tuple[int, ...]]]:
    first = _growing(net)
    wanted = by * sum(first.values())
    if not first:
        return [(0.0, lagging_depths(net, 0))]
    middle = math.floor(wanted + 0.5)
    numbers = range(
        max(len(first), middle - _MORE_BLOCKS), max(len(first), middle + _MORE_BLOCKS) + 1
    )
    return [(abs(math.log(n / wanted)), lagging_depths(net, n)) for n in numbers]


def _widths_near(net: Backbone, by: Multipliers) -> Sequence[tuple[float, Backbone]]:
    """The network with the wanted widths, and with some channels more and less."""
    wide = multiply(net, Multipliers(width=by.width, head_scaling=by.head_scaling))
    divisor, before = net.width_divisor, [stage.width for stage in net.stages]
    widths = [stage.width for stage in wide.stages]
    near = [(abs(_mean_log(widths, before) - math.log(by.width)), wide)]
    steps = max(2, math.floor(_WIDER * sum(widths) / divisor))
    for way in (1, -1):
        widths = [stage.width for stage in wide.stages]
        for step in range(1, steps + 1):
            widths = _one_step(widths, before, way * divisor)
            if min(widths) < divisor:
                break
            if step % math.ceil(2 * steps / _WIDTHS) == 0:
                off = abs(_mean_log(widths, before) - math.log(by.width))
                near.append((off, _with_widths(wide, widths)))
    return near


def _one_step(widths: Sequence[int], before: Sequence[int], more: int) -> list[int]:
    """Channels added to the stage that lags most, or taken from the one that is most ahead."""
    rates = [width / first for width, first in zip(widths, before, strict=True)]
    at = rates.index(min(rates)) if more > 0 else rates.index(max(rates))
    return [width + more * (n == at) for n, width in enumerate(widths)]


def _mean_log(widths: Sequence[int], before: Sequence[int]) -> float:
    """The mean of the logarithms of what each was multiplied with."""
    return sum(map(math.log, widths)) / len(widths) - sum(map(math.log, before)) / len(before)


def _with_widths(net: Backbone, widths: Sequence[int]) -> Backbone:
    stages = zip(net.stages, widths, strict=True)
    return replace(net, stages=tuple(replace(stage, width=w) for stage, w in stages))


def _side(net: Backbone, wanted: float, flops: float, tolerance: float) -> int | None:
    """The side nearest to the wanted one at which a network has these FLOPs, or None."""

    def spent(side: int) -> float:
        return float(counts(replace(net, resolution=side)).flops)

    least = max(1, math.floor(wanted / _LARGER))
    most = math.ceil(wanted * _LARGER)
    low = _first(lambda side: spent(side) >= flops * (1 - tolerance), least, most)
    high = _first(lambda side: spent(side) > flops * (1 + tolerance), low, most) - 1
    if low > high:
        return None
    return min(max(low, math.floor(wanted + 0.5)), high)


def _first(passes: Callable[[int], bool], low: int, high: int) -> int:
    """The first number from `low` on that passes, or `high` + 1; those after one that passes do."""
    high += 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle + 1, high)
    return low
