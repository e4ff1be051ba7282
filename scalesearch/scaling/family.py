"""A family: one baseline scaled by several phi, and by single dimensions for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.cost.counts import counts
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.factory import scaled_dimensions
from scalesearch.scaling.realise import TOLERANCE, Unrealised, effective, realise
from scalesearch.scaling.scale import scale
from scalesearch.scaling.solve import match_flops

Strategy = Literal["compound", "depth", "width", "resolution"]
DetectorStrategy = Literal[
    "compound", "backbone", "neck_width", "neck_depth", "head_depth", "resolution"
]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
DETECTOR_STRATEGIES: tuple[DetectorStrategy, ...] = get_args(DetectorStrategy)


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
    architecture: Architecture

    @property
    def name(self) -> str:
        """A word for files and tables: `compound_phi1`, `width_phi0.5`, `depth_phi-1`."""
        return f"{self.strategy}_phi{self.phi:.12g}"


def members(
    baseline: Architecture,
    coefficients: Scaling,
    phis: Sequence[float],
    strategies: Sequence[str] = (),
) -> tuple[Member, ...]:
    """Each phi's compound member, and beside it one member for each single dimension.

    The single-dimension members have the FLOPs of the compound one as nearly as their steps
    allow, so that the comparison is the one of Tan & Le 2019, Figure 8 (of detectors:
    EfficientDet, Figure 6). Where phi shrinks the network there is nothing to compare: single
    dimensions are only scaled up. All strategies by default; those of a dimension that a factory
    does not scale are left out.
    """
    networks = []
    every = DETECTOR_STRATEGIES if isinstance(baseline, Detector) else STRATEGIES
    if isinstance(baseline, Factory):
        known = ("compound", *scaled_dimensions(baseline))
        strategies = [name for name in strategies or every if name in known]
    smallest = counts(baseline).flops
    for phi in phis:
        compound = scale(baseline, coefficients, phi)
        target = counts(compound).flops
        for strategy in strategies or every:
            if strategy == "compound":
                networks.append(Member(strategy, phi, compound))
            elif target >= smallest:
                same = _alone(baseline, strategy, target, coefficients)
                networks.append(Member(strategy, phi, same))
    return tuple(networks)


def _alone(
    baseline: Architecture, strategy: str, target: int, coefficients: Scaling
) -> Architecture:
    """A single dimension at the compound member's FLOPs, by the rule of its coefficients.

    Where the steps of one dimension are too coarse, `measured` lets the others take up the rest.
    """
    nearest = match_flops(baseline, strategy, target, coefficients)
    if not isinstance(coefficients, Coefficients) or coefficients.match == "nominal":
        return nearest
    if abs(counts(nearest).flops / target - 1) <= TOLERANCE:
        return nearest
    assert not isinstance(baseline, Detector)
    assert not isinstance(nearest, Detector)
    by = replace(effective(baseline, nearest), head_scaling=coefficients.head_scaling)
    try:
        return realise(baseline, by, target)
    except Unrealised:  # the table shows by how much it misses them
        if isinstance(baseline, Factory):  # which alone knows its steps
            return nearest
        raise
