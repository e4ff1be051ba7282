"""Limits on a member of a family, and what is said where they lie beyond all of its members."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from scalesearch.arch.detector import Architecture
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import ADDITIVE, UNITS, Workload, format_cost
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError, nearest

_DEFAULT = Workload()
_SAME = 1.01  # factor below which a cost has not grown


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a limit is compared with.

    Attributes:
        workload: of the memory.
        latency: seconds of a network, measured or predicted; None where there is no limit on it.
    """

    workload: Workload = _DEFAULT
    latency: Callable[[Architecture], float] | None = None

    def of(self, net: Architecture, names: Collection[str]) -> dict[str, float]:
        """Some costs of a network by name; memory is simulated only if it is among them."""
        counted = [name for name in names if name != "latency"]
        known: Any = None
        if counted:
            few = {*counted} <= {*ADDITIVE}
            known = counts(net) if few else cost(net, workload=self.workload)
        costs: dict[str, float] = {name: getattr(known, name) for name in counted}
        if "latency" in names:
            assert self.latency is not None
            costs["latency"] = self.latency(net)
        return costs


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The most that a network may have of some costs.

    Attributes:
        limits: each limited cost, as in `cost.UNITS`, to the most that is allowed.
        costs: what they are compared with.
    """

    limits: Mapping[str, float]
    costs: Costs = field(default_factory=Costs)

    def within(self, net: Architecture) -> bool:
        """Whether a network is within every limit; what takes longest to know comes last."""
        counted = [name for name in self.limits if name != "latency"]
        if self._over(net, counted):
            return False
        return not ("latency" in self.limits and self._over(net, ["latency"]))

    def too_small(self, phi: float, smallest: Architecture) -> UserError:
        """What is said where the smallest member is over a limit: which one, and what it has."""
        over = self._over(smallest, self.limits)
        return UserError(
            f"no member of this family is within {self._words(over)}: the smallest, at phi "
            f"{phi:.3g}, has {_listed(over)}",
            hint="allow as much, or start from a smaller network",
        )

    def too_large(self, phi: float, largest: Architecture, baseline: Architecture) -> UserError:
        """What is said where the largest member is within every limit: what it has of each."""
        costs, before = (self.costs.of(net, self.limits) for net in (largest, baseline))
        grown = any(costs[name] > _SAME * before[name] for name in costs)
        return UserError(
            f"every member of this family is within {self._words(costs)}: the largest, at phi "
            f"{phi:.3g}, has {_listed(costs)}",
            hint="allow no more than that, or start from a larger network"
            if grown
            else "limit a cost that these coefficients make grow, such as flops",
        )

    def _over(self, net: Architecture, names: Collection[str]) -> dict[str, float]:
        """What a network has of the costs of which it has too much."""
        costs = self.costs.of(net, names)
        return {name: value for name, value in costs.items() if value > self.limits[name]}

    def _words(self, names: Collection[str]) -> str:
        """`flops 1.8 G and params 1.0 k`, of the limits on these costs."""
        named = [f"{name} {format_cost(name, self.limits[name])}" for name in names]
        return " and ".join(named)


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


def _listed(costs: Mapping[str, float]) -> str:
    """`385.8 M`, of a single cost, or `flops 385.8 M and params 5.3 M`."""
    if len(costs) == 1:
        return "".join(format_cost(name, value) for name, value in costs.items())
    return " and ".join(f"{name} {format_cost(name, value)}" for name, value in costs.items())
