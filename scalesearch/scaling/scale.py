"""Scaling a network: pure functions from one description to another."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.rounding import round_depth, round_resolution, round_width
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients, Multipliers, check_phi
from scalesearch.scaling.detector import DetectorCoefficients, Scaling

Net = TypeVar("Net", Backbone, Detector, Architecture)


def scale(net: Net, coefficients: Scaling, phi: float) -> Net:
    """The member of a network's family at `phi`: all dimensions scaled together.

    Tan & Le 2019, equation 3, by alpha, beta and gamma; a detector by `DetectorCoefficients`
    (EfficientDet, equations 1 to 3): its backbone's widths and its neck's to a multiple of the
    `width_divisor`, depths of the backbone up, those of neck and heads down to whole layers, its
    input's side to a multiple of 32 pixels. `phi` may be a fraction, or negative for smaller ones.

    Raises:
        UserError: the image would shrink to nothing, or the coefficients are of the other kind.
    """
    scaled: Any = None
    if isinstance(net, Detector) and isinstance(coefficients, DetectorCoefficients):
        scaled = _scaled_detector(net, coefficients, phi)
    elif isinstance(net, Backbone) and isinstance(coefficients, Coefficients):
        scaled = multiply(net, coefficients.at(phi))
    if scaled is None:
        raise UserError(
            f"{type(coefficients).__name__} cannot scale a {type(net).__name__}",
            key="coefficients",
            allowed="Coefficients for a Backbone; DetectorCoefficients, which also say how neck, "
            "heads and input grow, for a Detector",
        )
    return scaled


def multiply(backbone: Backbone, by: Multipliers) -> Backbone:
    """A network with depth, width and resolution multiplied and rounded (`arch/rounding.py`).

    Depths of all stages, widths of stem, stages and head (see `head_scaling`), and the input's
    side. A multiplier of exactly 1 changes nothing, whatever the width divisor.
    """
    divisor = backbone.width_divisor

    def wide(width: int, times: float = by.width) -> int:
        # A head without a convolution has no width.
        return width if times == 1 or width == 0 else round_width(width * times, divisor)

    return replace(
        backbone,
        stem=replace(backbone.stem, width=wide(backbone.stem.width)),
        stages=tuple(
            replace(stage, width=wide(stage.width), depth=round_depth(stage.depth * by.depth))
            for stage in backbone.stages
        ),
        head=replace(backbone.head, width=wide(backbone.head.width, by.head_width)),
        resolution=round_resolution(backbone.resolution * by.resolution),
    )


def with_depths(backbone: Backbone, depths: tuple[int, ...]) -> Backbone:
    """The same network with these depths of its stages."""
    stages = zip(backbone.stages, depths, strict=True)
    return replace(backbone, stages=tuple(replace(stage, depth=d) for stage, d in stages))


def _scaled_detector(net: Detector, by: DetectorCoefficients, phi: float) -> Detector:
    check_phi(phi)
    if phi == 0:
        return net
    try:
        times = Multipliers(depth=by.alpha**phi, width=by.beta**phi)
        wider = by.neck_width**phi
    except OverflowError:
        raise UserError(
            f"{phi!r} is too large: the scaled network has no finite width", key="phi"
        ) from None
    backbone = multiply(net.backbone, times)
    pixels = net.resolution + by.resolution * phi
    if pixels < 1:
        raise UserError(
            f"scaling leaves a resolution of {pixels:g} pixels",
            key="resolution",
            allowed="at least 1 pixel",
            hint="take a larger phi, or fewer pixels for each",
        )
    side = to_32(round(pixels))
    return replace(
        net,
        backbone=replace(backbone, resolution=side if by.resolution else net.resolution),
        neck=replace(
            net.neck,
            width=wider_neck(net, wider),
            depth=max(1, net.neck.depth + _whole(by.neck_depth * phi)),
        ),
        heads=replace(net.heads, depth=max(0, net.heads.depth + _whole(by.head_depth * phi))),
    )


def wider_neck(net: Detector, by: float) -> int:
    """Channels of a detector's neck, multiplied and rounded; by exactly 1 as they are."""
    width = net.neck.width
    return width if by == 1 else round_width(width * by, net.backbone.width_divisor)


def to_32(side: int) -> int:
    """The nearest multiple of 32 pixels, at least one."""
    return max(32, 32 * math.floor(side / 32 + 0.5))


def _whole(layers: float) -> int:
    return math.floor(layers + 1e-9)  # 3 * (1 / 3) is a hair off 1 in binary
