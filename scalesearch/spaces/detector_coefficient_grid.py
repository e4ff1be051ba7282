"""The space of a detector's coefficients: every combination of listed values that fits a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import product

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice, Parameters
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.scale import scale
from scalesearch.spaces.listed import Listed

NAMES = tuple(field.name for field in fields(DetectorCoefficients))
_MOST = 20_000  # more could be neither listed nor trained


@dataclass(frozen=True, kw_only=True)
class DetectorCoefficientGrid(Listed):
    """The grid that EfficientDet calls prohibitive (section 4.2), and in its place chose by rule.

    Attributes:
        baseline: the detector that coefficients scale.
        choices: each field of `DetectorCoefficients` to its values; one left out keeps the paper's.
        budget: FLOPs of the scaled detector as a multiple of the baseline's, counted and not by a
            formula: heads and neck add to the backbone. None takes every combination.
        tolerance: how far that ratio may be off the budget.
        phi: at which coefficients are tried.
    """

    baseline: Detector
    choices: Mapping[str, tuple[float, ...]]
    budget: float | None = None
    tolerance: float = 0.1
    phi: float = 1.0

    def __post_init__(self) -> None:
        if self._count > _MOST:
            raise UserError(
                f"{self._count:,} combinations of coefficients", allowed=f"{_MOST:,} at most"
            )
        if not self._places:
            ratios = sorted(self._ratio(made) for made in self._every)
            raise UserError(
                f"no combination gives {self.budget:g} times the FLOPs, within {self.tolerance:g}",
                key="budget",
                hint=f"they give {ratios[0]:.3g} to {ratios[-1]:.3g} times",
            )

    @cached_property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Each coefficient's values among those listed, ascending."""
        columns = {name: {getattr(made, name) for made in self._places} for name in NAMES}
        return {name: tuple(sorted(values)) for name, values in columns.items()}

    def coefficients(self, parameters: Parameters) -> DetectorCoefficients:
        """The coefficients of these parameters; `UserError` if they are none of the list."""
        coefficients = self._by_values.get(tuple(parameters.get(name) for name in NAMES))
        if coefficients is None or len(parameters) != len(NAMES):
            raise UserError(f"{dict(parameters)} are not coefficients of this grid")
        return coefficients

    def decode(self, parameters: Parameters) -> Detector:
        """The baseline scaled by these coefficients."""
        return self._network(self.coefficients(parameters))

    def encode(self, architecture: Architecture) -> dict[str, Choice]:
        """The first coefficients, in the order of `points`, that scale the baseline to this."""
        for made in self._places:
            if self._network(made) == architecture:
                return self._named(made)
        raise UserError("no coefficients of this grid scale the baseline to this network")

    @property
    def _count(self) -> int:
        count = 1
        for values in self.choices.values():
            count *= len(values)
        return count

    @cached_property
    def _every(self) -> Sequence[DetectorCoefficients]:
        paper = DetectorCoefficients()
        listed = [self.choices.get(name, (getattr(paper, name),)) for name in NAMES]
        return [
            DetectorCoefficients(**dict(zip(NAMES, values, strict=True)))
            for values in product(*listed)
        ]

    @cached_property
    def _places(self) -> Sequence[DetectorCoefficients]:
        if self.budget is None:
            return self._every
        within = self.tolerance + 1e-9
        return [made for made in self._every if abs(self._ratio(made) - self.budget) <= within]

    @cached_property
    def _by_values(self) -> Mapping[tuple[object, ...], DetectorCoefficients]:
        return {tuple(asdict(made).values()): made for made in self._places}

    def _ratio(self, made: DetectorCoefficients) -> float:
        return counts(self._network(made)).flops / counts(self.baseline).flops

    def _named(self, place: DetectorCoefficients) -> dict[str, Choice]:
        return asdict(place)

    def _network(self, place: DetectorCoefficients) -> Detector:
        return scale(self.baseline, place, self.phi)
