"""The side of images that are smaller than a network's own, as far as it takes such images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scalesearch.arch.detector import Architecture, Described, Detector
from scalesearch.arch.factory import Factory
from scalesearch.errors import UserError


def smaller_side(net: Architecture, share: float) -> int:
    """The side in pixels that is nearest to `share` (0 to 1) of the network's own.

    A backbone takes any side. A detector's is a multiple of what its levels halve, as far as its
    own is one. A factory's module is tried.

    Raises:
        UserError: a factory's module takes no side below its own.
    """
    wanted = net.resolution * share
    if share == 1:
        return net.resolution
    if isinstance(net, Factory):
        from scalesearch.cost.factory_dimensions import side_taken

        return side_taken(net, max(1, math.floor(wanted + 0.5)))
    step = _step(net)
    return max(step, math.floor(wanted / step + 0.5) * step)


def require_smaller(net: Architecture, shares: Sequence[float]) -> None:
    """Rejects shares below 1 of which a network's images would be no smaller.

    Raises:
        UserError: rounding gives its own side again, or a factory's module takes no other.
    """
    for share in shares:
        if share < 1 and smaller_side(net, share) == net.resolution:
            assert not isinstance(net, Factory)  # whose side is another one, or an error
            step = _step(net)
            smaller = f"shares of {step} to {net.resolution - step} pixels, in steps of {step}"
            raise UserError(
                f"{share:g} of {net.resolution} pixels would be as many again",
                allowed=smaller if net.resolution > step else "1: it takes no smaller images",
            )


def _step(net: Described) -> int:
    """What sides are multiples of: the pixels for which the coarsest level of a detector has one,
    or the largest part of them that its own side is a multiple of.
    """
    if not isinstance(net, Detector):
        return 1
    return math.gcd(net.resolution, 2**net.neck.max_level)
