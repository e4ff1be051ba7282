"""Single dimensions scaled to the FLOPs of another network, as nearly as their steps allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.arch.stage import BLOCK_FIELDS
from scalesearch.cost.counts import counts
from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.factory import alone
from scalesearch.scaling.multiply import multiply, with_depths
from scalesearch.scaling.scale import to_32, wider_neck

_STEPS = 60  # halvings: to the end of a float's digits
_NEAR = 40  # of a multiplier: where several stages get a block at once, they are 1e-9 apart
_FAR = 2.0**40


def match_flops(
    net: Architecture, strategy: str, target: int, coefficients: Scaling | None = None
) -> Architecture:
    """The network of one strategy whose FLOPs come closest to `target` (as a ratio).

    Of a classifier `depth` adds blocks one at a time, each to the stage that lags most behind the
    common multiplier; `width` and `resolution` search their multiplier. Of a detector `backbone`
    searches how far its alpha and beta go, `neck_width` and `resolution` their multiplier,
    `neck_depth` and `head_depth` add layers. All else stays.

    Raises:
        UserError: a detector without coefficients of its kind.
    """
    if isinstance(net, Factory):
        return alone(net, strategy, target)
    strategies: dict[str, Any] = _CLASSIFIERS
    if isinstance(net, Detector):
        strategies = _DETECTORS
        if not isinstance(coefficients, DetectorCoefficients):
            raise UserError(
                "a detector's backbone grows by its DetectorCoefficients", key="coefficients"
            )
    search = _by_layers if strategy in _LAYERS else _around
    candidates: Iterator[Architecture] = (
        _by_depth(net.trunk, target)
        if strategy == "depth"
        else search(net, lambda more: strategies[strategy](net, coefficients, more), target)
    )
    return min(candidates, key=lambda each: abs(math.log(counts(each).flops / target)))


def _by_depth(backbone: Backbone, target: int) -> Iterator[Backbone]:
    first = [stage.depth for stage in backbone.stages]
    growing = [i for i, s in enumerate(backbone.stages) if "depth" in BLOCK_FIELDS[s.block]]

    def times(multiple: int) -> Backbone:
        return with_depths(backbone, tuple(multiple * depth for depth in first))

    # Blocks added in turn pass through every whole multiple: the last one below the target is near.
    low, high = 1, 2
    while growing and counts(times(high)).flops < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if counts(times(middle)).flops < target else (low, middle)
    net = times(low)
    depths = [stage.depth for stage in net.stages]
    yield net
    while growing and counts(net).flops < target:
        lagging = min(growing, key=lambda i: (depths[i] / first[i], i))
        depths[lagging] += 1
        net = with_depths(backbone, tuple(depths))
        yield net


def _by_layers(net: Any, grown: Callable[[float], Any], target: int) -> Iterator[Any]:
    """The networks on the two sides of the target, each layer of which adds the same FLOPs."""
    first, second = (counts(grown(layers)).flops for layers in (0, 1))
    more = max(0, math.floor((target - first) / (second - first)))
    yield from (grown(more), grown(more + 1))


def _around(net: Any, grown: Callable[[float], Any], target: int) -> Iterator[Any]:
    """The networks on the two sides of the step at which `grown(more)` passes the target."""
    low, high = 0.0, 1.0
    while counts(grown(high)).flops < target:
        low, high = high, 2 * high
        if high > _FAR:  # an identity block has nothing that grows
            break
    low, high = bisect(low, high, lambda more: counts(grown(more)).flops < target, _NEAR)
    yield grown(low) if low else net
    yield grown(high)


def _deeper_backbone(net: Detector, by: DetectorCoefficients, more: float) -> Detector:
    scaled = multiply(net.backbone, Multipliers(depth=by.alpha**more, width=by.beta**more))
    return replace(net, backbone=replace(scaled, resolution=net.resolution))


def _larger_input(net: Detector, by: DetectorCoefficients, more: float) -> Detector:
    side = to_32(round(net.resolution * (1 + more)))
    return replace(net, backbone=replace(net.backbone, resolution=side))


# More of one dimension, from nothing upwards.
_CLASSIFIERS: dict[str, Callable[[Backbone, Any, float], Backbone]] = {
    "width": lambda net, by, more: multiply(
        net, Multipliers(width=1 + more, head_scaling=by.head_scaling if by else "scale")
    ),
    "resolution": lambda net, by, more: multiply(net, Multipliers(resolution=1 + more)),
}
_LAYERS = ("neck_depth", "head_depth")
_DETECTORS: dict[str, Callable[[Detector, DetectorCoefficients, float], Detector]] = {
    "backbone": _deeper_backbone,
    "neck_width": lambda net, by, more: replace(
        net, neck=replace(net.neck, width=wider_neck(net, 1 + more))
    ),
    "neck_depth": lambda net, by, more: replace(
        net, neck=replace(net.neck, depth=net.neck.depth + math.floor(more))
    ),
    "head_depth": lambda net, by, more: replace(
        net, heads=replace(net.heads, depth=net.heads.depth + math.floor(more))
    ),
    "resolution": _larger_input,
}


def bisect(
    low: float, high: float, fits: Callable[[float], bool], steps: int = _STEPS
) -> tuple[float, float]:
    """The last number that fits and the first that does not, of which `low` and `high` are some."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low, high
