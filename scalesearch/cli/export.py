"""`scalesearch export`: a network, or every winner of a run, as code."""

from __future__ import annotations

from pathlib import Path

from scalesearch import plugins
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture
from scalesearch.study.folder import existing
from scalesearch.study.parts import read_plugin
from scalesearch.study.results import export_winners


def export_network(source: str, output: Path | None, form: str, weights: str | None) -> None:
    """Writes the file or files and prints their paths."""
    if Path(source).is_dir():
        if output is not None or weights is not None:
            raise UserError(
                "a run has its own weights and its own export folder",
                hint="leave out --output and --weights, or name one network",
            )
        paths = export_winners(existing(source), (read_plugin("exporters", form, Path()),))
    else:
        paths = _export_one(source, output, form, weights)
    for path in paths:
        print(path)


def _export_one(source: str, output: Path | None, form: str, weights: str | None) -> list[Path]:
    from scalesearch.exporters import export
    from scalesearch.nn.build import build
    from scalesearch.nn.weights import load_weights

    net = architecture(source)
    state = None
    if weights is not None:
        model = build(net)
        load_weights(model, weights)
        state = model.state_dict()
    suffix = plugins.load("exporters", form).suffix
    target = output or Path(Path(source).stem.replace("-", "_") + suffix)
    return list(export(net, target, format=form, weights=state))
