"""The constants by which a detector grows: backbone, neck, heads and input by one phi."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients, load_fields

_MOST = 1e4  # no coefficient, nor pixels of a step, is as large
FACTORS = ("alpha", "beta", "neck_width")
# Of classifiers and of detectors.
COEFFICIENT_NAMES = (*FACTORS, "gamma", "neck_depth", "head_depth", "resolution")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCoefficients:
    """How a detector grows with phi (EfficientDet, section 4.2, equations 1 to 3).

    Attributes:
        alpha, beta: depth and width of the backbone: alpha^phi, beta^phi, as in EfficientNet.
        neck_width: width of neck and heads: neck_width^phi. The paper chose 1.35 from
            {1.2, 1.25, 1.3, 1.35, 1.4, 1.45}.
        neck_depth: layers that each phi adds to the neck.
        head_depth: layers that each phi adds to the heads; a fraction of a layer is left out.
        resolution: pixels that each phi adds to the side of the input.
    """

    alpha: float = 1.2
    beta: float = 1.1
    neck_width: float = 1.35
    neck_depth: float = 1.0
    head_depth: float = 1 / 3
    resolution: float = 128.0

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            factor = key in FACTORS
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value < _MOST or (factor and value == 0):
                allowed = "a number above 0" if factor else "a number of at least 0"
                raise UserError(f"{value!r} cannot be used", key=key, allowed=allowed)

    @property
    def grows(self) -> bool:
        """Whether anything gets larger with phi."""
        return any(value > (key in FACTORS) for key, value in asdict(self).items())

    def file_entries(self) -> dict[str, float]:
        """As a `coefficients.yaml` holds it."""
        return asdict(self)

    @classmethod
    def load(cls, path: str | Path) -> DetectorCoefficients:
        """The winner in a `coefficients.yaml` of a run folder, or any file with these keys.

        A key that is left out keeps the paper's value.
        """
        return load_fields(cls, Path(path))


Scaling = Coefficients | DetectorCoefficients
