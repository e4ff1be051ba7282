"""Scaling to a target: the largest member of a family within limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import ADDITIVE, COUNTED, UNITS, Workload
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError, nearest
from scalesearch.scaling.coefficients import LEAST_PHI, MOST_PHI, Coefficients
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.match import bisect
from scalesearch.scaling.measure import Measure
from scalesearch.scaling.realise import TOLERANCE, rounded
from scalesearch.scaling.scale import realised, scale

_FINE = 0.0036  # doublings of FLOPs, a quarter of a percent, from one measured member to the next
_TRIES = 20  # of them at most: below 2 % under a limit on FLOPs each fits
_TRIES_OF_FACTORY, _HALVINGS_OF_FACTORY = 6, 12  # each of them builds networks
_HALVINGS = 4  # of an interval that the largest measured member is in
_BESIDE, _COARSE = 0.06, 0.015  # doublings above it, and steps in which it is looked for there

_DEFAULT = Workload()
# A phi and its member; the members by doublings of the baseline's FLOPs, None where none fits.
Found = tuple[float, Architecture]
Members = Callable[[float], "Found | None"]


@dataclass(frozen=True, kw_only=True)
class Growing:
    """The members of a family by phi, which need not be a whole number.

    Attributes:
        network: the member at a phi; it raises `UserError` where there is none.
        growth: what `network` makes FLOPs grow by for each phi, within 2 %; None if it rounds in
            steps, so that they are not known beforehand.
        flops_known: it is FLOPs that grow so, and not memory or latency.
        shrinks: members get smaller with phi.
        at: of a phi, FLOPs and a tolerance: the member that has these FLOPs, within a share.
        costly: a member takes a while, as one that a factory has to build.
    """

    network: Callable[[float], Architecture]
    at: Callable[[float, float, float], Architecture] | None = None
    growth: float | None = None
    flops_known: bool = True
    shrinks: bool = False
    costly: bool = False


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a limit is compared with.

    Attributes:
        workload: of the memory.
        latency: seconds of a network, measured or predicted; None where there is no limit on it.
    """

    workload: Workload = _DEFAULT
    latency: Callable[[Architecture], float] | None = None

    def within(self, net: Architecture, limits: Mapping[str, float]) -> bool:
        """Whether a network is within every limit; what takes longest to know comes last."""
        if {*limits} <= {*ADDITIVE}:  # memory is simulated, which only limits on bytes are worth
            known: Any = counts(net)
        else:
            known = cost(net, workload=self.workload)
        if any(getattr(known, name) > limits[name] for name in limits if name != "latency"):
            return False
        if "latency" not in limits:
            return True
        assert self.latency is not None
        return self.latency(net) <= limits["latency"]


def solve_phi(net: Architecture, coefficients: Scaling, **limits: float) -> float:
    """The largest phi whose network is within every limit; it may be a fraction or negative.

    `solve_phi(net, c, flops=1.8e9, training_bytes=8 * 2**30)`. Costs grow in steps, as widths and
    depths are rounded; the phi returned is the end of the last step that fits. FLOPs of `measured`
    coefficients are known beforehand to 2 %: the phi is that of the limit, or the nearest below it
    whose network is not above the limit. Of coefficients that shrink it is the smallest phi.

    Raises:
        UserError: a limit on something that is not a cost, none at all, or one that the smallest
            network of the family is over already.
    """
    check_limits(limits, COUNTED)
    # The phi is for `scale`, which meets FLOPs within 2 % on either side.
    return largest(replace(growing(net, coefficients), at=None), limits)[0]


def check_limits(limits: Mapping[str, float], known: tuple[str, ...] = tuple(UNITS)) -> None:
    """Rejects limits on what is not known, and those that nothing can meet."""
    for name, value in limits.items():
        if name not in known:
            reason = "is measured, not computed" if name in UNITS else "is not a cost"
            raise UserError(
                f"{name!r} {reason}", allowed=", ".join(known), hint=nearest(name, known)
            )
        if not value > 0:
            raise UserError(f"{value!r} cannot be a limit", key=name, allowed="a number above 0")
    if not limits:
        raise UserError("solve_phi needs a limit", allowed="flops=1.8e9 or another cost")


def growing(net: Architecture, coefficients: Scaling, measure: Measure | None = None) -> Growing:
    """The family of some coefficients; `measure` predicts latency, if their budget is one.

    Raises:
        UserError: they do not change the network with phi, or one that a factory does not scale.
    """
    shrinks = isinstance(coefficients, Coefficients) and coefficients.shrinks
    if not (coefficients.grows or shrinks):
        raise UserError("coefficients of which none is above 1 do not grow a network")
    network = partial(scale, net, coefficients, measure=measure)
    costly = isinstance(net, Factory)
    if isinstance(net, Factory) and isinstance(coefficients, Coefficients):
        rounded(net, coefficients.at(1))
    if not isinstance(coefficients, Coefficients) or coefficients.match == "nominal":
        return Growing(network=network, shrinks=shrinks, costly=costly)
    scale(net, coefficients, 0)  # of the right kind
    assert not isinstance(net, Detector)
    growth, baseline = coefficients.growth, net
    if growth == 1 or (growth < 1) != shrinks:
        raise UserError(
            f"coefficients that multiply costs by {growth:g} for each phi cannot meet a limit",
            key="coefficients",
            hint="shrink where every one is at most 1, and grow otherwise",
        )

    def at(phi: float, flops: float, tolerance: float) -> Backbone | Factory:
        return realised(baseline, coefficients, phi, flops, tolerance)

    known = coefficients.budget_cost == "flops"
    if not known:
        network(1)  # says if a table is missing
    return Growing(
        network=network,
        at=at if known else None,
        growth=growth,
        flops_known=known,
        shrinks=shrinks,
        costly=costly,
    )


