"""The text of an exported file: docstring, imports, our sources, the network's description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import scalesearch
from scalesearch.arch.factory import Factory
from scalesearch.exporters._export_task import ExportTask
from scalesearch.exporters._facts import CHANNEL_FACTS, Facts, checked, counted
from scalesearch.exporters._python_literals import assignment, literal, prose
from scalesearch.exporters._source_linker import link
from scalesearch.units import format_count

# What our own sources are written for: records with slots, `zip(strict=)`; `torch.fx.wrap`.
_LEAST = "Python 3.10 or newer and torch 2"
ENTRY_POINTS = "scalesearch.exporters._entry_points"
# Facts that become more than a line of the docstring.
_SPECIAL = ("name", "classes", "category_ids", *CHANNEL_FACTS)
_BUILD = '''\
def build({parameters}) -> {constructor}:
    """The network in evaluation mode, with `weights` as `load_weights` takes them.{more}"""
    model = {constructor}({constants}).eval()
    load_weights(model, weights)
    return {result}'''
_FOLDS = """

    Its batch norms are folded for inference. `folded=False` leaves them, to train the network on.
    """


@dataclass(frozen=True)
class FileOptions:
    """What kind of file it is.

    Attributes:
        stem: it is called `stem`.py.
        trained: it loads `stem`.safetensors.
        fold: it folds batch norms.
    """

    stem: str
    trained: bool
    fold: bool


def file_text(task: ExportTask, options: FileOptions, about: Mapping[str, Any]) -> str:
    """The text of a file that builds the network.

    Raises:
        UserError: facts in `about` that do not fit the network.
    """
    given = checked(task, about)
    starts = [(task.module, task.constructor), (ENTRY_POINTS, "load_weights")]
    starts += [(ENTRY_POINTS, name) for name in task.functions]
    starts += [("scalesearch.nn.fold", "fold")] * options.fold
    assert task.backbone is not None
    assert not isinstance(task.net, Factory)  # of which `_factory_file.py` writes
    # Without the blocks and activations that the network does not have.
    used = {
        "BLOCKS": {stage.block for stage in task.backbone.stages},
        "ACTIVATIONS": {task.net.activation, task.backbone.activation},
    }
    imports, definitions = link(starts, used)
    parts = [imports]
    for name, text in definitions.items():
        if name not in ("ARCHITECTURE", "WEIGHTS"):  # the file has its own
            parts.append(text)
        # The network itself stands at the top, as soon as its records are defined.
        if name == type(task.net).__name__:
            parts.append("\n".join(constants(task, options, given)))
    parts.append(_build(task, fold=options.fold))
    for key in ("classes", "category_ids"):
        if key in given:
            parts.append(assignment(key.upper(), literal(tuple(given[key]))))
    return docstring(task, options, given) + "\n\n" + "\n\n\n".join(parts) + "\n"


def constants(task: ExportTask, options: FileOptions, given: Facts) -> Iterator[str]:
    """The lines of a file's constants."""
    for name, description in task.constants.items():
        if name == "NODES":
            yield "# The fusions of one layer of the neck."
        yield assignment(name, literal(description))
        yield ""
    yield assignment("INPUT_SIZE", literal(task.image_shape)) + "  # channels, height, width"
    for key in CHANNEL_FACTS:
        if key in given:
            yield assignment(key.upper(), literal(tuple(given[key])))
    weights = f'Path(__file__).with_name("{options.stem}.safetensors")'
    yield f"WEIGHTS: Path | None = {weights if options.trained else None}"


def _build(task: ExportTask, *, fold: bool) -> str:
    folded = ", folded: bool = True" if fold else ""
    return _BUILD.format(
        parameters="weights: bool | str | Path | None = WEIGHTS" + folded,
        constructor=task.constructor,
        more=_FOLDS if fold else "",
        constants=", ".join(task.constants),
        result="fold(model) if folded else model" if fold else "model",
    )


def docstring(task: ExportTask, options: FileOptions, given: Facts, needs: str = _LEAST) -> str:
    """The docstring of a file, which `needs` some packages."""
    stem = options.stem
    how = "for inference, batch norms folded" if options.fold else "in evaluation mode"
    if options.trained:
        weights = "with the weights"
        origin = f"Its weights are in {stem}.safetensors beside it, which needs safetensors."
    else:
        weights = "freshly initialised"
        origin = "It was exported without weights."
    image, *outputs = (
        f"[N, {', '.join(map(str, shape))}]" for shape in (task.image_shape, *task.outputs.values())
    )
    lines = [
        prose(f"{task.kind} {given.get('name', stem)}: {task.summary}.", used=3),
        "",
        *_facts(task, given),
        "",
        f"    from {stem} import {', '.join(['build', *task.functions])}",
        "",
        f"    model = build()  # {how}, {weights}",
        f"    {', '.join(task.outputs)} = model(images)  # {image} to {' and '.join(outputs)}",
        *(f"    {line}" for line in task.usage),
        "",
        prose(f"This file needs {needs}."),
        origin,
    ]
    if "mean" in given:
        lines.append(
            "MEAN and STD are for images on the scale 0 to 1: subtract, then divide, by channel."
        )
    if "classes" in given:
        lines.append(f"The {task.class_order} are in the order of CLASSES.")
    if "category_ids" in given:
        lines.append("CATEGORY_IDS are the numbers of the classes, in this order, in the data set.")
    lines.append(
        f"Written by scalesearch {scalesearch.__version__}, whose code it repeats (Apache-2.0)."
    )
    return '"""' + "\n".join(lines) + '\n"""'


def _facts(task: ExportTask, given: Facts) -> Iterator[str]:
    """Lines of the docstring, a fact each."""
    counts = counted(task)
    ours = {
        "flops": f"{counts['flops']:,} multiply-adds ({format_count(counts['flops'])})",
        "parameters": f"{counts['params']:,}",
        "activations": f"{counts['activations']:,} values",
        "digest": counts["digest"],
    }
    theirs = {key: _in_words(value) for key, value in given.items() if key not in _SPECIAL}
    facts = ours | theirs | ours  # in this order, and what is counted here is never replaced
    column = 2 + min(24, max(map(len, facts)))
    for key, value in facts.items():
        yield (prose(f"{key}:").ljust(column) + prose(value, column, " " * column)).rstrip()


def _in_words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_in_words(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    return str(value)
