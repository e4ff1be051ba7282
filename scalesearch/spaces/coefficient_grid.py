"""The space of coefficients: triples (alpha, beta, gamma) that spend one budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice, product
from math import ceil, floor, sqrt
from typing import Any, ClassVar

from scalesearch.arch import check
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.factory import Factory
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice
from scalesearch.scaling.coefficients import COEFFICIENTS, Coefficients, HeadScaling, Match
from scalesearch.scaling.factory import scaled_dimensions
from scalesearch.scaling.measure import FLOPS, Measure
from scalesearch.scaling.realise import TOLERANCE, Unrealised
from scalesearch.spaces.listed import ListedCoefficients

Triple = tuple[float, float, float]
# More than these could not be trained, and to realise them at their FLOPs takes minutes.
_MOST = 5_000
# Steps that a grid with too many triples is given instead.
_STEPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class CoefficientGrid(ListedCoefficients[Coefficients]):
    """Every triple on a grid, each at least 1, with alpha * beta^2 * gamma^2 near the budget.

    Tan & Le 2019, section 3.3 fix phi = 1 and search these for B0: (1.2, 1.1, 1.15) gives 1.92.
    With a budget below 1 each is at most 1, and the network shrinks. What a factory does not scale
    has a coefficient of 1, and no parameter of this name.

    Attributes:
        baseline: the network that a triple scales.
        budget, tolerance: the product may differ from `budget` by `tolerance`, compared as floats
            (109 triples at the defaults).
        step: of the grid, from 1 upwards, or downwards where the budget is below 1.
        phi: the power at which triples are tried.
        head_scaling: of every triple's coefficients.
        match: how a triple becomes a network; with `measured` all have `budget`^phi times the
            baseline's FLOPs.
        measure: the cost that they have so many times instead, such as a predicted latency; the
            product is near the budget all the same, and says in which direction a triple goes.
    """

    noun: ClassVar[str] = "triple of this grid"
    baseline: Backbone | Factory
    budget: float = 2.0
    tolerance: float = 0.1
    step: float = 0.05
    head_scaling: HeadScaling = "scale"
    match: Match = "measured"
    measure: Measure = FLOPS

    def __post_init__(self) -> None:
        for key in ("budget", "step", "phi"):
            check.above_zero(key, getattr(self, key))
        if not self.tolerance >= 0:
            raise UserError(f"{self.tolerance!r} cannot be used", key="tolerance", allowed="from 0")
        if not self._listed:
            raise UserError(
                f"no triple on a step of {self.step:g} comes within {self.tolerance:g} of "
                f"{self.budget:g}",
                key="tolerance",
                hint=self._closest(),
            )
        if not self._entries:
            raise UserError(
                f"no triple of this grid can be realised at {self.budget**self.phi:g} times the "
                f"baseline's {self.measure.words} within {TOLERANCE:.0%}: its widths and sides are "
                "too small for steps so fine",
                key="match",
                hint="`match: nominal` rounds as the paper's code does, and lets FLOPs differ",
            )

    @property
    def choices_hint(self) -> str:
        """Which triples there are."""
        near = f"|alpha * beta^2 * gamma^2 - {self.budget:g}| <= {self.tolerance:g}"
        return f"alpha, beta, gamma on a step of {self.step:g} with {near}"

    @cached_property
    def _listed(self) -> Sequence[Coefficients]:
        triples = self._triples(self.step)
        if len(triples) > _MOST:
            raise UserError(
                f"a step of {self.step:g} gives more than {_MOST:,} triples",
                key="step",
                allowed=self._coarser(),
                hint="or take a smaller tolerance",
            )
        budget = self.budget if self.match == "measured" else None
        return [
            Coefficients(*triple, self.head_scaling, self.match, budget, self.measure.name)
            for triple in sorted(triples)
        ]

    def _triples(self, step: float) -> list[Triple]:
        """Those of a step, or the first of too many."""
        # Compared as floats, as a user's own loop would: (1.9, 1, 1) is 0.10000000000000009 off 2
        # and therefore left out.
        near = (
            triple
            for triple in self._around(self.tolerance, step)
            if abs(_product(triple) - self.budget) <= self.tolerance
        )
        return [*islice(near, _MOST + 1)]

    def _coarser(self) -> str:
        """A step that gives triples, and not too many, with their number."""
        for step in _STEPS:
            if step > self.step and 0 < (count := len(self._triples(step))) <= _MOST:
                return f"a larger step: {step:g} gives {count:,}"
        return "a larger step"

    @cached_property
    def _entries(self) -> Sequence[Coefficients]:
        """Those that can be realised."""
        return [entry for entry in self._listed if self._is_realised(entry)]

    @property
    def left_out(self) -> int:
        """How many triples no network near them has the FLOPs of: their steps are too coarse."""
        return len(self._listed) - len(self._entries)

    def _is_realised(self, entry: Coefficients) -> bool:
        if self.match == "nominal":
            return True
        try:
            self._network(entry)
        except Unrealised:
            return False
        return True

    def _network(self, entry: Coefficients) -> Any:
        """The network of a triple; of those for which a factory builds the same the first one."""
        network = super()._network(entry)
        if isinstance(network, Factory):
            from scalesearch.cost.factory import alike  # loads torch, which others do without

            network = self._built.setdefault(alike(network), network)
        return network

    @cached_property
    def _built(self) -> dict[object, Factory]:
        return {}

    def _parameters_of(self, entry: Coefficients) -> dict[str, Choice]:
        return {name: getattr(entry, name) for name in self._free}

    @cached_property
    def _free(self) -> tuple[str, ...]:
        """The coefficients of what can be scaled."""
        if not isinstance(self.baseline, Factory):
            return tuple(COEFFICIENTS.values())
        known = scaled_dimensions(self.baseline)
        return tuple(letter for name, letter in COEFFICIENTS.items() if name in known)

    def _free_axes(self, axis: list[float]) -> Iterator[tuple[float, float]]:
        """The betas and gammas on an axis."""
        betas, gammas = (axis if name in self._free else [1.0] for name in ("beta", "gamma"))
        return product(betas, gammas)

    def _around(self, tolerance: float, of_step: float) -> Iterator[Triple]:
        """The triples on the grid whose product is within `tolerance`, and their neighbours."""
        step = Fraction(repr(of_step))  # 0.05 is one twentieth, not its nearest binary fraction
        if self.budget < 1:
            yield from self._below_1(step, tolerance)
            return
        most = max(1, self.budget + tolerance) + 1e-9
        if most / step**2 > 1e8:
            raise UserError(
                f"a step of {self.step:g} is too fine", key="step", allowed="such as 0.05"
            )
        axis = [float(1 + n * step) for n in range(floor((sqrt(most) - 1) / step) + 1)]
        for beta, gamma in self._free_axes(axis):
            spent = beta**2 * gamma**2
            if spent <= most and "alpha" not in self._free:
                yield 1.0, beta, gamma
            elif spent <= most:
                first, last = (
                    floor(((self.budget + way * tolerance) / spent - 1) / step) for way in (-1, 1)
                )
                for n in range(max(0, first), max(0, last + 1) + 1):
                    yield float(1 + n * step), beta, gamma

    def _below_1(self, step: Fraction, tolerance: float) -> Iterator[Triple]:
        """The same with no coefficient above 1."""
        if 1 / step**3 > 1e8:
            raise UserError(
                f"a step of {self.step:g} is too fine", key="step", allowed="such as 0.05"
            )
        axis = [float(1 - n * step) for n in range(ceil(1 / step))]  # none is 0
        for beta, gamma in self._free_axes(axis):
            spent = beta**2 * gamma**2
            if "alpha" not in self._free:
                yield 1.0, beta, gamma
                continue
            bounds = (((self.budget + way * tolerance) / spent) for way in (1, -1))
            first, last = (floor((1 - bound) / step) for bound in bounds)
            for n in range(max(0, first), min(last + 1, len(axis) - 1) + 1):
                yield axis[n], beta, gamma

    def _closest(self) -> str:
        triple = min(
            self._around(0, self.step), key=lambda triple: abs(_product(triple) - self.budget)
        )
        names = ", ".join(f"{value:g}" for value in triple)
        return f"the closest product is {_product(triple):g} of ({names})"


def _product(triple: Triple) -> float:
    alpha, beta, gamma = triple
    return alpha * beta**2 * gamma**2
