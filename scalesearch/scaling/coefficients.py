"""Compound coefficients and the multipliers they give."""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar, get_args

from scalesearch.errors import UserError, nearest

# FLOPs about double with each phi: at 16 they are 65,000 times the baseline's. Far below 0 no pixel
# is left, which `scale` reports.
LEAST_PHI, MOST_PHI = -1000.0, 16.0
_MOST_GROWTH = 1e9
# The product's distance from the budget, as a logarithm, that is worth a warning: a grid's default
# tolerance of .1 in 2 is .05, and rounding makes up for as much again.
_OFF_BUDGET = 0.15
Loaded = TypeVar("Loaded")


# The coefficient of each dimension, and the power of its multiplier with which FLOPs grow nominally
# (Tan & Le 2019, section 3.3).
COEFFICIENTS = {"depth": "alpha", "width": "beta", "resolution": "gamma"}
POWERS = {"depth": 1.0, "width": 2.0, "resolution": 2.0}
HeadScaling = Literal["scale", "keep", "grow"]
# How multipliers become a network.
Match = Literal["measured", "nominal"]
# What networks of `measured` coefficients are made equal in.
BudgetCost = Literal["flops", "training_bytes", "latency"]


@dataclass(frozen=True, slots=True)
class Multipliers:
    """What depth, width and resolution are multiplied with.

    Attributes:
        head_scaling: whether the width of the head is `scale`d with the others, as in EfficientNet;
            `keep` leaves it as it is, as in EfficientNet-Lite; with `grow` it is never less than
            the baseline's, as in MobileNetV2 (Sandler et al. 2018, section 4).
    """

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0
    head_scaling: HeadScaling = "scale"

    @property
    def head_width(self) -> float:
        """What the width of the head is multiplied with."""
        if self.head_scaling == "scale":
            return self.width
        return 1.0 if self.head_scaling == "keep" else max(1.0, self.width)


