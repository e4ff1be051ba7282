"""Architectures as files: `baseline.yaml` and the members of a family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import (
    ARGUMENTS,
    LIBRARIES,
    Factory,
    is_factory,
    takes_arguments,
)
from scalesearch.arch.plain import from_plain, replaced, to_plain
from scalesearch.arch.published import published
from scalesearch.arch.table_row import TableRow
from scalesearch.errors import UserError
from scalesearch.files.strict import load_yaml
from scalesearch.files.write import write_yaml
from scalesearch.plugins import load_object


def architecture(source: str | Path, /, **fields: Any) -> Architecture:
    """A network by its published name, its YAML file, or a `package.module:function` of yours.

    Keywords replace its fields: `architecture("efficientnet_b0", num_classes=10, resolution=64)`.
    A function of depth, width, resolution, in_channels or num_classes is a factory of a torch
    module, and so are `timm:NAME` and `torchvision:NAME`; one without arguments returns a
    description.

    Raises:
        UserError: an unknown name or field, a wrong file, or a function without arguments that
            gives neither a `Backbone` nor a `Detector`.
    """
    text = str(source)
    if text.endswith((".yaml", ".yml")):
        return replaced(load_architecture(source), fields)
    if ":" not in text:
        return published(text, **fields)
    if text.partition(":")[0] in LIBRARIES or is_factory(load_object(text)):
        return from_plain({"factory": text, **fields})
    function = load_object(text)
    try:
        network = function()
    except UserError:
        raise
    except Exception as error:  # whatever the user's function does
        if takes_arguments(function):
            raise UserError(
                f"{text} has none of {', '.join(ARGUMENTS)} in its signature, by which it could be "
                f"scaled, and fails without arguments: {type(error).__name__}: {error}",
                allowed="a function of depth, width and resolution that returns a torch module",
                hint="name them in its signature: `**` does not say what is scaled",
            ) from error
        raise UserError(
            f"{text} failed: {type(error).__name__}: {error}",
            allowed="a function without arguments that returns a scalesearch.Backbone or Detector",
        ) from error
    if not isinstance(network, Backbone | Detector):
        raise UserError(
            f"{text} gives {type(network).__name__}, not a scalesearch.Backbone or Detector",
            hint="a function that returns a torch module takes depth, width or resolution, by "
            "which it can be scaled: docs/scaling.md",
        )
    return replaced(network, fields)


def classifier(net: Architecture, what: str) -> Backbone:
    """The network itself; `UserError` for a detector or a factory: there is no `what` of these."""
    if isinstance(net, Detector):
        raise UserError(f"there is no {what} of detectors", allowed="a network that classifies")
    if isinstance(net, Factory):
        raise UserError(
            f"there is no {what} of what a factory builds", allowed="a network described by stages"
        )
    return net


def load_architecture(path: Path | str) -> Architecture:
    """The network that a YAML file describes; a mistake in it is named with its line."""
    document = load_yaml(path)
    try:
        return from_plain(document.plain)
    except UserError as error:
        raise document.locate(_or_space(error, document.plain)) from None


def load_network(path: Path | str) -> Any:
    """The network of a run folder's file, which may be a row of a table."""
    document = load_yaml(path)
    if "parameters" not in document.plain or "stages" in document.plain:
        return load_architecture(path)
    try:
        return TableRow.from_plain(document.plain)
    except UserError as error:
        raise document.locate(error) from None


def save_architecture(
    path: Path | str,
    net: Architecture,
    about: Mapping[str, Any] = {},
) -> Path:
    """The path, once it describes the network, with `about` as comments above."""
    return write_yaml(path, to_plain(net), about)


def _or_space(error: UserError, plain: Mapping[str, Any]) -> UserError:
    """The mistake, or a better word for it if the file holds choices."""
    stages = plain.get("stages")
    parts = [plain, *(stages if isinstance(stages, list) else ()), plain.get("head")]
    values = [v for part in parts if isinstance(part, Mapping) for k, v in part.items()]
    chosen = any(isinstance(value, list) and value is not stages for value in values)
    if not chosen:
        return error
    return UserError(
        "this is a search space, not one network: some of its fields have several choices",
        hint="`scalesearch check` measures a study over it",
    )
