"""The text of an exported file: docstring, imports, our sources, the network's literal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import scalesearch
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.plain import Plain, to_plain
from scalesearch.exporters._about import CHANNEL_FACTS, channel_numbers, class_names, counted
from scalesearch.exporters._link import link
from scalesearch.exporters._text import Group, Item, assignment, prose, quoted, tuple_of
from scalesearch.units import format_count

# The record that holds each part of an architecture in its literal.
_RECORDS = {"stem": "Stem", "head": "Head"}
# Facts that become more than a line of the docstring.
_SPECIAL = ("name", "classes", *CHANNEL_FACTS)
_IN_WORDS = {
    "mean": "MEAN and STD are for images on the scale 0 to 1: subtract, then divide, by channel.",
    "classes": "The logits are in the order of CLASSES.",
}


@dataclass(frozen=True)
class Form:
    """What kind of file it is.

    Attributes:
        stem: it is called `stem`.py.
        trained: it loads `stem`.safetensors.
        fold: it folds batch norms.
    """

    stem: str
    trained: bool
    fold: bool


def file_text(net: Backbone, form: Form, about: Mapping[str, Any]) -> str:
    """The text of a file that builds `net`.

    Raises:
        UserError: facts in `about` that do not fit the network.
    """
    used = {"BLOCKS": {stage.block for stage in net.stages}, "ACTIVATIONS": {net.activation}}
    entry = "_entry_folded" if form.fold else "_entry"
    code = link(f"scalesearch.exporters.{entry}", "build", used)
    weights = f'Path(__file__).with_name("{form.stem}.safetensors")' if form.trained else "None"
    constants = [*_constants(net, about), f"WEIGHTS: Path | None = {weights}"]
    texts = []
    for definition in code.definitions:
        if definition.name not in ("ARCHITECTURE", "WEIGHTS"):
            texts.append(definition.text)
        # The network itself stands at the top, as soon as its records are known.
        if definition.name == "Backbone":
            literal = _call("Backbone", to_plain(net))
            texts.append("\n".join([assignment("ARCHITECTURE", literal), "", *constants]))
    if "classes" in about:
        names = tuple_of([quoted(name) for name in class_names(net, about)])
        texts.append(assignment("CLASSES", names))
    parts = [code.imports, *texts]
    return _docstring(net, form, about) + "\n\n" + "\n\n\n".join(parts) + "\n"


def _call(name: str, plain: Plain) -> Group:
    return Group(f"{name}(", tuple((f"{key}=", _item(key, value)) for key, value in plain.items()))


def _item(key: str, value: Any) -> Item:
    if key == "stages":
        return tuple_of([_call("Stage", stage) for stage in value])
    if key in _RECORDS:
        return _call(_RECORDS[key], value)
    return quoted(value) if isinstance(value, str) else repr(value)


def _constants(net: Backbone, about: Mapping[str, Any]) -> list[str]:
    size = [net.in_channels, net.resolution, net.resolution]
    lines = [f"INPUT_SIZE = ({', '.join(map(str, size))})  # channels, height, width"]
    for key in CHANNEL_FACTS:
        if key in about:
            numbers = channel_numbers(net, about, key)
            lines.append(assignment(key.upper(), tuple_of([repr(n) for n in numbers])))
    return lines


def _docstring(net: Backbone, form: Form, about: Mapping[str, Any]) -> str:
    stem = form.stem
    name = about.get("name", stem)
    size = f"{net.in_channels}, {net.resolution}, {net.resolution}"
    how = "for inference, batch norms folded" if form.fold else "in evaluation mode"
    if form.trained:
        call = f"build()  # {how}, with the weights"
        needs = f"torch, and safetensors for the weights in {stem}.safetensors beside it."
    else:
        call = f"build()  # {how}, freshly initialised"
        needs = "torch alone; it was exported without weights."
    lines = [
        prose(f"Image classifier {name}: {net.depth} blocks in {len(net.stages)} stages.", used=3),
        "",
        *_facts(net, about),
        "",
        f"    from {stem} import build",
        "",
        f"    model = {call}",
        f"    logits = model(images)  # [N, {size}] to [N, {net.num_classes}]",
        "",
        f"This file needs {needs}",
        *(words for key, words in _IN_WORDS.items() if key in about),
        f"Written by scalesearch {scalesearch.__version__}, whose code it repeats (Apache-2.0).",
    ]
    return '"""' + "\n".join(lines) + '\n"""'


def _facts(net: Backbone, about: Mapping[str, Any]) -> Iterator[str]:
    """Lines of the docstring, a fact each."""
    found = counted(net)
    ours = {
        "flops": f"{found['flops']:,} multiply-adds ({format_count(found['flops'])})",
        "parameters": f"{found['params']:,}",
        "activations": f"{found['activations']:,} values",
        "digest": found["digest"],
    }
    theirs = {str(key): _said(value) for key, value in about.items() if key not in _SPECIAL}
    facts = ours | theirs | ours  # in this order, and what was counted here is never replaced
    column = 2 + min(20, max(map(len, facts)))
    for key, value in facts.items():
        yield (prose(f"{key}:").ljust(column) + prose(value, column, " " * column)).rstrip()


def _said(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return str(value)
