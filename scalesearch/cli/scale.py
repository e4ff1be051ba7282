"""`scalesearch scale`: a network before and after, stage by stage."""

from __future__ import annotations

from pathlib import Path

from scalesearch.arch.backbone import Backbone
from scalesearch.cli.tables import print_table
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture, classifier, save_architecture
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.scale import scale
from scalesearch.units import format_bytes, format_count


def choose_coefficients(
    alpha: float | None, beta: float | None, gamma: float | None, file: Path | None
) -> Coefficients:
    """The three numbers, or those of a file; `UserError` for both or neither."""
    numbers = (alpha, beta, gamma)
    if file is not None:
        if any(number is not None for number in numbers):
            raise UserError("give --coefficients or --alpha --beta --gamma, not both")
        return Coefficients.load(file)
    if alpha is None or beta is None or gamma is None:
        raise UserError(
            "coefficients are missing",
            allowed="--alpha 1.2 --beta 1.1 --gamma 1.15, or --coefficients FILE",
        )
    return Coefficients(alpha, beta, gamma)


def show_scaled(name: str, triple: Coefficients, phi: float, output: Path | None) -> None:
    """Prints widths, depths and costs before and after; writes the result if asked to."""
    before = classifier(architecture(name), "scaling by three coefficients")
    after = scale(before, triple, phi)
    by = triple.at(phi)
    title = (
        f"{name} at phi {phi:g}: depth x {by.depth:.3f}, width x {by.width:.3f}, "
        f"resolution x {by.resolution:.3f}"
    )
    print_table(title, ("stage", "width", "", "depth", ""), _stage_rows(before, after))
    old, new = cost(before), cost(after)
    rows: list[tuple[object, ...]] = [
        ("resolution", before.resolution, after.resolution, _ratio(before, after))
    ]
    for key in ("flops", "params", "activations", "training_bytes"):
        show = format_bytes if key.endswith("bytes") else format_count
        first, second = getattr(old, key), getattr(new, key)
        rows.append((key, show(first), show(second), f"{second / first:.2f}"))
    print_table("", ("cost", "before", "after", "ratio"), rows)
    if output is not None:
        about = {"scaled from": name, "phi": phi, "coefficients": triple}
        save_architecture(output, after, about)
        print(f"written to {output}")


def _stage_rows(before: Backbone, after: Backbone) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [("stem", before.stem.width, after.stem.width, "", "")]
    for number, (old, new) in enumerate(zip(before.stages, after.stages, strict=True), start=1):
        rows.append((f"stage{number}", old.width, new.width, old.depth, new.depth))
    return [*rows, ("head", before.features, after.features, "", "")]


def _ratio(before: Backbone, after: Backbone) -> str:
    return f"{after.resolution / before.resolution:.2f}"
