"""Networks of equal FLOPs, really: multipliers realised at a target that is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeVar

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.factory import Factory
from scalesearch.arch.rounding import Vanished
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.factory import multiplied, nearest
from scalesearch.scaling.measure import FLOPS, Measure
from scalesearch.scaling.multiply import multiply, with_depths

TOLERANCE = 0.02  # share by which the FLOPs may miss their target
_MORE_BLOCKS = 2  # that a network may have, or lack, where that meets the target
_WIDER = 0.1  # share of its channels that it may have more, or lack
_WIDTHS = 40  # of those at most
_LARGER = 1.3  # factor by which its side may
_ROUNDS = 8  # of looking for a target along a ray of multipliers
_NEAR = 0.005  # share of the target at which it ends
_ASTRAY = 1.3  # factor by which the nearest steps along a ray may miss the target

Scaled = TypeVar("Scaled", bound=Backbone | Factory)


class Unrealised(UserError):
    """The steps of a network's dimensions are too coarse for a target."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Depths and widths, and how far they are from what was asked for, as a sum of logarithms."""

    off: float
    depths: tuple[int, ...]
    widths: Sequence[int]


def realise(
    net: Scaled,
    by: Multipliers,
    target: float,
    tolerance: float = TOLERANCE,
    *,
    measure: Measure = FLOPS,
) -> Scaled:
    """The network of some multipliers whose FLOPs are `target`, within a share of them.

    Blocks are added one at a time, each to the stage that lags most behind the multiplier of depth;
    channels are rounded to their divisor (`arch/rounding.py`); the input's side takes up the rest.
    FLOPs grow in jumps where a side passes a multiple of the last map's pixels, so that a side
    alone may not do: then the network with a block or some channels more or less is taken whose
    depth, width and side are nearest to what was asked for, as a sum of logarithms. A factory does
    its own rounding (`scaling/factory.py`).

    Args:
        net: the baseline.
        by: its multipliers; that of the resolution says where the side is looked for.
        target: FLOPs of the result, or what `measure` gives.
        tolerance: a share of `target`.
        measure: the cost that is to meet the target.

    Raises:
        Unrealised: no such network comes that near.
        UserError: another measure than FLOPs of what a factory builds.
    """
    measure.check(net)
    best: Any = (
        nearest(net, by, target, tolerance)
        if isinstance(net, Factory)
        else _realised(net, by, target, tolerance, measure)
    )
    if best is None:
        raise Unrealised(
            f"no network near depth {by.depth:.3g}, width {by.width:.3g} and resolution "
            f"{by.resolution:.3g} times the baseline's has {target:.4g} {measure.words} within "
            f"{tolerance:.1%}",
            hint="multipliers whose depth * width^2 * resolution^2 is near what FLOPs grow by "
            "leave least to be made up for",
        )
    found: Scaled = best
    return found


def _realised(
    net: Backbone, by: Multipliers, target: float, tolerance: float, measure: Measure
) -> Backbone | None:
    """The nearest network within the tolerance, or None."""
    wanted = net.resolution * by.resolution
    wide = multiply(net, Multipliers(width=by.width, head_scaling=by.head_scaling))
    least, most = target * (1 - tolerance), target * (1 + tolerance)
    best: Backbone | None = None
    least_off = math.log(_LARGER)
    for shape in _shapes(net, wide, by):
        if best is not None and least_off <= shape.off:
            break  # all that follow are further off
        network = _made(wide, shape)
        room = math.exp(least_off - shape.off) if best is not None else _LARGER
        side = _side(partial(measure.at, network), wanted, room, least, most)
        if side is None:
            continue
        off = shape.off + abs(math.log(side / wanted))
        if best is None or off < least_off:
            least_off, best = off, replace(network, resolution=side)
    return best


def realise_along(
    net: Scaled,
    at: Callable[[float], Multipliers],
    target: float,
    tolerance: float = TOLERANCE,
    *,
    measure: Measure = FLOPS,
) -> Scaled:
    """The network on a ray of multipliers that meets a target, within a share of it.

    The dimensions grow together until their nearest steps come to the target; what is missing then
    is made up for by `realise`, near these multipliers.

    Args:
        net: the baseline.
        at: the multipliers for about so many times its cost.
        target: of the result, above or below the baseline's.
        tolerance: a share of `target`.
        measure: the cost that is to meet the target.

    Raises:
        Unrealised: these dimensions alone come nowhere near, as depth where each stage has one
            block left, or no network nearby meets the target.
    """
    off, by = _on_ray(net, at, target, measure)
    if off > math.log(_ASTRAY):
        raise Unrealised(
            f"these dimensions alone cannot bring the network to {target:.4g} {measure.words}",
            hint="take a target nearer to the baseline's, or a strategy with other dimensions",
        )
    return realise(net, by, target, tolerance, measure=measure)


def nearest_along(
    net: Scaled, at: Callable[[float], Multipliers], target: float, measure: Measure = FLOPS
) -> Scaled:
    """The network on a ray whose nearest steps come closest to a target, however near."""
    return rounded(net, _on_ray(net, at, target, measure)[1])


