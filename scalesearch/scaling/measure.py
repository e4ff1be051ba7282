"""The costs at which scaled networks are made equal: FLOPs, training memory, predicted latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.factory import Factory
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import BudgetCost

_WORDS = {"flops": "FLOPs", "training_bytes": "bytes of training memory", "latency": "seconds"}


@dataclass(frozen=True, slots=True)
class Measure:
    """A cost that grows with every dimension of a network.

    Attributes:
        name: of the cost, as in `cost.UNITS`.
        at: the cost of a network for images of a side in pixels.
    """

    name: BudgetCost
    at: Callable[[Any, int], float]

    def of(self, net: Backbone | Factory) -> float:
        """The cost of a network at its own resolution.

        Raises:
            UserError: of a factory's network anything but FLOPs.
        """
        self.check(net)
        return self.at(net, net.resolution)

    def check(self, net: Backbone | Factory) -> None:
        """Rejects another cost than FLOPs of what a factory builds: to search it takes too long."""
        if isinstance(net, Factory) and self.name != "flops":
            raise UserError(
                f"networks that {net.factory} builds can be made equal in FLOPs alone",
                key="budget_cost",
                allowed="flops",
                hint="limits on memory and latency hold for them, too",
            )

    @property
    def words(self) -> str:
        """What an amount of it is called: `FLOPs`."""
        return _WORDS[self.name]


def _flops(net: Backbone | Factory, side: int) -> float:
    if isinstance(net, Factory):
        from scalesearch.cost.factory import factory_flops  # torch, for what has to be built

        return float(factory_flops(replace(net, resolution=side)))
    return float(counts(net, (side, side)).flops)


FLOPS = Measure("flops", _flops)


def training_memory(workload: Workload | None = None) -> Measure:
    """Bytes of a training step under a workload, by default that of `ss.cost`."""
    used = workload or Workload()
    return Measure(
        "training_bytes",
        lambda net, side: cost(net, size=(side, side), workload=used).training_bytes,
    )


def latency_by(predict: Callable[[Any], float]) -> Measure:
    """Seconds that a function predicts for a network, such as one of a latency table."""
    return Measure("latency", lambda net, side: predict(replace(net, resolution=side)))


def measure_for(name: str, measure: Measure | None = None) -> Measure:
    """The measure of a rule that makes networks equal in this cost; `measure` if it is of it.

    Raises:
        UserError: latency, which needs a table that predicts it.
    """
    if measure is not None and measure.name == name:
        return measure
    if name == "flops":
        return FLOPS
    if name == "training_bytes":
        return training_memory()
    raise UserError(
        "these coefficients make networks equal in latency, which needs a latency table",
        key="coefficients",
        hint="name the table that they were found with",
    )
