"""The text of an exported file: docstring, imports, our sources, the network's literal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import scalesearch
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.exporters._about import (
    CHANNEL_FACTS,
    anchor_count,
    category_ids,
    channel_numbers,
    class_names,
    counted,
    square,
)
from scalesearch.exporters._link import Linked, link
from scalesearch.exporters._literal import literal, nodes_literal
from scalesearch.exporters._text import assignment, prose, quoted, tuple_of
from scalesearch.units import format_count

# Facts that become more than a line of the docstring.
_SPECIAL = ("name", "classes", "category_ids", *CHANNEL_FACTS)
# Constants of the last lines of our sources, for which the file has its own.
_REPLACED = ("ARCHITECTURE", "NODES", "WEIGHTS")


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


def file_text(net: Architecture, form: Form, about: Mapping[str, Any]) -> str:
    """The text of a file that builds `net`.

    Raises:
        UserError: facts in `about` that do not fit the network.
    """
    code = _sources(net, form)
    weights = f'Path(__file__).with_name("{form.stem}.safetensors")' if form.trained else "None"
    constants = [*_constants(net, about), f"WEIGHTS: Path | None = {weights}"]
    texts = []
    for definition in code.definitions:
        if definition.name not in _REPLACED:
            texts.append(definition.text)
        # The network itself stands at the top, as soon as its records are known.
        if definition.name == type(net).__name__:
            texts.append("\n".join([*_described(net), "", *constants]))
    if "classes" in about:
        names = tuple_of([quoted(name) for name in class_names(net, about)])
        texts.append(assignment("CLASSES", names))
    if "category_ids" in about:
        ids = tuple_of([str(number) for number in category_ids(net, about)])
        texts.append(assignment("CATEGORY_IDS", ids))
    parts = [code.imports, *texts]
    return _docstring(net, form, about) + "\n\n" + "\n\n\n".join(parts) + "\n"


def _sources(net: Architecture, form: Form) -> Linked:
    """Our sources, without the blocks and activations that the network does not have."""
    detects = isinstance(net, Detector)
    entry = "scalesearch.exporters._entry" + ("_detector" if detects else "")
    starts = [(f"{entry}_folded" if form.fold else entry, "build")]
    backbone = net.backbone if isinstance(net, Detector) else net
    used = {
        "BLOCKS": {stage.block for stage in backbone.stages},
        "ACTIVATIONS": {net.activation, backbone.activation},
    }
    return link([*starts, (entry, "detect")] if detects else starts, used)


def _described(net: Architecture) -> Iterator[str]:
    yield assignment("ARCHITECTURE", literal(net))
    if isinstance(net, Detector):
        yield ""
        yield "# The fusions of one layer of the neck."
        yield assignment("NODES", nodes_literal(net.nodes))


def _constants(net: Architecture, about: Mapping[str, Any]) -> list[str]:
    size = [net.in_channels, *square(net)]
    lines = [f"INPUT_SIZE = ({', '.join(map(str, size))})  # channels, height, width"]
    for key in CHANNEL_FACTS:
        if key in about:
            numbers = channel_numbers(net, about, key)
            lines.append(assignment(key.upper(), tuple_of([repr(n) for n in numbers])))
    return lines


def _docstring(net: Architecture, form: Form, about: Mapping[str, Any]) -> str:
    stem = form.stem
    how = "for inference, batch norms folded" if form.fold else "in evaluation mode"
    if form.trained:
        call = f"build()  # {how}, with the weights"
        needs = f"torch, and safetensors for the weights in {stem}.safetensors beside it."
    else:
        call = f"build()  # {how}, freshly initialised"
        needs = "torch alone; it was exported without weights."
    lines = [
        prose(_title(net, about.get("name", stem)), used=3),
        "",
        *_facts(net, about),
        "",
        f"    from {stem} import build{', detect' if isinstance(net, Detector) else ''}",
        "",
        f"    model = {call}",
        *_use(net),
        "",
        f"This file needs {needs}",
        *_in_words(net, about),
        f"Written by scalesearch {scalesearch.__version__}, whose code it repeats (Apache-2.0).",
    ]
    return '"""' + "\n".join(lines) + '\n"""'


def _title(net: Architecture, name: object) -> str:
    if not isinstance(net, Detector):
        return f"Image classifier {name}: {net.depth} blocks in {len(net.stages)} stages."
    stages = f"{net.depth} blocks in {len(net.backbone.stages)} stages"
    return f"Object detector {name}: {stages}, neck {net.neck.label}, heads d{net.heads.depth}."


def _use(net: Architecture) -> list[str]:
    """The lines of the docstring that run the model."""
    size = ", ".join(map(str, (net.in_channels, *square(net))))
    if not isinstance(net, Detector):
        return [f"    logits = model(images)  # [N, {size}] to [N, {net.num_classes}]"]
    anchors = anchor_count(net, square(net))
    return [
        "    for boxes, scores, labels in detect(model, images):  # of each image, best first",
        "        ...  # [M, 4] as x0, y0, x1, y1 in pixels, [M], [M]",
        f"    logits, codes = model(images)  # [N, {size}] to [N, {anchors}, {net.num_classes}]",
        f"    # and [N, {anchors}, 4]; images may have any height and width",
    ]


def _in_words(net: Architecture, about: Mapping[str, Any]) -> Iterator[str]:
    """What the constants mean."""
    if "mean" in about:
        yield "MEAN and STD are for images on the scale 0 to 1: subtract, then divide, by channel."
    if "classes" in about:
        detects = isinstance(net, Detector)
        yield f"The {'labels' if detects else 'logits'} are in the order of CLASSES."
    if "category_ids" in about:
        yield "CATEGORY_IDS are the numbers of the classes, in this order, in the data set."


def _facts(net: Architecture, about: Mapping[str, Any]) -> Iterator[str]:
    """Lines of the docstring, a fact each."""
    found = counted(net, square(net))
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
