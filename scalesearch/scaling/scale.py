"""Scaling a network: pure functions from one description to another."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.arch.rounding import round_width
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients, Multipliers, check_phi
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.factory import multiplied
from scalesearch.scaling.measure import FLOPS, Measure, measure_for
from scalesearch.scaling.multiply import multiply
from scalesearch.scaling.realise import TOLERANCE, Scaled, Unrealised, realise, realise_along

# How far the FLOPs of a triple are from their target, as a logarithm, where another phi helps.
_ASTRAY = 0.2
Net = TypeVar("Net", Backbone, Detector, Factory, Architecture)


def scale(net: Net, coefficients: Scaling, phi: float, measure: Measure | None = None) -> Net:
    """The member of a network's family at `phi`: all dimensions scaled together.

    Tan & Le 2019, equation 3, by alpha, beta and gamma, rounded as the coefficients' `match` says;
    a detector by `DetectorCoefficients`
    (EfficientDet, equations 1 to 3): its backbone's widths and its neck's to a multiple of the
    `width_divisor`, depths of the backbone up, those of neck and heads down to whole layers, its
    input's side to a multiple of 32 pixels. `phi` may be a fraction, or negative for smaller ones.
    `measure` predicts latency, for coefficients whose budget is one.

    Raises:
        Unrealised: no network near these `measured` coefficients has the FLOPs.
        UserError: the image would shrink to nothing, or the coefficients are of the other kind.
    """
    scaled: Any = None
    if isinstance(net, Detector) and isinstance(coefficients, DetectorCoefficients):
        scaled = _scaled_detector(net, coefficients, phi)
    elif not isinstance(net, Detector) and isinstance(coefficients, Coefficients):
        scaled = _scaled(net, coefficients, phi, measure)
    if scaled is None:
        raise UserError(
            f"{type(coefficients).__name__} cannot scale a {type(net).__name__}",
            key="coefficients",
            allowed="Coefficients for a Backbone or Factory; DetectorCoefficients, which also say "
            "how neck, heads and input grow, for a Detector",
        )
    return scaled


def _scaled(
    net: Backbone | Factory, coefficients: Coefficients, phi: float, measure: Measure | None
) -> Backbone | Factory:
    if phi == 0:
        return net
    times = coefficients.at(phi)
    if coefficients.match == "nominal":
        return multiplied(net, times) if isinstance(net, Factory) else multiply(net, times)
    by = measure_for(coefficients.budget_cost, measure)
    return realised(net, coefficients, phi, by.of(net) * coefficients.growth**phi, measure=by)


def realised(
    net: Scaled,
    coefficients: Coefficients,
    phi: float,
    target: float,
    tolerance: float = TOLERANCE,
    *,
    measure: Measure = FLOPS,
) -> Scaled:
    """The member of `measured` coefficients that meets a target, within a share of it.

    FLOPs are met near the multipliers of `phi`. Where these alone would give far other FLOPs, as
    a product that is not the budget does at a large phi, and for memory and latency, which grow
    by other powers, the triple says in which direction a network goes, and not how far.

    Raises:
        Unrealised: there is no such network nearby.
    """
    if measure.name == "flops":
        try:
            return realise(net, coefficients.at(phi), target, tolerance)
        except Unrealised:
            product, growth = math.log(coefficients.product), math.log(coefficients.growth)
            if (product > 0) != (growth > 0):
                raise
            if isinstance(net, Factory) and abs(phi * (product - growth)) < _ASTRAY:
                raise  # the ray passes by the same networks, each of which takes a while
    return realise_along(net, coefficients.along, target, tolerance, measure=measure)


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
