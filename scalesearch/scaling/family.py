"""A family: one baseline scaled by several phi, and by single dimensions for comparison."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.cost.counts import counts
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.factory import alone, scaled_dimensions
from scalesearch.scaling.match import match_flops
from scalesearch.scaling.measure import Measure, measure_for
from scalesearch.scaling.realise import TOLERANCE, Unrealised, nearest_along, realise
from scalesearch.scaling.scale import scale
from scalesearch.scaling.strategies import (
    COMPOUND,
    DEFAULT,
    OWN_PATTERN,
    STRATEGIES,
    grown,
    shares_of,
)

DetectorStrategy = Literal[
    "compound", "backbone", "neck_width", "neck_depth", "head_depth", "resolution"
]
DETECTOR_STRATEGIES: tuple[DetectorStrategy, ...] = get_args(DetectorStrategy)
_WORDS = re.compile("|".join([*STRATEGIES, *DETECTOR_STRATEGIES, OWN_PATTERN]))
_TOLERANCES = (TOLERANCE, 0.05, 0.1, 0.2)  # the first that a network's steps allow is taken
_PLAIN = ("depth", "width", "resolution")  # single dimensions of classifiers


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a family.

    Attributes:
        strategy: `compound`, that of its own, such as `depth` or `d1_w8_r1`, or a line's name.
        phi: of the compound member whose FLOPs it matches; of a line see `lines.line`.
        architecture: the scaled network.
    """

    strategy: str
    phi: float
    architecture: Architecture

    @property
    def name(self) -> str:
        """A word for files and tables: `compound_phi1`, `width_phi0.5`, `depth_phi-1`."""
        return f"{self.strategy}_phi{self.phi:.12g}"


def is_strategy(word: str) -> bool:
    """Whether a word is a strategy, of classifiers or of detectors."""
    return _WORDS.fullmatch(word) is not None


def members(
    baseline: Architecture,
    coefficients: Scaling,
    phis: Sequence[float],
    strategies: Sequence[str] = (),
    measure: Measure | None = None,
) -> tuple[Member, ...]:
    """Each phi's compound member, and beside it one member for each other strategy.

    These have the FLOPs of the compound one, so that the comparison is the one of Tan & Le 2019,
    Figure 8 (of detectors: EfficientDet, Figure 6): within 2 % where coefficients are `measured`,
    if the steps of a network are not too coarse; single dimensions of `nominal` ones, and of
    detectors, as nearly as their steps allow. Where phi shrinks a network these last have no
    member, and others none where a strategy cannot make the network as small, or grows a dimension
    that a factory does not scale (`left_out`). By default compound and the single dimensions.

    Args:
        baseline: phi 0.
        coefficients: of the compound members.
        phis: of the members.
        strategies: of `strategies.STRATEGIES`, or one's own; of detectors `DETECTOR_STRATEGIES`.
        measure: the cost that is made equal instead, if the coefficients' budget is of it.

    Raises:
        UserError: no compound member can be made, or there is no such strategy.
    """
    networks = []
    made = _possible(baseline, strategies or _default(baseline))
    for phi in phis:
        try:
            compound = scale(baseline, coefficients, phi, measure)
        except Unrealised:
            if len(phis) == 1:
                raise
            continue  # one phi whose steps are too coarse is no reason to go without the others
        for strategy in made:
            if strategy == COMPOUND:
                networks.append(Member(strategy, phi, compound))
                continue
            same = _beside(baseline, strategy, compound, coefficients, phi, measure)
            if same is not None:
                networks.append(Member(strategy, phi, same))
    return tuple(networks)


def left_out(
    family: Sequence[Member],
    baseline: Architecture,
    phis: Sequence[float],
    strategies: Sequence[str] = (),
) -> tuple[str, ...]:
    """The names of the members that a family was asked for and does not have."""
    names = {member.name for member in family}
    asked = (
        Member(strategy, phi, baseline).name
        for phi in phis
        for strategy in strategies or _default(baseline)
    )
    return tuple(name for name in asked if name not in names)


def _default(baseline: Architecture) -> tuple[str, ...]:
    return DETECTOR_STRATEGIES if isinstance(baseline, Detector) else DEFAULT


def _possible(baseline: Architecture, strategies: Sequence[str]) -> Sequence[str]:
    """Those that grow nothing that a factory does not scale."""
    if not isinstance(baseline, Factory):
        return strategies
    known = {*scaled_dimensions(baseline)}
    return [one for one in strategies if one == COMPOUND or known >= {*shares_of(one).dimensions}]


def _beside(
    baseline: Architecture,
    strategy: str,
    compound: Architecture,
    coefficients: Scaling,
    phi: float,
    measure: Measure | None,
) -> Architecture | None:
    """Another strategy's network of the compound member's FLOPs, or None if there is none."""
    measured = isinstance(coefficients, Coefficients) and coefficients.match == "measured"
    if isinstance(baseline, Detector) or (strategy in _PLAIN and not measured):
        target = counts(compound).flops
        smaller = target < counts(baseline).flops
        return None if smaller else match_flops(baseline, strategy, target, coefficients)
    assert isinstance(coefficients, Coefficients)
    assert not isinstance(compound, Detector)
    by = measure_for(coefficients.budget_cost, measure)
    near = by.of(compound)
    if isinstance(baseline, Factory) and strategy in _PLAIN and near >= by.of(baseline):
        single = alone(baseline, strategy, near)
        if abs(by.of(single) / near - 1) <= TOLERANCE:
            return single
    first = _aim(by.of(baseline), near, coefficients, phi)
    for aim, tolerance in (first, (near, TOLERANCE)):
        try:
            return grown(
                baseline,
                shares_of(strategy),
                aim,
                tolerance,
                head_scaling=coefficients.head_scaling,
                measure=by,
            )
        except Unrealised:
            continue
    if near < by.of(baseline):
        return None
    # Networks of few blocks and channels have steps so coarse that the nearest is what there is.
    if strategy in _PLAIN and by.name == "flops":
        return match_flops(baseline, strategy, counts(compound).flops, coefficients)
    at = partial(shares_of(strategy).at, head_scaling=coefficients.head_scaling)
    for tolerance in _TOLERANCES:
        with suppress(Unrealised):
            return realise(baseline, at(near / by.of(baseline)), near, tolerance, measure=by)
    return nearest_along(baseline, at, near, by)


def _aim(
    start: float, compound: float, coefficients: Coefficients, phi: float
) -> tuple[float, float]:
    """What a member aims at, and its tolerance: near the compound one and near what both aim at."""
    aims = [compound]
    if phi and coefficients.match == "measured":
        aims.append(start * coefficients.growth**phi)
    least, most = max(aims) * (1 - TOLERANCE), min(aims) * (1 + TOLERANCE)
    return (least + most) / 2, (most - least) / (most + least)