def _on_ray(
    net: Backbone | Factory, at: Callable[[float], Multipliers], target: float, measure: Measure
) -> tuple[float, Multipliers]:
    """How far the nearest multipliers miss the target, as a logarithm, and they themselves."""
    times, tried = target / measure.of(net), list[tuple[float, Multipliers]]()
    for _ in range(_ROUNDS):
        try:
            by = at(times)
            close = rounded(net, by)
        except (Vanished, OverflowError):  # nothing is left of the image, or too much
            break
        over = measure.of(close) / target
        tried.append((abs(math.log(over)), by))
        if tried[-1][0] < _NEAR or not 1e-12 < times / over < 1e12:
            break
        times /= over
    return min(tried, key=lambda one: one[0], default=(math.inf, Multipliers()))


def effective(net: Backbone | Factory, grown: Backbone | Factory) -> Multipliers:
    """By what a network was really multiplied: blocks, mean width of stages, side.

    Of a factory it is by the shortest multipliers that give the network: how it rounds is not
    known.
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


def rounded(net: Scaled, by: Multipliers) -> Scaled:
    """The network of some multipliers with every dimension rounded to its nearest step.

    Unlike `multiply`, which rounds depths up as the paper's code does; a factory rounds as it does.
    """
    made: Any = multiplied(net, by) if isinstance(net, Factory) else _rounded(net, by)
    found: Scaled = made
    return found


def _rounded(net: Backbone, by: Multipliers) -> Backbone:
    blocks = math.floor(by.depth * sum(_growing(net).values()) + 0.5)
    wide = multiply(net, replace(by, depth=1.0))
    return with_depths(wide, lagging_depths(net, blocks))


def lagging_depths(net: Backbone, blocks: int) -> tuple[int, ...]:
    """The depths of all stages with so many blocks in those that can grow, at least one in each.

    They are added one at a time to the stage that lags most behind the common multiplier, or taken
    one at a time from the one that is most ahead of it.
    """
    first = _growing(net)
    times = max(1, blocks // max(1, sum(first.values())))
    depths = {i: times * depth for i, depth in first.items()}  # passed on the way
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


def _shapes(net: Backbone, wide: Backbone, by: Multipliers) -> Iterator[_Shape]:
    """Depths and widths near the wanted ones, the nearest first."""
    shapes = [
        _Shape(deep_off + wide_off, depths, widths)
        for deep_off, depths in _depths_near(net, by.depth)
        for wide_off, widths in _widths_near(net, wide, by.width)
    ]
    return iter(sorted(shapes, key=lambda shape: shape.off))


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


def _widths_near(net: Backbone, wide: Backbone, by: float) -> Sequence[tuple[float, Sequence[int]]]:
    """The wanted widths of the stages, and such with some channels more and less."""
    divisor, before = net.width_divisor, [stage.width for stage in net.stages]
    wanted = [stage.width for stage in wide.stages]
    near: list[tuple[float, Sequence[int]]] = [
        (abs(_mean_log(wanted, before) - math.log(by)), wanted)
    ]
    steps = max(2, math.floor(_WIDER * sum(wanted) / divisor))
    for way in (1, -1):
        widths: Sequence[int] = wanted
        for step in range(1, steps + 1):
            widths = _one_step(widths, before, way * divisor)
            if min(widths) < divisor:
                break
            if step % math.ceil(2 * steps / _WIDTHS) == 0:
                near.append((abs(_mean_log(widths, before) - math.log(by)), widths))
    return near


def _one_step(widths: Sequence[int], before: Sequence[int], more: int) -> Sequence[int]:
    """Channels added to the stage that lags most, or taken from the one that is most ahead."""
    rates = [width / first for width, first in zip(widths, before, strict=True)]
    at = rates.index(min(rates)) if more > 0 else rates.index(max(rates))
    return [width + more * (n == at) for n, width in enumerate(widths)]


def _mean_log(widths: Sequence[int], before: Sequence[int]) -> float:
    """The mean of the logarithms of what each was multiplied with."""
    return sum(map(math.log, widths)) / len(widths) - sum(map(math.log, before)) / len(before)


def _made(wide: Backbone, shape: _Shape) -> Backbone:
    stages = zip(wide.stages, shape.depths, shape.widths, strict=True)
    return replace(wide, stages=tuple(_stage(stage, d, w) for stage, d, w in stages))


@lru_cache(maxsize=10_000)
def _stage(stage: Stage, depth: int, width: int) -> Stage:
    return replace(stage, depth=depth, width=width)


def _side(
    spent: Callable[[int], float], wanted: float, room: float, least: float, most: float
) -> int | None:
    """The side nearest to the wanted one that spends from `least` to `most`, or None.

    What is spent grows with the side; it is looked for up to a factor of `room` away.
    """
    start = max(1, math.floor(wanted + 0.5))
    now = spent(start)
    if least <= now <= most:
        return start
    if now < least:
        side = _first(lambda side: spent(side) >= least, start + 1, math.floor(wanted * room))
        fits = side <= wanted * room and spent(side) <= most
        return side if fits else None
    end = max(1, math.ceil(wanted / room))
    side = _first(lambda side: spent(side) > most, end, start - 1) - 1
    return side if side >= end and spent(side) >= least else None


def _first(passes: Callable[[int], bool], low: int, high: int) -> int:
    """The first number from `low` on that passes, or `high` + 1; those after one that passes do."""
    high = max(low, high + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle + 1, high)
    return low
