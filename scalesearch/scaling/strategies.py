"""Strategies: which shares of the growth of FLOPs depth, width and resolution take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.factory import Factory
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError, nearest
from scalesearch.scaling.coefficients import Coefficients, HeadScaling, Multipliers
from scalesearch.scaling.measure import FLOPS, Measure
from scalesearch.scaling.realise import TOLERANCE, Scaled, realise_along, rounded
from scalesearch.scaling.solve import Growing

COMPOUND = "compound"
# `d1_w8_r1`: the weights of the shares, as the code of fast scaling names them, too.
OWN_PATTERN = r"d(\d+(?:\.\d+)?)_w(\d+(?:\.\d+)?)_r(\d+(?:\.\d+)?)"
_OWN = re.compile(OWN_PATTERN)


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the growth of FLOPs, which add up to 1.

    For s times the FLOPs depth grows by s^depth, width by s^(width / 2) and resolution by
    s^(resolution / 2), as FLOPs grow with depth and with the squares of width and resolution
    (Dollár, Singh & Girshick 2021, section 4).
    """

    depth: float
    width: float
    resolution: float

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Those that have a share."""
        return tuple(name for name, share in asdict(self).items() if share)

    def at(self, times: float, head_scaling: HeadScaling = "scale") -> Multipliers:
        """The multipliers for so many times the FLOPs."""
        return Multipliers(
            depth=times**self.depth,
            width=times ** (self.width / 2),
            resolution=times ** (self.resolution / 2),
            head_scaling=head_scaling,
        )

    def coefficients(
        self, budget: float = 2.0, head_scaling: HeadScaling = "scale"
    ) -> Coefficients:
        """The coefficients whose FLOPs grow by `budget` for each phi."""
        by = self.at(budget)
        triple = by.depth, by.width, by.resolution
        return Coefficients(*triple, head_scaling, match="measured", budget=budget)


SHARES: Mapping[str, Shares] = {
    "depth": Shares(1, 0, 0),
    "width": Shares(0, 1, 0),
    "resolution": Shares(0, 0, 1),
    "depth_width": Shares(0.5, 0.5, 0),
    "fast_compound": Shares(0.1, 0.8, 0.1),
}
STRATEGIES = (COMPOUND, *SHARES)
DEFAULT = (COMPOUND, "depth", "width", "resolution")


def of_shares(
    net: Backbone | Factory, shares: Shares, head_scaling: HeadScaling = "scale"
) -> Growing:
    """The family of one strategy: 2^phi times the FLOPs.

    Raises:
        UserError: a share goes to a dimension that a factory does not scale.
    """
    start = counts(net).flops
    rounded(net, shares.at(2.0, head_scaling))

    def at(phi: float, flops: float, tolerance: float = TOLERANCE) -> Backbone | Factory:
        return grown(net, shares, flops, tolerance, head_scaling=head_scaling)

    return Growing(
        network=lambda phi: net if phi == 0 else at(phi, start * 2.0**phi),
        at=at,
        growth=2.0,
        costly=isinstance(net, Factory),
    )


def check_strategy(word: str) -> str:
    """The word, if it is a strategy of classifiers.

    Raises:
        UserError: it is not.
    """
    if word != COMPOUND:
        shares_of(word)
    return word


def shares_of(word: str) -> Shares:
    """The shares of a strategy, such as `width`, `fast_compound` or one's own `d1_w8_r1`.

    Raises:
        UserError: there is no such strategy, or its weights are all 0.
    """
    if (known := SHARES.get(word)) is not None:
        return known
    match = _OWN.fullmatch(word) if isinstance(word, str) else None
    if match is None:
        raise UserError(
            f"{word!r} is not known",
            allowed=f"{', '.join(STRATEGIES)}, or weights of one's own such as d1_w8_r1",
            hint=nearest(str(word).replace("+", "_"), STRATEGIES),
        )
    weights = [float(weight) for weight in match.groups()]
    if not 0 < sum(weights) < math.inf:
        raise UserError(f"the weights of {word!r} are all 0", allowed="such as d1_w8_r1")
    return Shares(*(weight / sum(weights) for weight in weights))


def grown(
    net: Scaled,
    shares: Shares,
    target: float,
    tolerance: float = TOLERANCE,
    *,
    head_scaling: HeadScaling = "scale",
    measure: Measure = FLOPS,
) -> Scaled:
    """The network of one strategy whose FLOPs are `target`, within a share of them.

    The dimensions that have a share grow together, as near to these as by `realise`. `target` may
    be below the network's own FLOPs; `measure` is as of `realise`.

    Raises:
        Unrealised: these dimensions alone come nowhere near, as depth where each stage has one
            block left, or no network nearby has the FLOPs.
    """
    at = partial(shares.at, head_scaling=head_scaling)
    return realise_along(net, at, target, tolerance, measure=measure)
