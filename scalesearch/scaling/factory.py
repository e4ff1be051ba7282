"""Scaling what a factory builds: its multipliers, realised at FLOPs that are counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

from scalesearch.arch.factory import REJECTED_SIDES, Factory
from scalesearch.arch.rounding import round_resolution
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import COEFFICIENTS, Multipliers

_LARGER = 1.3  # factor by which a side may differ from the wanted one
# What width, or depth, is multiplied with where a side alone does not do; the least first.
_FACTORS = tuple(math.exp(way * step / 100) for step in range(1, 13) for way in (1, -1))
_AROUND = 4  # sides that are tried with these
_ROUGHLY = 0.15  # how far FLOPs that grow smoothly may be from the target, as a logarithm
_STEPS = 40  # probes of one multiplier at most
_DIGITS = 4  # decimals of a multiplier below which a shorter one is looked for


def scaled_dimensions(net: Factory) -> tuple[str, ...]:
    """Those of depth, width and resolution that it scales (`cost/factory_dimensions.py`)."""
    from scalesearch.cost.factory_dimensions import scaled_dimensions as dimensions

    return dimensions(net)


def multiplied(net: Factory, by: Multipliers) -> Factory:
    """The network whose multipliers are multiplied; its factory rounds as it does.

    Raises:
        UserError: a dimension is multiplied that the factory does not scale, or no pixel is left.
    """
    known = scaled_dimensions(net)
    for name, letter in COEFFICIENTS.items():
        if getattr(by, name) != 1 and name not in known:
            raise UserError(
                f"{net.factory} does not scale {name}",
                key=letter,
                allowed="1",
                hint=f"it scales {' and '.join(known)}" if known else "it scales nothing",
            )
    if by.head_scaling != "scale":
        raise UserError(
            f"{net.factory} decides itself how wide its head is",
            key="head_scaling",
            allowed="scale",
        )
    return replace(
        net,
        depth=net.depth * by.depth,
        width=net.width * by.width,
        resolution=round_resolution(net.resolution * by.resolution),
    )


def nearest(net: Factory, by: Multipliers, flops: float, tolerance: float) -> Factory | None:
    """The network of some multipliers whose FLOPs are `flops`, within a share of them, or None.

    Its side takes up the rest. Where FLOPs grow in jumps, so that no side does, width, or else
    depth, is multiplied with up to 1.13 more, or less, at a side beside the jump. What the factory
    does not scale stays.
    """
    known = scaled_dimensions(net)
    wanted = multiplied(net, by)
    if "resolution" in known:
        tried = _sides(wanted, flops, tolerance)
    else:
        own = _possible_flops(wanted)
        tried = {} if own is None else {wanted.resolution: own}
    if not tried:
        return None
    best = min(tried, key=lambda side: _off(tried[side], flops))
    if _off(tried[best], flops) <= tolerance:
        return plainest(replace(wanted, resolution=best))
    around = sorted(tried, key=lambda side: abs(math.log(tried[side] / flops)))[:_AROUND]
    for factor, side in product(_FACTORS, around):
        for name, power in (("width", 2), ("depth", 1)):
            about = tried[side] * factor**power
            if name not in known or abs(math.log(about / flops)) > _ROUGHLY:
                continue
            found = replace(wanted, **{name: getattr(wanted, name) * factor}, resolution=side)
            spent = _possible_flops(found)
            if spent is not None and _off(spent, flops) <= tolerance:
                return plainest(found)
    return None


def alone(net: Factory, name: str, flops: float) -> Factory:
    """The network of which one dimension is multiplied, whose FLOPs come closest to `flops`.

    Raises:
        UserError: the factory does not scale it.
    """

    def grown(times: float) -> Factory:
        return multiplied(net, replace(Multipliers(), **{name: times}))  # type: ignore[arg-type]

    if _flops(net) >= flops:
        return net
    least, most = 1.0, 2.0
    while _flops(grown(most)) < flops and most < 2**20:
        least, most = most, 2 * most
    tried = _narrowed(lambda times: _flops(grown(times)), least, most, flops)
    return plainest(
        grown(min(tried, key=lambda times: abs(math.log(_flops(grown(times)) / flops))))
    )


def plainest(net: Factory) -> Factory:
    """The same network by the multipliers with the fewest digits that its factory builds it for.

    Of several with as few the one that is nearest to 1: so that a network that is come to in two
    ways has one name, and is trained once.
    """
    wanted = _told_apart_by(net)
    for name in ("depth", "width"):
        for digits in range(_DIGITS):
            found = _with_digits(net, name, digits, wanted)
            if found is not None:
                net = found
                break
    return net


def _with_digits(net: Factory, name: str, digits: int, wanted: object) -> Factory | None:
    """The network of a multiplier with so many decimals that is built alike, if there is one."""
    unit = 10**-digits

    def at(steps: int) -> Factory:
        return replace(net, **{name: round(steps * unit, digits)})

    def same(steps: int) -> bool:
        try:
            return steps > 0 and _told_apart_by(at(steps)) == wanted
        except UserError:  # the factory rejects it
            return False

    exact = getattr(net, name) / unit
    steps = next((n for n in (math.floor(exact), math.ceil(exact)) if same(n)), None)
    if steps is None:
        return None
    one, towards = round(1 / unit), 1 if steps * unit < 1 else -1
    for _ in range(10):
        if steps == one or not same(steps + towards):
            break
        steps += towards
    return at(steps)


def _told_apart_by(net: Factory) -> tuple[object, ...]:
    """The shapes of its weights, and its FLOPs: blocks that share weights differ in these alone."""
    from scalesearch.cost.factory import alike

    return (*alike(net), _flops(net))


def _flops(net: Factory) -> int:
    from scalesearch.cost.factory import factory_flops

    return factory_flops(net)


def _possible_flops(net: Factory) -> int | None:
    """The FLOPs of a network, or None of one that its factory rejects or that cannot be run."""
    try:
        return _flops(net)
    except UserError:
        return None


def _beside(net: Factory, side: int, low: int, high: int) -> tuple[int, int] | None:
    """The side nearest to one that can be built, from `low` to `high`, and its FLOPs."""
    for away in range(REJECTED_SIDES):
        for near in dict.fromkeys((side - away, side + away)):
            if low <= near <= high:
                spent = _possible_flops(replace(net, resolution=near))
                if spent is not None:
                    return near, spent
    return None


def _off(flops: float, target: float) -> float:
    return abs(flops / target - 1)


def _sides(net: Factory, flops: float, tolerance: float) -> dict[int, int]:
    """Sides near the network's own with the FLOPs there, on the way to one that has `flops`."""
    wanted = side = net.resolution
    low, high = max(1, math.floor(wanted / _LARGER)), math.ceil(wanted * _LARGER)
    tried = dict[int, int]()
    while low <= high:
        found = _beside(net, side, low, high)
        if found is None:
            break
        side, spent = found
        tried[side] = spent
        if _off(spent, flops) <= tolerance:
            break
        low, high = (side + 1, high) if spent < flops else (low, side - 1)
        # FLOPs are about the square of the side.
        side = min(max(low, round(side * math.sqrt(flops / max(spent, 1)))), high)
    return tried


def _narrowed(
    spent: Callable[[float], float], low: float, high: float, target: float
) -> Iterator[float]:
    """Multipliers on the way to the one that spends `target`, between two on its sides."""
    yield from (low, high)
    before = None
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        yield middle
        now = spent(middle)
        if _off(now, target) < 1e-3 or (high / low < 1.01 and now == before):
            return
        low, high, before = (middle, high, now) if now < target else (low, middle, now)
