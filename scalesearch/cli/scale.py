"""`scalesearch scale`: a network before and after, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.cli.tables import print_table
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture, save_architecture
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients, Scaling
from scalesearch.scaling.scale import scale
from scalesearch.units import format_bytes, format_count

Row = tuple[object, ...]


def choose_coefficients(
    net: Architecture, given: Mapping[str, float | None], file: Path | None
) -> Scaling:
    """The coefficients of a network's kind: of a file, or the numbers given.

    A detector's that are not given are the paper's; a classifier's three all have to be.

    Raises:
        UserError: a file and numbers, too few of them, or one of the other kind.
    """
    numbers = {name: value for name, value in given.items() if value is not None}
    kind = DetectorCoefficients if isinstance(net, Detector) else Coefficients
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
    if kind is Coefficients and len(numbers) < len(names):
        raise UserError(
            "coefficients are missing",
            allowed="--alpha 1.2 --beta 1.1 --gamma 1.15, or --coefficients FILE",
        )
    return kind(**numbers)


def show_scaled(
    name: str, given: Mapping[str, float | None], file: Path | None, phi: float, output: Path | None
) -> None:
    """Prints widths, depths and costs before and after; writes the result if asked to."""
    before = architecture(name)
    by = choose_coefficients(before, given, file)
    after = scale(before, by, phi)
    title = f"{name} at phi {phi:g}"
    if isinstance(by, Coefficients):
        times = by.at(phi)
        title += (
            f": depth x {times.depth:.3f}, width x {times.width:.3f}, "
            f"resolution x {times.resolution:.3f}"
        )
    head = ("stage", "width", "", "depth", "")
    print_table(title, head, list(_pairs(before, after)))
    print_table("", ("cost", "before", "after", "ratio"), list(_costs(before, after)))
    if output is not None:
        about = {"scaled from": name, "phi": phi, "coefficients": by}
        save_architecture(output, after, about)
        print(f"written to {output}")


def _pairs(before: Architecture, after: Architecture) -> Iterator[Row]:
    for old, new in zip(_parts(before), _parts(after), strict=True):
        yield (old[0], old[1], new[1], old[2], new[2])


def _parts(net: Architecture) -> Iterator[Row]:
    """Name, width and depth of each part that scaling may change."""
    backbone = net.backbone if isinstance(net, Detector) else net
    yield "stem", backbone.stem.width, ""
    for number, stage in enumerate(backbone.stages, start=1):
        yield f"stage{number}", stage.width, stage.depth
    if isinstance(net, Detector):
        yield "neck", net.neck.width, net.neck.depth
        yield "heads", net.neck.width, net.heads.depth
    else:
        yield "head", net.features, ""


def _costs(before: Architecture, after: Architecture) -> Iterator[Row]:
    ratio = f"{after.resolution / before.resolution:.2f}"
    yield "resolution", before.resolution, after.resolution, ratio
    old, new = cost(before), cost(after)
    for key in ("flops", "params", "activations", "training_bytes"):
        show = format_bytes if key.endswith("bytes") else format_count
        first, second = getattr(old, key), getattr(new, key)
        if first is not None:
            yield key, show(first), show(second), f"{second / first:.2f}"
