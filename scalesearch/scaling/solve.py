"""Scaling to a target: the largest member of a family within limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.cost.cost import COUNTED
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import LEAST_PHI, MOST_PHI, Coefficients
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.limits import Bounds, Costs, check_limits
from scalesearch.scaling.match import bisect
from scalesearch.scaling.measure import Measure
from scalesearch.scaling.realise import TOLERANCE, rounded
from scalesearch.scaling.scale import realised, scale

_FINE = 0.0036  # doublings of FLOPs, a quarter of a percent, from one measured member to the next
_TRIES = 20  # of them at most: below 2 % under a limit on FLOPs each fits
_TRIES_OF_FACTORY, _HALVINGS_OF_FACTORY = 6, 12  # each of them builds networks
_HALVINGS = 4  # of an interval that the largest measured member is in
_BESIDE, _COARSE = 0.06, 0.015  # doublings above it, and steps in which it is looked for there
_SHORT = 0.25  # doublings that the largest member may lack of a limit on FLOPs
_BEYOND = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)  # above the limit, where it lacks more
# A phi and its member.
Found = tuple[float, Architecture]


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
        UserError: no member is within them, or all are; it says what the smallest or the largest
            member has.
    """
    bounds = Bounds(limits=limits, costs=costs or Costs())
    if family.growth is None:
        return _stepwise(family, bounds)
    members = _Members(family, bounds)
    if "flops" in limits and family.flops_known:
        top = math.log2(limits["flops"] / counts(family.network(0)).flops)
        found = _at_flops(members, limits["flops"], top)
        return _searched(members, top) if found is None else found
    return _searched(members, math.inf)


class _Members:
    """The members of a measured family by how many times their FLOPs are doubled.

    Attributes:
        some_over: one of those that were asked for is over a limit.
    """

    def __init__(self, family: Growing, bounds: Bounds) -> None:
        self.family, self.bounds, self.some_over = family, bounds, False

    def phi(self, doublings: float) -> float:
        """That of a member."""
        assert self.family.growth is not None
        return doublings * math.log(2) / math.log(self.family.growth)

    def realised(self, doublings: float) -> Found | None:
        """The member, if there is one, whatever the limits."""
        phi = self.phi(doublings)
        try:
            return phi, self.family.network(phi)
        except UserError:  # its steps are too coarse, or nothing is left of it
            return None

    def __call__(self, doublings: float) -> Found | None:
        """The member, if there is one and it is within the limits."""
        found = self.realised(doublings)
        return found if found is not None and self.fits(found[1]) else None

    def fits(self, net: Architecture) -> bool:
        """Whether a member is within the limits."""
        fits = self.bounds.within(net)
        self.some_over |= not fits
        return fits


def _at_flops(members: _Members, limit: float, top: float) -> Found | None:
    """The member at a limit on FLOPs, from 2 % below it upwards; the next smaller one if none is.

    None where another limit decides.
    """
    family = members.family
    if abs(top) > MOST_PHI or not _near(members, top - 2 * TOLERANCE, _FINE * _TRIES / 4):
        return None
    below = None
    for step in range(_TRIES_OF_FACTORY if family.costly else _TRIES):
        # Of a costly family the exact one is tried first.
        skipped = family.costly and family.at is not None and step == 0
        found = None if skipped else members(top - step * _FINE)
        if found is None and step == 0:
            found = _exact(members, limit, top)
        if found is not None and counts(found[1]).flops >= limit * (1 - TOLERANCE):
            return found
        below = below or found
    return below


def _exact(members: _Members, limit: float, top: float) -> Found | None:
    """The member whose FLOPs are from 2 % below the limit to the limit, if it can be realised."""
    if members.family.at is None:
        return None
    phi = members.phi(top)
    try:
        net = members.family.at(phi, limit * (1 - TOLERANCE / 2), TOLERANCE / 2)
    except UserError:
        return None
    return (phi, net) if members.fits(net) else None


