"""`scalesearch export`: a network, or every winner of a run, as code."""

from __future__ import annotations

from pathlib import Path

from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture, classifier
from scalesearch.study.folder import existing
from scalesearch.study.options import Mistakes
from scalesearch.study.parts import Plugin, read_plugin
from scalesearch.study.results import export_winners


def export_network(
    source: str, output: Path | None, form: str, weights: str | None, fold: bool | None
) -> None:
    """Writes the file or files and prints their paths; `fold` None is as the format has it."""
    options = {} if fold is None else {"fold": fold}
    try:
        plugin = read_plugin("exporters", {"name": form, **options}, Path())
    except Mistakes as mistakes:
        raise mistakes.merged() from None
    if Path(source).is_dir():
        if output is not None or weights is not None:
            raise UserError(
                "a run has its own weights and its own export folder",
                hint="leave out --output and --weights, or name one network",
            )
        paths = export_winners(existing(source), (plugin,))
    else:
        paths = _export_one(source, output, plugin, weights)
    for path in paths:
        print(path)


def _export_one(
    source: str, output: Path | None, plugin: Plugin, weights: str | None
) -> list[Path]:
    from scalesearch.nn.build import build
    from scalesearch.nn.weights import load_weights

    net = classifier(architecture(source), "export")
    state = None
    if weights is not None:
        model = build(net)
        load_weights(model, weights)
        state = model.state_dict()
    exporter = plugin.make()
    target = output or Path(Path(source).stem.replace("-", "_") + exporter.suffix)
    return list(exporter.export(net, target, state, {}))
