"""The text of an exported file whose network a factory builds: the call, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalesearch.arch.factory import LIBRARIES, Factory, arguments
from scalesearch.exporters._export_task import ExportTask
from scalesearch.exporters._facts import checked
from scalesearch.exporters._python_file import ENTRY_POINTS, FileOptions, constants, docstring
from scalesearch.exporters._python_literals import assignment, literal, quoted
from scalesearch.exporters._source_linker import link

_BUILD = '''\
def build(weights: bool | str | Path | None = WEIGHTS) -> nn.Module:
    """The network in evaluation mode, with `weights` as `load_weights` takes them."""
    model: nn.Module = {function}(**ARGUMENTS).eval()
    load_weights(model, weights)
    return model'''


def factory_text(task: ExportTask, options: FileOptions, about: Mapping[str, Any]) -> str:
    """The text of a file that calls the factory.

    A model of timm or torchvision needs that library, a factory of one's own its module; no file
    needs scalesearch.

    Raises:
        UserError: facts in `about` that do not fit the network.
    """
    net = task.net
    assert isinstance(net, Factory)
    given = checked(task, about)
    module, _, name = net.factory.partition(":")
    starts = [(ENTRY_POINTS, "load_weights")]
    if module in LIBRARIES:
        place, _, maker = LIBRARIES[module].partition(":")
        starts.append((place, maker))
        function = f"{maker}({quoted(name)})"
    else:
        function = "factory"
    imports, definitions = link(starts)
    if module not in LIBRARIES:
        imports += f"\n\nfrom {module} import {name} as factory"
    needed = [text for known_as, text in definitions.items() if known_as != "WEIGHTS"]
    head = [assignment("ARGUMENTS", literal(arguments(net))), *constants(task, options, given)]
    parts = [imports + "\n\n" + "\n".join(head), *needed, _BUILD.format(function=function)]
    if "classes" in given:
        parts.append(assignment("CLASSES", literal(tuple(given["classes"]))))
    needs = f"torch and {module}"
    if module not in LIBRARIES:
        needs += ": run it where that module can be imported, such as beside it"
    lines = docstring(task, options, given, needs=needs)
    return lines + "\n\n" + "\n\n\n".join(parts) + "\n"