def _searched(members: _Members, top: float) -> Found:
    """The largest member of at most `top` doublings, to a percent or two of its FLOPs."""
    best = members(0.0) if top >= 0 else None
    low, high = (0.0, min(1.0, top)) if best else (-0.5, min(0.0, top))
    while best is not None and (larger := _near(members, high, 0.1)):
        best, low, high = larger, high, min(2 * high, top)
        if low == high == top:
            return best
        if low == high or high > MOST_PHI:
            break
    while best is None and (best := _near(members, min(low, top - 0.1), 0.1)) is None:
        high, low = low, 1.5 * low
        if low < -MOST_PHI:  # in steps that may have gone past a member
            smallest = _smallest(members)
            if not members.fits(smallest[1]):
                raise members.bounds.too_small(*smallest)
            best, low = _first_below(members, min(0.0, top), smallest)
            high = low + _COARSE
            break
    assert best is not None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        larger = _near(members, middle, (high - low) / 8)
        best, low, high = (larger, middle, high) if larger else (best, low, middle)
    # Costs beside FLOPs are not quite in the order of phi: a member a little above may be within.
    end = min(top, high + _BESIDE)
    above = (members(end - step * _COARSE) for step in range(math.ceil((end - low) / _COARSE)))
    best = next((found for found in above if found is not None), best)
    if _is_last(members, best, top):
        raise members.bounds.too_large(*best, members.family.network(0))
    return best


def _is_last(members: _Members, best: Found, top: float) -> bool:
    """Whether no member is larger than the best, so that it is not the limits that end there."""
    if members.some_over:
        return False
    reached = best[0] / members.phi(1.0)
    if top - reached < _SHORT:
        return False
    # Of members above a limit on FLOPs none was tried yet.
    return not any(members.realised(top + more) for more in _BEYOND if top < math.inf)


def _smallest(members: _Members) -> Found:
    """The smallest member that can be realised, to a few percent of its FLOPs."""

    def near(doublings: float) -> Found | None:
        tries = (members.realised(doublings + way * 0.1) for way in (-1, 0, 1))
        return next((found for found in tries if found is not None), None)

    best, low, high = (0.0, members.family.network(0)), -1.0, 0.0
    while (smaller := near(low)) is not None and low > -MOST_PHI:
        best, low, high = smaller, 2 * low, low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        smaller = near(middle)
        best, low, high = (smaller, low, middle) if smaller else (best, middle, high)
    return best


def _first_below(members: _Members, top: float, smallest: Found) -> tuple[Found, float]:
    """The largest member within the limits in small steps from `top` doublings, and where it is."""
    end = smallest[0] / members.phi(1.0)
    for step in range(math.ceil((top - end) / _COARSE)):
        doublings = top - step * _COARSE
        if (found := members(doublings)) is not None:
            return found, doublings
    return smallest, end


def _near(members: _Members, doublings: float, away: float) -> Found | None:
    """A member there or a little beside it, as single ones may be too coarse to be realised."""
    tries = (members(doublings + way * away) for way in (0, -1, 1))
    return next((found for found in tries if found is not None), None)


def _stepwise(family: Growing, bounds: Bounds) -> Found:
    """The end of the last step within the limits, of members that only rounding sets apart."""
    sign = -1 if family.shrinks else 1

    def network(x: float) -> Architecture:
        return family.network(sign * x)

    def fits(x: float) -> bool:
        try:
            return bounds.within(network(x))
        except UserError:  # no pixel left: too small rather than too large
            return True

    low, high = 0.0, 1.0
    while fits(high):
        low, high = high, 2 * high
        if high > MOST_PHI:
            raise bounds.too_large(sign * low, network(low), network(0))
    while not fits(low):
        low, high = 2 * low - 1, low
        if low < LEAST_PHI:
            raise bounds.too_small(sign * high, network(high))
    steps = {"steps": _HALVINGS_OF_FACTORY} if family.costly else {}
    low, high = bisect(low, high, fits, **steps)
    try:
        return sign * low, network(low)
    except UserError:
        raise bounds.too_small(sign * high, network(high)) from None
