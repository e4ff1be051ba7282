"""Networks in forms that live without scalesearch: one format a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch import plugins
from scalesearch.arch.backbone import Backbone
from scalesearch.errors import UserError

if TYPE_CHECKING:
    import torch


def export(
    net: Backbone,
    path: Path | str,
    format: str = "python",
    weights: Mapping[str, torch.Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes a network to `path` and returns every file written, `path` first.

    Args:
        net: the architecture.
        path: of the new file; its folder is made, an older file replaced.
        format: an exporter's name, or `package.module:Name`.
        weights: of the network, as `model.state_dict()` gives them; None exports it untrained.
        about: facts to keep with it, such as `name`, `study`, `accuracy`, `classes`, `mean`, `std`.

    Raises:
        UserError: an unknown format, a path it cannot take, or weights that do not fit.
    """
    if not isinstance(net, Backbone):
        raise UserError(
            f"an architecture is exported, not {type(net).__name__}",
            hint="pass the description and weights=model.state_dict()",
        )
    exporter = plugins.load("exporters", format)()
    return list(exporter.export(net, Path(path), weights, about or {}))