def largest(
    family: Growing, limits: Mapping[str, float], costs: Costs | None = None
) -> tuple[float, Architecture]:
    """The phi and the network of the largest member within every limit.

    Of a measured family it is the member at the limit on FLOPs, where that decides: from 2 % below
    it to the limit itself, never above it.

    Raises:
        UserError: no member is within them, or they bound nothing.
    """
    within = partial((costs or Costs()).within, limits=limits)
    wanted = ", ".join(f"{name} {value:g}" for name, value in limits.items())
    if family.growth is None:
        sign = -1 if family.shrinks else 1
        steps = {"steps": _HALVINGS_OF_FACTORY} if family.costly else {}
        phi = sign * _stepwise(lambda x: family.network(sign * x), within, wanted, **steps)
        return phi, family.network(phi)
    member = partial(_member, family, within, family.growth)
    top = math.inf
    if "flops" in limits and family.flops_known:
        top = math.log2(limits["flops"] / counts(family.network(0)).flops)
        found = _at_flops(family, within, limits["flops"], top)
        if found is not None:
            return found
    return _searched(member, top, wanted)


def _member(
    family: Growing, within: Callable[[Architecture], bool], growth: float, doublings: float
) -> Found | None:
    """The member of so many times doubled FLOPs, if there is one and it is within the limits."""
    phi = doublings * math.log(2) / math.log(growth)
    try:
        net = family.network(phi)
    except UserError:  # its steps are too coarse, or nothing is left of it
        return None
    return (phi, net) if within(net) else None


def _at_flops(
    family: Growing, within: Callable[[Architecture], bool], limit: float, top: float
) -> Found | None:
    """The member at a limit on FLOPs, from 2 % below it upwards; the next smaller one if none is.

    None where another limit decides.
    """
    assert family.growth is not None
    member = partial(_member, family, within, family.growth)
    if abs(top) > MOST_PHI or not _near(member, top - 2 * TOLERANCE, _FINE * _TRIES / 4):
        return None
    below = None
    for step in range(_TRIES_OF_FACTORY if family.costly else _TRIES):
        # Of a costly family the exact one is tried first.
        skipped = family.costly and family.at is not None and step == 0
        found = None if skipped else member(top - step * _FINE)
        if found is None and step == 0:
            found = _exact(family, within, limit, top)
        if found is not None and counts(found[1]).flops >= limit * (1 - TOLERANCE):
            return found
        below = below or found
    return below


def _exact(
    family: Growing, within: Callable[[Architecture], bool], limit: float, top: float
) -> Found | None:
    """The member whose FLOPs are from 2 % below the limit to the limit, if it can be realised."""
    if family.at is None:
        return None
    assert family.growth is not None
    phi = top * math.log(2) / math.log(family.growth)
    try:
        net = family.at(phi, limit * (1 - TOLERANCE / 2), TOLERANCE / 2)
    except UserError:
        return None
    return (phi, net) if within(net) else None


def _searched(member: Members, top: float, wanted: str) -> Found:
    """The largest member of at most `top` doublings, to a percent or two of its FLOPs."""
    best = member(0.0) if top >= 0 else None
    low, high = (0.0, min(1.0, top)) if best else (-0.5, min(0.0, top))
    while best is not None and (larger := _near(member, high, 0.1)):
        best, low, high = larger, high, min(2 * high, top)
        if low == high or high > MOST_PHI:
            if high == top:
                return best
            raise UserError(
                f"every phi up to {best[0]:.3g} is within {wanted}",
                hint="limit a cost that these coefficients make grow, such as flops",
            )
    while best is None and (best := _near(member, min(low, top - 0.1), 0.1)) is None:
        high, low = low, 1.5 * low
        if low < -MOST_PHI:
            raise UserError(f"no phi makes this network small enough for {wanted}")
    assert best is not None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        larger = _near(member, middle, (high - low) / 8)
        best, low, high = (larger, middle, high) if larger else (best, low, middle)
    # Costs beside FLOPs are not quite in the order of phi: a member a little above may be within.
    end = min(top, high + _BESIDE)
    above = (member(end - step * _COARSE) for step in range(math.ceil((end - low) / _COARSE)))
    return next((found for found in above if found is not None), best)


def _near(member: Members, doublings: float, away: float) -> Found | None:
    """A member there or a little beside it, as single ones may be too coarse to be realised."""
    tries = (member(doublings + way * away) for way in (0, -1, 1))
    return next((found for found in tries if found is not None), None)


def _stepwise(
    network: Callable[[float], Architecture],
    within: Callable[[Architecture], bool],
    wanted: str,
    **steps: int,
) -> float:
    """The end of the last step within the limits, of members that only rounding sets apart."""

    def fits(x: float) -> bool:
        try:
            return within(network(x))
        except UserError:  # no pixel left: too small rather than too large
            return True

    low, _ = bisect(*_bracket(fits, wanted), fits, **steps)
    try:
        network(low)
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
