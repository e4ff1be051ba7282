"""A family: one baseline scaled by several phi, and by single dimensions for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.arch.backbone import Backbone
from scalesearch.cost.closed_form import cost
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.scale import scale
from scalesearch.scaling.solve import match_flops

STRATEGIES = ("compound", "depth", "width", "resolution")


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a family.

    Attributes:
        strategy: `compound`, or the single dimension that was scaled.
        phi: of the compound member whose FLOPs it matches.
        architecture: the scaled network.
    """

    strategy: str
    phi: float
    architecture: Backbone

    @property
    def name(self) -> str:
        """A word for files and tables: `compound_phi1`, `width_phi0.5`, `depth_phi-1`."""
        return f"{self.strategy}_phi{self.phi:.12g}"


def members(
    baseline: Backbone,
    coefficients: Coefficients,
    phis: Sequence[float],
    strategies: Sequence[str] = STRATEGIES,
) -> tuple[Member, ...]:
    """Each phi's compound member, and beside it one member for each single dimension.

    The single-dimension members have the FLOPs of the compound one as nearly as their steps
    allow, so that the comparison is the one of Tan & Le 2019, Figure 8. Where phi shrinks the
    network there is nothing to compare: single dimensions are only scaled up.
    """
    made = []
    smallest = cost(baseline).flops
    for phi in phis:
        compound = scale(baseline, coefficients, phi)
        target = cost(compound).flops
        for strategy in strategies:
            if strategy == "compound":
                made.append(Member(strategy, phi, compound))
            elif target >= smallest:
                made.append(Member(strategy, phi, match_flops(baseline, strategy, target)))
    return tuple(made)
