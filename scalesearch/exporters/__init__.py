"""Networks in forms that live without scalesearch: one format a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch import plugins
from scalesearch.arch.detector import Architecture
from scalesearch.contracts import written
from scalesearch.errors import UserError, nearest

if TYPE_CHECKING:
    import torch


def export(
    net: Architecture,
    path: Path | str,
    format: str = "python",
    weights: Mapping[str, torch.Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Path]:
    """Writes a network to `path` and returns every file written, `path` first.

    `export(net, "b0.onnx", "onnx", model.state_dict())`; `python`, `onnx` and `torch_export` ship.

    Args:
        net: the architecture.
        path: of the new file; its folder is made, an older file replaced.
        format: an exporter's name, or `package.module:Name`.
        weights: of the network, as `model.state_dict()` gives them; None exports it untrained.
        about: facts to keep with it, such as `name`, `study`, `accuracy`, `mean`, `std`, `classes`,
            `category_ids` (the data set's numbers of a detector's classes).
        options: of the exporter, such as `fold=True`: batch norms are folded for inference.

    Raises:
        UserError: an unknown format or option, a path it cannot take, or weights that do not fit.
    """
    if not isinstance(net, Architecture):
        raise UserError(
            f"an architecture is exported, not {type(net).__name__}",
            hint="pass the description and weights=model.state_dict()",
        )
    plugin = plugins.load("exporters", format)
    known = [field.name for field in dataclasses.fields(plugin)]
    for key in options:
        if key not in known:
            raise UserError(
                f"exporter {format!r} has no option {key!r}",
                allowed=", ".join(known),
                hint=nearest(key, known),
            )
    with plugins.calling(format, "export"):
        exported = plugin(**options).export(net, Path(path), weights, about or {})
    return written(format, exported, Path(path))
