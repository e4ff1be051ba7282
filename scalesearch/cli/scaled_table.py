"""The tables of `scalesearch scale`: a network before scaling, exactly scaled, and rounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.cli.tables import print_table
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.report.by_stage import StageCost, by_stage
from scalesearch.scaling.coefficients import Multipliers
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.realise import effective
from scalesearch.units import format_bytes, format_count, format_latency

_COSTS = {
    "flops": format_count,
    "params": format_count,
    "activations": format_count,
    "training_bytes": format_bytes,
}


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """A network before and after, and what it was scaled by."""

    before: Architecture
    after: Architecture
    phi: float
    coefficients: Scaling | str  # or the name of a strategy
    by: Multipliers | None = None  # of a classifier


def print_scaled(
    name: str, scaled: Scaled, batch: int, latency: Callable[[Architecture], float] | None
) -> None:
    """Prints the parts, the multipliers and the costs before and after.

    Memory is that of `batch` images in a training step; `latency` gives seconds, if it is wanted.
    """
    before, after, by = scaled.before, scaled.after, scaled.by
    title = f"{name} at phi {scaled.phi:.4g}"
    if isinstance(scaled.coefficients, str):
        title = f"{name} by {scaled.coefficients}, at 2^{scaled.phi:.4g} times the FLOPs"
    if by is not None:
        title += (
            f": depth x {by.depth:.3f}, width x {by.width:.3f}, resolution x {by.resolution:.3f}"
        )
    if not isinstance(before, Factory):  # whose parts its own code knows
        both = zip(by_stage(before), by_stage(after), _exact(scaled), strict=True)
        rows = [(one.name, *_row(one, two, exact)) for one, two, exact in both]
        print_table(title, ("part", "width", "exact", "", "depth", "exact", ""), rows)
        title = ""
    if not (by is None or isinstance(before, Detector) or isinstance(after, Detector)):
        really = effective(before, after)
        multipliers = [
            (key, f"{getattr(by, key):.3f}", f"{getattr(really, key):.3f}")
            for key in ("depth", "width", "resolution")
        ]
        print_table(title, ("multiplier", "nominal", "effective"), multipliers)
    ratio = f"{after.resolution / before.resolution:.2f}"
    costs: list[tuple[str, ...]] = [
        ("resolution", f"{before.resolution}", f"{after.resolution}", ratio)
    ]
    workload = Workload(training_batch=batch)
    before_cost, after_cost = (cost(net, workload=workload) for net in (before, after))
    for key, show in _COSTS.items():
        old, new = getattr(before_cost, key), getattr(after_cost, key)
        costs.append((key, show(old), show(new), f"{new / old:.2f}"))
    if latency is not None:
        times = latency(before), latency(after)
        costs.append(("latency", *map(format_latency, times), f"{times[1] / times[0]:.2f}"))
    print_table("", ("cost", "before", "after", "ratio"), costs)


def _row(before: StageCost, after: StageCost, exact: tuple[float, float]) -> tuple[str, ...]:
    """Width and depth of a part, as they would be without rounding, and as they are."""
    width, depth = exact
    widths = f"{before.width}", f"{width:.1f}", f"{after.width}"
    return *widths, f"{before.depth}", f"{depth:.2f}", f"{after.depth}"


def _exact(scaled: Scaled) -> list[tuple[float, float]]:
    """Widths and depths of the parts before any is rounded."""
    by, coefficients, phi = scaled.by, scaled.coefficients, scaled.phi
    assert not isinstance(scaled.before, Factory)
    neck = Multipliers()
    more = {"neck": 0.0, "head": 0.0}
    if isinstance(coefficients, DetectorCoefficients):
        by = Multipliers(depth=coefficients.alpha**phi, width=coefficients.beta**phi)
        neck = Multipliers(width=coefficients.neck_width**phi)
        more = {"neck": coefficients.neck_depth * phi, "head": coefficients.head_depth * phi}
    assert by is not None
    sizes = []
    for part in by_stage(scaled.before):
        if part.name == "stem":
            size = part.width * by.width, 1.0
        elif part.name.startswith("stage"):
            size = part.width * by.width, part.depth * by.depth
        elif part.name == "head":
            has_width = scaled.before.trunk.head.width > 0
            size = part.width * (by.head_width if has_width else by.width), 1.0
        else:
            added = more["neck" if part.name == "neck" else "head"]
            size = part.width * neck.width, part.depth + added
        sizes.append(size)
    return sizes
