"""Scaling to a target: how far one may go within a limit, and how to meet the same FLOPs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.stage import BLOCK_FIELDS
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import COUNTED, UNITS
from scalesearch.errors import UserError, nearest
from scalesearch.scaling.coefficients import LEAST_PHI, MOST_PHI, Coefficients, Multipliers
from scalesearch.scaling.scale import multiply, scale, with_depths

_STEPS = 60  # halvings: phi to 1e-16, which is the end of a float's digits


def solve_phi(backbone: Backbone, coefficients: Coefficients, **limits: float) -> float:
    """The largest phi whose network is within every limit; it may be a fraction or negative.

    `solve_phi(net, c, flops=1.8e9, training_bytes=8 * 2**30)`. Costs grow in steps, as widths and
    depths are rounded; the phi returned is the end of the last step that fits.

    Raises:
        UserError: a limit on something that is no cost, none at all, or one that the smallest
            network of the family is over already.
    """
    for name, value in limits.items():
        if name not in COUNTED:
            said = "is measured, not computed" if name in UNITS else "is no cost"
            raise UserError(
                f"{name!r} {said}", allowed=", ".join(COUNTED), hint=nearest(name, COUNTED)
            )
        if not value > 0:
            raise UserError(f"{value!r} cannot be a limit", key=name, allowed="a number above 0")
    if not limits:
        raise UserError("solve_phi needs a limit", allowed="flops=1.8e9 or another cost")
    if max(coefficients.alpha, coefficients.beta, coefficients.gamma) <= 1:
        raise UserError("coefficients of which none is above 1 do not grow a network")

    def fits(phi: float) -> bool:
        try:
            spent = cost(scale(backbone, coefficients, phi))
        except UserError:  # no pixel left: too small rather than too large
            return True
        return all(getattr(spent, name) <= value for name, value in limits.items())

    wanted = ", ".join(f"{name} {value:g}" for name, value in limits.items())
    low, high = _bracket(fits, wanted)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    try:
        scale(backbone, coefficients, low)
    except UserError:
        raise UserError(f"no phi makes this network small enough for {wanted}") from None
    return low


def _bracket(fits: Callable[[float], bool], wanted: str) -> tuple[float, float]:
    """A phi that fits and a larger one that does not."""
    low, high = 0.0, 1.0
    while fits(high):
        low, high = high, 2 * high
        if high > MOST_PHI:
            raise UserError(
                f"every phi up to {low:g} is within {wanted}",
                hint="limit a cost that these coefficients make grow, such as flops",
            )
    while not fits(low):
        low, high = 2 * low - 1, low
        if low < LEAST_PHI:
            raise UserError(f"no phi makes this network small enough for {wanted}")
    return low, high


def match_flops(backbone: Backbone, strategy: str, target: int) -> Backbone:
    """The network of one strategy whose FLOPs come closest to `target` (as a ratio).

    `depth` adds blocks one at a time, each to the stage that lags most behind the common
    multiplier; `width` and `resolution` search their multiplier. The other two dimensions stay.
    """
    candidates = _STRATEGIES[strategy](backbone, target)
    return min(candidates, key=lambda net: abs(math.log(cost(net).flops / target)))


def _by_depth(backbone: Backbone, target: int) -> Iterator[Backbone]:
    first = [stage.depth for stage in backbone.stages]
    growing = [i for i, s in enumerate(backbone.stages) if "depth" in BLOCK_FIELDS[s.block]]

    def times(multiple: int) -> Backbone:
        return with_depths(backbone, tuple(multiple * depth for depth in first))

    # Blocks added in turn pass through every whole multiple: the last one below the target is near.
    low, high = 1, 2
    while growing and cost(times(high)).flops < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(times(middle)).flops < target else (low, middle)
    net = times(low)
    depths = [stage.depth for stage in net.stages]
    yield net
    while growing and cost(net).flops < target:
        lagging = min(growing, key=lambda i: (depths[i] / first[i], i))
        depths[lagging] += 1
        net = with_depths(backbone, tuple(depths))
        yield net


def _by_multiplier(make: Callable[[float], Multipliers]) -> Callable[..., Iterator[Backbone]]:
    def candidates(backbone: Backbone, target: int) -> Iterator[Backbone]:
        low, high = 1.0, 2.0
        while cost(multiply(backbone, make(high))).flops < target:
            low, high = high, 2 * high
        for _ in range(_STEPS):
            middle = (low + high) / 2
            net = multiply(backbone, make(middle))
            low, high = (middle, high) if cost(net).flops < target else (low, middle)
        # The two sides of the step at which the target is passed.
        yield multiply(backbone, make(low))
        yield multiply(backbone, make(high))

    return candidates


_STRATEGIES: dict[str, Callable[[Backbone, int], Iterator[Backbone]]] = {
    "depth": _by_depth,
    "width": _by_multiplier(lambda by: Multipliers(width=by)),
    "resolution": _by_multiplier(lambda by: Multipliers(resolution=by)),
}
