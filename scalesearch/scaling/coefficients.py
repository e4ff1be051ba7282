"""Compound coefficients and the multipliers they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalesearch.errors import UserError

# FLOPs about double with each phi: at 16 they are 65,000 times the baseline's. Far below 0 no pixel
# is left, which is reported as such.
LEAST_PHI, MOST_PHI = -1000.0, 16.0


@dataclass(frozen=True, slots=True)
class Multipliers:
    """What depth, width and resolution are multiplied with."""

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0


@dataclass(frozen=True, slots=True)
class Coefficients:
    """alpha (depth), beta (width) and gamma (resolution) of compound scaling.

    Tan & Le 2019, equation 3: depth alpha^phi, width beta^phi, resolution gamma^phi, with
    alpha * beta^2 * gamma^2 close to 2, so that FLOPs grow by about 2^phi.
    """

    alpha: float
    beta: float
    gamma: float

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e3:
                raise UserError(f"{value!r} cannot be used", key=key, allowed="a number above 0")

    @property
    def growth(self) -> float:
        """alpha * beta^2 * gamma^2: about what FLOPs are multiplied with for each phi."""
        return self.alpha * self.beta**2 * self.gamma**2

    def at(self, phi: float) -> Multipliers:
        """The three multipliers at `phi`, which may be a fraction or negative.

        Raises:
            UserError: a phi that is not a number, or further from 0 than any network can be scaled.
        """
        check_phi(phi)
        return Multipliers(self.alpha**phi, self.beta**phi, self.gamma**phi)

    @property
    def grows(self) -> bool:
        """Whether anything gets larger with phi."""
        return max(self.alpha, self.beta, self.gamma) > 1

    def file_entries(self) -> dict[str, float]:
        """As a `coefficients.yaml` holds it: with the growth that follows."""
        return asdict(self) | {"growth": round(self.growth, 6)}

    @classmethod
    def load(cls, path: str | Path) -> Coefficients:
        """The winner in a `coefficients.yaml` of a run folder, or any file with its three keys."""
        file, names = Path(path), ("alpha", "beta", "gamma")
        numbers = read_numbers(file, names)
        missing = [key for key in names if key not in numbers]
        if missing:
            raise UserError(f"{missing[0]!r} is missing", file=str(file), allowed=", ".join(names))
        try:
            return cls(**numbers)
        except UserError as error:
            raise error.at(file=str(file)) from None


def check_phi(phi: float) -> None:
    """Rejects a phi that is not a number, or further from 0 than any network can be scaled."""
    if not LEAST_PHI <= phi <= MOST_PHI:
        allowed = f"{LEAST_PHI:g} to {MOST_PHI:g}"
        raise UserError(f"{phi!r} cannot be used", key="phi", allowed=allowed)


def read_numbers(file: Path, names: Sequence[str]) -> dict[str, Any]:
    """What a YAML file says of these names; a coefficients file also holds scores."""
    from scalesearch.files.strict import load_yaml

    plain = load_yaml(file).plain
    return {name: plain[name] for name in names if name in plain}
