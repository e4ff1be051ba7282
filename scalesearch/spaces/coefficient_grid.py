"""The space of coefficients: triples (alpha, beta, gamma) that spend one budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor
from typing import ClassVar

from scalesearch.arch.backbone import Backbone
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.spaces.listed import ListedCoefficients

Triple = tuple[Fraction, Fraction, Fraction]
# A finer grid than this could be neither listed nor trained.
_MOST = 20_000


@dataclass(frozen=True, kw_only=True)
class CoefficientGrid(ListedCoefficients[Coefficients]):
    """Every triple on a grid, each at least 1, with alpha * beta^2 * gamma^2 near the budget.

    Tan & Le 2019, section 3.3 fix phi = 1 and search these for B0: (1.2, 1.1, 1.15) gives 1.92.

    Attributes:
        baseline: the network that a triple scales.
        budget, tolerance: the product may differ from `budget` by `tolerance`, compared as floats
            (109 triples at the defaults).
        step: of the grid, from 1 upwards.
        phi: the power at which triples are tried.
    """

    noun: ClassVar[str] = "triple of this grid"
    baseline: Backbone
    budget: float = 2.0
    tolerance: float = 0.1
    step: float = 0.05

    def __post_init__(self) -> None:
        for key in ("budget", "step", "phi"):
            if not getattr(self, key) > 0:
                raise UserError(
                    f"{getattr(self, key)!r} cannot be used", key=key, allowed="above 0"
                )
        if not self.tolerance >= 0:
            raise UserError(f"{self.tolerance!r} cannot be used", key="tolerance", allowed="from 0")
        if not self._entries:
            raise UserError(
                f"no triple on a step of {self.step:g} comes within {self.tolerance:g} of "
                f"{self.budget:g}",
                key="tolerance",
                hint=self._closest(),
            )

    @property
    def choices_hint(self) -> str:
        """Which triples there are."""
        near = f"|alpha * beta^2 * gamma^2 - {self.budget:g}| <= {self.tolerance:g}"
        return f"alpha, beta, gamma on a step of {self.step:g} with {near}"

    @cached_property
    def _entries(self) -> Sequence[Coefficients]:
        budget, tolerance, step = map(_exact, (self.budget, self.tolerance, self.step))
        triples: list[Triple] = []
        for beta, gamma in _squares(budget + tolerance, step):
            spent = beta**2 * gamma**2
            low = max(0, ceil(((budget - tolerance) / spent - 1) / step))
            high = floor(((budget + tolerance) / spent - 1) / step)
            triples += [(1 + n * step, beta, gamma) for n in range(low, high + 1)]
            if len(triples) > _MOST:
                raise UserError(
                    f"a step of {self.step:g} gives more than {_MOST:,} triples",
                    key="step",
                    allowed="a coarser step, such as 0.05",
                )
        return [
            c for c in (Coefficients(*map(float, t)) for t in sorted(triples)) if self._is_near(c)
        ]

    def _is_near(self, triple: Coefficients) -> bool:
        """Whether a loop over these floats, written by anyone, finds the triple near as well.

        It leaves out some that lie on the very edge: (1.9, 1, 1) is 0.10000000000000009 off 2.
        """
        return abs(triple.growth - self.budget) <= self.tolerance

    def _closest(self) -> str:
        budget, step = _exact(self.budget), _exact(self.step)
        near: list[Triple] = [(Fraction(1), Fraction(1), Fraction(1))]
        for beta, gamma in _squares(budget, step):
            alpha = max(0, floor((budget / (beta * gamma) ** 2 - 1) / step))
            near += [(1 + (alpha + extra) * step, beta, gamma) for extra in (0, 1)]
        best = min(near, key=lambda triple: abs(_product(triple) - budget))
        names = ", ".join(f"{float(value):g}" for value in best)
        return f"the closest product is {float(_product(best)):g} of ({names})"


def _squares(most: Fraction, step: Fraction) -> Iterator[tuple[Fraction, Fraction]]:
    """Every (beta, gamma) on the grid whose squares alone do not pass `most`."""
    if most / step**2 > 1e8:
        raise UserError(
            f"a step of {float(step):g} is too fine", key="step", allowed="such as 0.05"
        )
    beta = Fraction(1)
    while beta**2 <= most:
        gamma = Fraction(1)
        while (beta * gamma) ** 2 <= most:
            yield beta, gamma
            gamma += step
        beta += step


def _product(triple: Triple) -> Fraction:
    alpha, beta, gamma = triple
    return alpha * beta**2 * gamma**2


def _exact(value: float) -> Fraction:
    """The number as it is written: 0.05 is one twentieth, not its nearest binary fraction."""
    return Fraction(repr(value))
