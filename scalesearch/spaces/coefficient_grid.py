"""The space of coefficients: triples (alpha, beta, gamma) that spend one budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice, Parameters
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.scale import scale
from scalesearch.spaces.listed import Listed

_NAMES = ("alpha", "beta", "gamma")
# A finer grid than this could be neither listed nor trained.
_MOST = 20_000


@dataclass(frozen=True, kw_only=True)
class CoefficientGrid(Listed):
    """Every triple on a grid, each at least 1, with alpha * beta^2 * gamma^2 near the budget.

    Tan & Le 2019, section 3.3 fix phi = 1 and search these for B0: (1.2, 1.1, 1.15) gives 1.92.

    Attributes:
        baseline: the network that a triple scales.
        budget, tolerance: the product may differ from `budget` by `tolerance`, compared as floats
            (109 triples at the defaults).
        step: of the grid, from 1 upwards.
        phi: the power at which triples are tried.
    """

    baseline: Backbone
    budget: float = 2.0
    tolerance: float = 0.1
    step: float = 0.05
    phi: float = 1.0

    def __post_init__(self) -> None:
        for key in ("budget", "step", "phi"):
            if not getattr(self, key) > 0:
                raise UserError(
                    f"{getattr(self, key)!r} cannot be used", key=key, allowed="above 0"
                )
        if not self.tolerance >= 0:
            raise UserError(f"{self.tolerance!r} cannot be used", key="tolerance", allowed="from 0")
        if not self._triples:
            raise UserError(
                f"no triple on a step of {self.step:g} comes within {self.tolerance:g} of "
                f"{self.budget:g}",
                key="tolerance",
                hint=self._closest(),
            )

    @cached_property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Each coefficient's values among the triples, ascending."""
        columns = zip(*self._triples, strict=True)
        return {name: tuple(sorted(set(c))) for name, c in zip(_NAMES, columns, strict=True)}

    def coefficients(self, parameters: Parameters) -> Coefficients:
        """The triple of these parameters; `UserError` if it is none of the grid."""
        triple = tuple(parameters.get(name) for name in _NAMES)
        if triple not in self._positions or len(parameters) != len(_NAMES):
            raise UserError(
                f"{dict(parameters)} is not a triple of this grid",
                allowed=f"alpha, beta, gamma on a step of {self.step:g} with "
                f"|alpha * beta^2 * gamma^2 - {self.budget:g}| <= {self.tolerance:g}",
            )
        return Coefficients(*self._triples[self._positions[triple]])

    def decode(self, parameters: Parameters) -> Backbone:
        """The baseline scaled by the triple; `UserError` if it is none of the grid."""
        return self._scaled(self.coefficients(parameters))

    def encode(self, architecture: Architecture) -> dict[str, Choice]:
        """The first triple, in the order of `points`, that scales the baseline to this network."""
        if architecture not in self._firsts:
            raise UserError("no triple of this grid scales the baseline to this network")
        return self._named(self._firsts[architecture])

    @property
    def _places(self) -> tuple[tuple[float, ...], ...]:
        return self._triples

    def _named(self, place: tuple[float, ...]) -> dict[str, Choice]:
        return dict(zip(_NAMES, place, strict=True))

    def _network(self, place: tuple[float, ...]) -> Backbone:
        return self._scaled(Coefficients(*place))

    def _scaled(self, triple: Coefficients) -> Backbone:
        return scale(self.baseline, triple, self.phi)

    @cached_property
    def _triples(self) -> tuple[tuple[float, ...], ...]:
        budget, tolerance, step = map(_exact, (self.budget, self.tolerance, self.step))
        triples = []
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
        written = sorted(tuple(map(float, triple)) for triple in triples)
        return tuple(triple for triple in written if self._is_near(triple))

    def _is_near(self, triple: tuple[float, ...]) -> bool:
        """Whether a loop over these floats, written by anyone, finds the triple near as well.

        It leaves out some that lie on the very edge: (1.9, 1, 1) is 0.10000000000000009 off 2.
        """
        alpha, beta, gamma = triple
        return abs(alpha * beta**2 * gamma**2 - self.budget) <= self.tolerance

    @cached_property
    def _positions(self) -> Mapping[tuple[object, ...], int]:
        return {triple: position for position, triple in enumerate(self._triples)}

    @cached_property
    def _firsts(self) -> Mapping[Architecture, tuple[float, ...]]:
        firsts: dict[Architecture, tuple[float, ...]] = {}
        for triple in self._triples:
            firsts.setdefault(self._network(triple), triple)
        return firsts

    def _closest(self) -> str:
        budget, step = _exact(self.budget), _exact(self.step)
        near = [(Fraction(1),) * 3]
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


def _product(triple: tuple[Fraction, ...]) -> Fraction:
    alpha, beta, gamma = triple
    return alpha * beta**2 * gamma**2


def _exact(value: float) -> Fraction:
    """The number as it is written: 0.05 is one twentieth, not its nearest binary fraction."""
    return Fraction(repr(value))
