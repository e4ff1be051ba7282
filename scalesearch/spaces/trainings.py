"""The space of a grid's trainings: coefficients, each of which may be trained several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from scalesearch.arch.detector import Architecture
from scalesearch.history.halving import MOST_REPEATS
from scalesearch.history.points import REPEAT
from scalesearch.interfaces import Choice, CoefficientSpace, Parameters
from scalesearch.spaces.listed import Listed


@dataclass(frozen=True, kw_only=True)
class TrainingsSpace(Listed[tuple[int, int]]):
    """Every training of some coefficients: the first of each, then the second, and so on.

    Attributes:
        coefficients_of: the grid.
    """

    noun: ClassVar[str] = "training of coefficients"
    coefficients_of: CoefficientSpace

    def coefficients(self, parameters: Parameters) -> Any:
        """The coefficients of a training; `UserError` if the grid does not have them."""
        own = {name: value for name, value in parameters.items() if name != REPEAT}
        return self.coefficients_of.coefficients(own)

    def training(self, number: int, repeat: int) -> dict[str, Choice]:
        """The parameters of a repeat of the grid's point with this number."""
        return self._parameters_of((number, repeat))

    def number_of(self, parameters: Parameters) -> int:
        """The grid's point that is trained."""
        number: int = self.entry(parameters)[0]
        return number

    @cached_property
    def _points(self) -> Sequence[dict[str, Choice]]:
        return [*self.coefficients_of.points()]

    @cached_property
    def _entries(self) -> Sequence[tuple[int, int]]:
        numbers = range(self.coefficients_of.size)
        return [(number, n) for n in range(MOST_REPEATS) for number in numbers]

    def _parameters_of(self, entry: tuple[int, int]) -> dict[str, Choice]:
        return {**self._points[entry[0]], REPEAT: entry[1]}

    def _network(self, entry: tuple[int, int]) -> Architecture:
        return self.coefficients_of.decode(self._points[entry[0]])
