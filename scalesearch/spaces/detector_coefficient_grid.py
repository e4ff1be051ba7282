"""The space of a detector's coefficients: every combination of listed values that fits a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import ClassVar

from scalesearch.arch.detector import Detector
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.spaces.listed import ListedCoefficients

_MOST = 20_000  # more could be neither listed nor trained


@dataclass(frozen=True, kw_only=True)
class DetectorCoefficientGrid(ListedCoefficients[DetectorCoefficients]):
    """The grid that EfficientDet calls prohibitive (section 4.2), and replaces by fixed rules.

    Attributes:
        baseline: the detector that coefficients scale.
        choices: each field of `DetectorCoefficients` to its values; one left out keeps the paper's.
        budget: FLOPs of the scaled detector as a multiple of the baseline's, counted and not by a
            formula: heads and neck add to the backbone. None takes every combination.
        tolerance: how far that ratio may be off the budget.
        phi: at which coefficients are tried.
    """

    noun: ClassVar[str] = "combination of this grid"
    baseline: Detector
    choices: Mapping[str, tuple[float, ...]]
    budget: float | None = None
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        combinations = math.prod(map(len, self.choices.values()))
        if combinations > _MOST:
            raise UserError(
                f"{combinations:,} combinations of coefficients", allowed=f"{_MOST:,} at most"
            )
        if not self._entries:
            ratios = sorted(map(self._ratio, self._combinations))
            raise UserError(
                f"no combination gives {self.budget:g} times the FLOPs, within {self.tolerance:g}",
                key="budget",
                hint=f"they give {ratios[0]:.3g} to {ratios[-1]:.3g} times",
            )

    @cached_property
    def _combinations(self) -> Sequence[DetectorCoefficients]:
        paper = asdict(DetectorCoefficients())
        listed = [self.choices.get(name, (value,)) for name, value in paper.items()]
        return [
            DetectorCoefficients(**dict(zip(paper, values, strict=True)))
            for values in product(*listed)
        ]

    @cached_property
    def _entries(self) -> Sequence[DetectorCoefficients]:
        if self.budget is None:
            return self._combinations
        within = self.tolerance + 1e-9
        return [
            each for each in self._combinations if abs(self._ratio(each) - self.budget) <= within
        ]

    def _ratio(self, coefficients: DetectorCoefficients) -> float:
        return counts(self._network(coefficients)).flops / counts(self.baseline).flops
