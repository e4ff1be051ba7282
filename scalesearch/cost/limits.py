"""Bounds on costs, and how far a candidate is outside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scalesearch.arch import check
from scalesearch.cost.cost import UNITS, Cost
from scalesearch.errors import UserError, nearest
from scalesearch.text import shortened

_MOST = 1e24  # no network costs that much
DEVICE_MEMORY = "device_memory.max"  # the bound that a GPU sets by what it has
# How the bounds begin that only a worker's measurement can tell.
MEASURED = ("latency.", "device_memory.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A lower and an upper bound on one cost, both allowed values; None is not a bound."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise UserError("a limit needs a bound", allowed="min, max or both")
        for key in ("min", "max"):
            value = getattr(self, key)
            if value is not None and not (0 < value <= _MOST or value == math.inf):
                problem = f"{shortened(str(value))} cannot be a bound"
                raise UserError(problem, key=key, allowed=f"more than 0, at most {_MOST:g}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise UserError(f"min {self.min:g} is above max {self.max:g}: nothing can meet both")


Limits = Mapping[str, Limit]


def check_limits(limits: Limits) -> None:
    """Rejects a limit on something that is not a cost, and what is no `Limit`."""
    for name, limit in limits.items():
        if name not in UNITS:
            raise UserError(
                f"{name!r} is not a cost",
                key=name,
                allowed=", ".join(UNITS),
                hint=nearest(name, UNITS),
            )
        check.made(name, limit, Limit)


def violations(cost: Cost, limits: Limits) -> dict[str, float]:
    """How far each bound is overstepped, as a share of the bound; 0 or less is within it.

    The keys are `flops.max`, `params.min` and so on: 0.25 on `flops.max` is 25 % too many. A limit
    on a cost that is not known yet, as latency before it was measured, has no violations: it is
    checked once the cost is known.
    """
    known = cost.known()
    over: dict[str, float] = {}
    for name, limit in limits.items():
        if name in known:
            over |= _over(name, known[name], limit)
    return over


def predicted_violations(latency: float | None, limits: Limits) -> dict[str, float]:
    """The violations of a predicted latency (seconds), under `predicted_latency.max` and `.min`.

    Names of its own, so that a prediction is never taken for a measurement; nothing without one.
    """
    limit = limits.get("latency")
    if latency is None or limit is None:
        return {}
    return _over("predicted_latency", latency, limit)


def measured(over: Mapping[str, float]) -> dict[str, float]:
    """Those violations that only a measurement can tell."""
    return {key: share for key, share in over.items() if key.startswith(MEASURED)}


def worst(over: Mapping[str, float]) -> float:
    """The largest violation; 0 when every bound is met."""
    return max(0.0, *over.values()) if over else 0.0


def _over(name: str, value: float, limit: Limit) -> dict[str, float]:
    over: dict[str, float] = {}
    if limit.max is not None:
        over[f"{name}.max"] = value / limit.max - 1
    if limit.min is not None:
        over[f"{name}.min"] = 1 - value / limit.min
    return over
