"""Bounds on costs, and how far a candidate is outside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scalesearch.cost.cost import UNITS, Cost
from scalesearch.errors import UserError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A lower and an upper bound on one cost, both allowed values; None is no bound."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise UserError("a limit needs a bound", allowed="min, max or both")
        for key in ("min", "max"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise UserError(f"{value!r} cannot be a bound", key=key, allowed="more than 0")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise UserError(f"min {self.min:g} is above max {self.max:g}: nothing can meet both")


Limits = Mapping[str, Limit]


def check_limits(limits: Limits) -> None:
    """Refuses a limit on something that is no cost."""
    for name in limits:
        if name not in UNITS:
            raise UserError(
                f"{name!r} is no cost",
                key=name,
                allowed=", ".join(UNITS),
                hint=nearest(name, UNITS),
            )


def excess(cost: Cost, limits: Limits) -> dict[str, float]:
    """How far each bound is overstepped, as a share of the bound; 0 or less is within it.

    The keys are `flops.max`, `params.min` and so on: 0.25 on `flops.max` is 25 % too many.
    """
    over: dict[str, float] = {}
    for name, limit in limits.items():
        value = getattr(cost, name)
        if limit.max is not None:
            over[f"{name}.max"] = value / limit.max - 1
        if limit.min is not None:
            over[f"{name}.min"] = 1 - value / limit.min
    return over


def worst(over: Mapping[str, float]) -> float:
    """The largest excess; 0 when every bound is met."""
    return max(0.0, *over.values()) if over else 0.0
