"""`scalesearch scale`: a network before and after scaling, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.cli.tables import print_table
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture, save_architecture
from scalesearch.report.by_stage import by_stage
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.scale import scale
from scalesearch.units import format_bytes, format_count

# The coefficients that scale each kind of network.
_KINDS: Mapping[type[Architecture], type[Scaling]] = {
    Backbone: Coefficients,
    Detector: DetectorCoefficients,
    Factory: Coefficients,
}
_COSTS = {
    "flops": format_count,
    "params": format_count,
    "activations": format_count,
    "training_bytes": format_bytes,
}


def show_scaled(
    name: str,
    given: Mapping[str, float | str | None],
    file: Path | None,
    phi: float,
    output: Path | None,
) -> None:
    """Prints widths, depths and costs before and after; writes the result if asked to."""
    before = architecture(name)
    coefficients = choose_coefficients(before, given, file)
    after = scale(before, coefficients, phi)
    rows = [
        (part.name, part.width, scaled.width, part.depth, scaled.depth)
        for part, scaled in zip(by_stage(before), by_stage(after), strict=True)
    ]
    title = f"{name} at phi {phi:g}"
    if isinstance(coefficients, Coefficients):
        times = coefficients.at(phi)
        title += (
            f": depth x {times.depth:.3f}, width x {times.width:.3f}, "
            f"resolution x {times.resolution:.3f}"
        )
    if isinstance(before, Factory):  # whose parts its own code knows
        assert isinstance(after, Factory)
        multipliers = [
            (name, f"{getattr(before, name):g}", f"{getattr(after, name):.5g}")
            for name in ("depth", "width")
        ]
        print_table(title, ("multiplier", "before", "after"), multipliers)
    else:
        print_table(title, ("part", "width", "", "depth", ""), rows)
    ratio = f"{after.resolution / before.resolution:.2f}"
    costs = [("resolution", f"{before.resolution}", f"{after.resolution}", ratio)]
    before_cost, after_cost = cost(before), cost(after)
    for key, show in _COSTS.items():
        old, new = getattr(before_cost, key), getattr(after_cost, key)
        costs.append((key, show(old), show(new), f"{new / old:.2f}"))
    print_table("", ("cost", "before", "after", "ratio"), costs)
    if output is not None:
        about = {"scaled from": name, "phi": phi, "coefficients": coefficients}
        save_architecture(output, after, about)
        print(f"written to {output}")


def choose_coefficients(
    net: Architecture, given: Mapping[str, float | str | None], file: Path | None
) -> Scaling:
    """The coefficients of a network's kind: of a file, or the options given.

    A detector's that are not given are the paper's; a classifier's three are all required.

    Raises:
        UserError: a file and numbers, too few of them, or one of the other kind.
    """
    numbers: dict[str, Any] = {name: one for name, one in given.items() if one is not None}
    kind = _KINDS[type(net)]
    names = [field.name for field in fields(kind)]
    options = " ".join(f"--{name.replace('_', '-')}" for name in names)
    if file is not None:
        if numbers:
            raise UserError(f"give --coefficients or {options}, not both")
        return kind.load(file)
    if wrong := [name for name in numbers if name not in names]:
        raise UserError(
            f"--{wrong[0].replace('_', '-')} does not scale this kind of network", allowed=options
        )
    try:
        return kind(**numbers)
    except TypeError:  # an argument without a default is missing
        raise UserError(
            "coefficients are missing",
            allowed="--alpha 1.2 --beta 1.1 --gamma 1.15, or --coefficients FILE",
        ) from None
