"""`scalesearch export`: a network, or every winner of a run, as code."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalesearch.arch.detector import Architecture
from scalesearch.contracts import written
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture
from scalesearch.files.strict import parse_value
from scalesearch.plugins import calling
from scalesearch.study.folder import existing
from scalesearch.study.options import Mistakes
from scalesearch.study.parts import read_plugin
from scalesearch.study.results import export_winners


def exporter_settings(name: str, fold: bool | None, options: Sequence[str]) -> dict[str, Any]:
    """An exporter as a study file has it, from options `key=value`; None folds by default."""
    settings: dict[str, Any] = {"name": name} if fold is None else {"name": name, "fold": fold}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise UserError(
                f"{option!r} is not an option", file="command line", allowed="key=value"
            )
        settings[key.strip()] = parse_value(text)
    return settings


def export_network(
    source: str, exporter: Mapping[str, Any], output: Path | None, weights: str | None
) -> None:
    """Writes the file or files and prints their paths."""
    try:
        plugin = read_plugin("exporters", exporter, Path())
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
        net, form = architecture(source), plugin.make()
        path = output or Path(re.sub(r"[-:.]", "_", _stem(source)) + form.suffix)
        state = None if weights is None else _state(net, weights)
        with calling(plugin.name, "export"):
            exported = form.export(net, path, state, {})
        paths = written(plugin.name, exported, path)
    for path in paths:
        print(path)


def _stem(source: str) -> str:
    """A name for a file: of a YAML file its own without the ending, of anything else all of it."""
    return Path(source).stem if source.endswith((".yaml", ".yml")) else Path(source).name


def _state(net: Architecture, weights: str) -> Mapping[str, Any]:
    """The network's state dict with these weights; what was chosen among them is printed."""
    from scalesearch.nn.build import build
    from scalesearch.nn.weights import load_weights

    model = build(net)
    for note in load_weights(model, weights).notes:
        print(f"note: {note}", file=sys.stderr)
    return model.state_dict()