@dataclass(frozen=True, slots=True)
class Coefficients:
    """alpha (depth), beta (width) and gamma (resolution) of compound scaling.

    Tan & Le 2019, equation 3: depth alpha^phi, width beta^phi, resolution gamma^phi, with
    alpha * beta^2 * gamma^2 close to 2, so that FLOPs grow by about 2^phi. `head_scaling` is that
    of `Multipliers`.

    Attributes:
        match: `nominal` rounds depths up, as the paper's code does, so that FLOPs are only about
            what they should be; `measured` realises a network at its FLOPs (`scaling/realise.py`).
        budget: what `measured` multiplies FLOPs with for each phi; by default the product.
        budget_cost: what it multiplies instead: `training_bytes` or `latency`.
    """

    alpha: float
    beta: float
    gamma: float
    head_scaling: HeadScaling = "scale"
    match: Match = "nominal"
    budget: float | None = None
    budget_cost: BudgetCost = "flops"

    def __post_init__(self) -> None:
        check_word("head_scaling", self.head_scaling, get_args(HeadScaling))
        check_word("match", self.match, get_args(Match))
        check_word("budget_cost", self.budget_cost, get_args(BudgetCost))
        if self.budget_cost != "flops" and (self.match, self.budget is None) != ("measured", False):
            raise UserError(
                f"{self.budget_cost} is made equal by a measured budget alone",
                key="budget_cost",
                allowed="match: measured, and a budget",
            )
        if self.budget is not None and not 0 < self.budget < _MOST_GROWTH:
            raise UserError(f"{self.budget!r} cannot be used", key="budget", allowed="above 0")
        for key in ("alpha", "beta", "gamma"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e3:
                raise UserError(f"{value!r} cannot be used", key=key, allowed="a number above 0")

    @property
    def product(self) -> float:
        """alpha * beta^2 * gamma^2."""
        return self.alpha * self.beta**2 * self.gamma**2

    @property
    def growth(self) -> float:
        """What FLOPs (or `budget_cost`) are multiplied with for each phi, if `nominal` roughly."""
        if self.match == "nominal" or self.budget is None:
            return self.product
        return self.budget

    def at(self, phi: float) -> Multipliers:
        """The three multipliers at `phi`, which may be a fraction or negative.

        Raises:
            UserError: a phi that is not a number, or further from 0 than any network can be scaled.
        """
        check_phi(phi)
        return Multipliers(
            depth=self.alpha**phi,
            width=self.beta**phi,
            resolution=self.gamma**phi,
            head_scaling=self.head_scaling,
        )

    def along(self, times: float) -> Multipliers:
        """The multipliers in the triple's direction for so many times the FLOPs, nominally.

        Raises:
            UserError: a product of 1, whose direction leads to no other FLOPs.
        """
        if abs(rate := math.log(self.product)) < 1e-6:
            raise UserError("alpha * beta^2 * gamma^2 is 1: these coefficients grow no network")
        phi = math.log(times) / rate
        return Multipliers(
            self.alpha**phi, self.beta**phi, self.gamma**phi, head_scaling=self.head_scaling
        )

    @property
    def off_budget(self) -> str:
        """A warning where the product is far from what `measured` FLOPs are multiplied with."""
        if self.match == "nominal" or self.budget is None or self.budget_cost != "flops":
            return ""  # of other costs it is no more than a direction
        if abs(math.log(self.product / self.budget)) <= _OFF_BUDGET:
            return ""
        return (
            f"warning: alpha * beta^2 * gamma^2 multiplies FLOPs by {self.product:.3g}, and the "
            f"budget is {self.budget:g}: the coefficients are taken as a direction"
        )

    @property
    def shrinks(self) -> bool:
        """Whether networks get smaller with phi, as those of a budget below 1."""
        return not self.grows and min(self.alpha, self.beta, self.gamma) < 1

    @property
    def grows(self) -> bool:
        """Whether anything gets larger with phi."""
        return max(self.alpha, self.beta, self.gamma) > 1

    def file_entries(self) -> dict[str, float | str]:
        """As a `coefficients.yaml` holds it: with the growth that follows."""
        entries: dict[str, float | str] = asdict(self)
        for name, default in (
            ("head_scaling", "scale"),
            ("budget", None),
            ("budget_cost", "flops"),
        ):
            if entries[name] == default:
                del entries[name]
        return entries | {"growth": round(self.growth, 6)}

    @classmethod
    def load(cls, path: str | Path) -> Coefficients:
        """The winner in a `coefficients.yaml` of a run folder, or any file with its three keys."""
        return load_fields(cls, Path(path))


def check_word(key: str, word: str, words: tuple[str, ...]) -> None:
    """Rejects a rule that there is not."""
    if word not in words:
        raise UserError(
            f"{word!r} is not known",
            key=key,
            allowed=", ".join(words),
            hint=nearest(str(word), words),
        )


def check_phi(phi: float) -> None:
    """Rejects a phi that is not a number, or further from 0 than any network can be scaled."""
    if not LEAST_PHI <= phi <= MOST_PHI:
        allowed = f"{LEAST_PHI:g} to {MOST_PHI:g}"
        raise UserError(f"{phi!r} cannot be used", key="phi", allowed=allowed)


def load_fields(kind: type[Loaded], file: Path) -> Loaded:
    """The record whose fields a YAML file gives, which may hold more, such as scores."""
    from scalesearch.files.strict import load_yaml

    members = fields(kind)  # type: ignore[arg-type]
    plain, names = load_yaml(file).plain, [field.name for field in members]
    for field in members:
        if field.default is MISSING and field.name not in plain:
            raise UserError(f"{field.name!r} is missing", file=str(file), allowed=", ".join(names))
    try:
        return kind(**{name: plain[name] for name in names if name in plain})
    except UserError as error:
        raise error.at(file=str(file)) from None
