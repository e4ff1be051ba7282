"""Scaling a detector: backbone, neck, heads and input by one phi."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from scalesearch.arch.detector import Detector
from scalesearch.arch.rounding import round_resolution, round_width
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import LEAST_PHI, MOST_PHI, Multipliers
from scalesearch.scaling.scale import multiply

_MOST = 1e4  # no coefficient, nor pixels of a step, is as large


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
            factor = key in ("alpha", "beta", "neck_width")
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value < _MOST or (factor and value == 0):
                allowed = "a number above 0" if factor else "a number of at least 0"
                raise UserError(f"{value!r} cannot be used", key=key, allowed=allowed)


def scale_detector(net: Detector, by: DetectorCoefficients, phi: float) -> Detector:
    """The member of a detector's family at `phi`, which may be a fraction or negative.

    Widths round to a multiple of the backbone's `width_divisor`, depths of the backbone up,
    those of neck and heads down to whole layers, and the input's side to a multiple of 32 pixels.

    Raises:
        UserError: a phi out of reach, or nothing left of the image.
    """
    if not LEAST_PHI <= phi <= MOST_PHI:
        allowed = f"{LEAST_PHI:g} to {MOST_PHI:g}"
        raise UserError(f"{phi!r} cannot be used", key="phi", allowed=allowed)
    backbone = multiply(net.backbone, Multipliers(depth=by.alpha**phi, width=by.beta**phi))
    divisor, width = net.backbone.width_divisor, net.neck.width
    if phi != 0 and by.neck_width != 1:
        width = round_width(width * by.neck_width**phi, divisor)
    side = round_resolution(net.resolution + by.resolution * phi)
    return replace(
        net,
        backbone=replace(backbone, resolution=_to_32(side) if phi != 0 else net.resolution),
        neck=replace(
            net.neck, width=width, depth=max(1, _whole(net.neck.depth, by.neck_depth, phi))
        ),
        heads=replace(net.heads, depth=max(0, _whole(net.heads.depth, by.head_depth, phi))),
    )


def _whole(depth: int, step: float, phi: float) -> int:
    return depth + math.floor(step * phi + 1e-9)  # 3 * (1 / 3) is a hair off 1 in binary


def _to_32(side: int) -> int:
    return max(32, 32 * math.floor(side / 32 + 0.5))
