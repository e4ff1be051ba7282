"""Dropout and stochastic depth of a family: rates that grow with phi, as the published ones do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.errors import UserError

Net = TypeVar("Net", bound=Architecture)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowingRate:
    """A rate of dropout or stochastic depth that grows along a family.

    With .05 for each phi EfficientNet's dropout of .2 becomes that of the official code: .2 .2 .3
    .3 .4 .4 .5 .5 of B0 to B7, whose phi are 0, 0.5, 1, 2, 3, 4, 5 and 6.

    Attributes:
        per_phi: what is added for each phi.
        most: the largest rate.
        step: the rate is rounded to a multiple of it, halves upwards; but not below the baseline's
            for a phi above 0, nor above it for one below 0.
    """

    per_phi: float
    most: float = 0.5
    step: float = 0.1

    def __post_init__(self) -> None:
        for key in ("per_phi", "most", "step"):
            rate = getattr(self, key)
            if not 0 < rate < 1:
                raise UserError(
                    f"{rate!r} cannot be used", key=key, allowed="a rate above 0 and below 1"
                )

    def at(self, base: float, phi: float) -> float:
        """The rate of the member at `phi` whose baseline has the rate `base`, which stays its own.

        Raises:
            UserError: the baseline's is above the largest rate.
        """
        if base > self.most:
            raise UserError(
                f"the baseline's rate is {base:g}, and the family's are to be {self.most:g} at "
                "most",
                key="most",
                allowed=f"at least {base:g}",
            )
        if phi == 0:
            return base
        steps = (base + self.per_phi * phi) / self.step
        rounded = math.floor(steps + 0.5 + 1e-9) * self.step  # 0.35 / 0.1 is a hair below 3.5
        rate = round(min(self.most, max(0.0, rounded)), 10)
        # A base between two steps would else shrink with a small phi, of which it is to grow.
        return max(base, rate) if phi > 0 else min(base, rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regularisation:
    """How the rates of a family's members differ from their baseline's; None leaves one as it is.

    Attributes:
        dropout: before the classifier.
        drop_path: stochastic depth, of the last block.
    """

    dropout: GrowingRate | None = None
    drop_path: GrowingRate | None = None

    def __bool__(self) -> bool:
        """Whether any rate differs."""
        return self.dropout is not None or self.drop_path is not None

    def along(self, network: Callable[..., Architecture]) -> Callable[..., Architecture]:
        """A family's members by phi, and what else says which, with their rates."""
        return lambda phi, *others: self.applied(network(phi, *others), phi)

    def applied(self, net: Net, phi: float) -> Net:
        """A network that was scaled by `phi`, which has its baseline's rates, with its own.

        FLOPs and parameters are the same; the memory of a training step is, too, where the baseline
        has such a rate already.

        Raises:
            UserError: the network has no such rate, or one that is too large.
        """
        changed: Any = net
        for key in ("dropout", "drop_path"):
            rate = getattr(self, key)
            if rate is None:
                continue
            _require(net, key)
            try:
                changed = _with_rate(changed, key, rate, phi)
            except UserError as error:
                raise error.at(under=key) from None
        same: Net = changed
        return same


def _with_rate(net: Any, key: str, rate: GrowingRate, phi: float) -> Any:
    if key == "dropout":
        return replace(net, head=replace(net.head, dropout=rate.at(net.head.dropout, phi)))
    backbone = replace(net.trunk, drop_path=rate.at(net.trunk.drop_path, phi))
    return replace(net, backbone=backbone) if isinstance(net, Detector) else backbone


def _require(net: Architecture, key: str) -> None:
    """Rejects a rate that a kind of network does not have."""
    if isinstance(net, Factory):
        raise UserError(
            f"what {net.factory} builds has rates of its own",
            key=key,
            allowed="a network that a file describes, or a published one",
            hint="leave it out",
        )
    if key == "dropout" and not isinstance(net, Backbone):
        raise UserError(
            "a detector has no dropout before its outputs",
            key=key,
            allowed="drop_path, the stochastic depth of its backbone",
        )
