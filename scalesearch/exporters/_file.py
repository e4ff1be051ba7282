"""The text of an exported file: docstring, imports, our sources, the network's literal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import scalesearch
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.plain import Plain, digest, to_plain
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.exporters._link import link
from scalesearch.exporters._text import Group, Item, assignment, prose, quoted, tuple_of
from scalesearch.units import format_count

# The record that holds each part of an architecture in its literal.
_RECORDS = {"stem": "Stem", "head": "Head"}
# Facts that become more than a line of the docstring.
_SPECIAL = ("name", "mean", "std", "classes")
_IN_WORDS = {
    "mean": "MEAN and STD are for images on the scale 0 to 1: subtract, then divide, by channel.",
    "classes": "The logits are in the order of CLASSES.",
}


def file_text(net: Backbone, stem: str, trained: bool, about: Mapping[str, Any]) -> str:
    """The text of the file `stem`.py, which loads `stem`.safetensors if `trained`.

    Raises:
        UserError: facts in `about` that do not fit the network.
    """
    code = link("scalesearch.exporters._entry", "build")
    weights = f'Path(__file__).with_name("{stem}.safetensors")' if trained else "None"
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
        texts.append(_classes(net, about["classes"]))
    parts = [code.imports, *texts]
    return _docstring(net, stem, trained, about) + "\n\n" + "\n\n\n".join(parts) + "\n"


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
    for key in ("mean", "std"):
        if key in about:
            numbers = _numbers(about[key])
            if len(numbers) != net.in_channels or not all(map(math.isfinite, numbers)):
                raise UserError(
                    f"{about[key]!r} cannot be used",
                    key=f"about.{key}",
                    allowed=f"a finite number for each channel, {net.in_channels} in all",
                )
            lines.append(assignment(key.upper(), tuple_of([repr(n) for n in numbers])))
    return lines


def _numbers(values: Any) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []  # refused by the caller, as it is too short


def _classes(net: Backbone, classes: Sequence[object]) -> str:
    if len(classes) != net.num_classes:
        raise UserError(
            f"there are {len(classes)} names for {net.num_classes} classes", key="about.classes"
        )
    return assignment("CLASSES", tuple_of([quoted(str(name)) for name in classes]))


def _docstring(net: Backbone, stem: str, trained: bool, about: Mapping[str, Any]) -> str:
    name = about.get("name", stem)
    size = f"{net.in_channels}, {net.resolution}, {net.resolution}"
    if trained:
        call = "build()  # in evaluation mode, with the weights"
        needs = f"torch, and safetensors for the weights in {stem}.safetensors beside it."
    else:
        call = "build()  # in evaluation mode, freshly initialised"
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
    counted = cost(net)
    ours = {
        "flops": f"{counted.flops:,} multiply-adds ({format_count(counted.flops)})",
        "parameters": f"{counted.params:,}",
        "activations": f"{counted.activations:,} values",
        "digest": digest(net),
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
