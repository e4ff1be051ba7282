"""`scalesearch list`: what can be named on the command line and in a YAML file."""

from __future__ import annotations

import json
import textwrap

from scalesearch import plugins
from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS
from scalesearch.arch.neck import FUSIONS
from scalesearch.arch.published import families, published
from scalesearch.arch.stage import BLOCK_FIELDS
from scalesearch.cli.tables import console, print_table
from scalesearch.cost.cost import UNITS
from scalesearch.cost.counts import counts
from scalesearch.history.objective import METRICS
from scalesearch.scaling.family import DETECTOR_STRATEGIES
from scalesearch.scaling.strategies import STRATEGIES
from scalesearch.training.presets import CLASSIFICATION_PRESETS, DETECTION_PRESETS
from scalesearch.units import format_count

_COUNTS = ("params", "flops", "activations")


def show_names(as_json: bool) -> None:
    """Prints every published network with its costs, then the words of a study and a space."""
    networks = {
        family: {name: _facts(name) for name in names} for family, names in families().items()
    }
    if as_json:
        print(json.dumps({"networks": networks, "words": words()}, indent=2))
        return
    rows: list[tuple[object, ...]] = []
    ends = []
    for members in networks.values():
        rows += [
            (name, f["resolution"], *(format_count(f[key]) for key in _COUNTS))
            for name, f in members.items()
        ]
        ends.append(len(rows) - 1)
    print_table("published networks", ("network", "resolution", *_COUNTS), rows, ends=ends[:-1])
    print("any wrn_D_K with D = 6 n + 4, such as wrn_40_8, can be named; fields can be replaced:")
    print("  baseline: {name: resnet18, resolution: 64}")
    print('  ss.architecture("resnet18", resolution=64, num_classes=10, in_channels=1)')
    _print_words()


def _print_words() -> None:
    every, room = words(), console().width
    indent = 2 + max(map(len, every)) + 3
    print("\nwords of a study and a space")
    for key, names in every.items():
        line = f"  {key}".ljust(indent) + ", ".join(names)
        print(textwrap.fill(line, max(room, indent + 20), subsequent_indent=" " * indent))
    print("dataset, evaluator, sampler, executor, exporter, neck of your own: package.module:Name")
    print("search.space is a YAML file: a network whose fields may be lists of choices")


def words() -> dict[str, tuple[str, ...]]:
    """Key of a YAML file to the names that it takes."""
    return {
        "task": tuple(METRICS),
        "dataset": plugins.names("datasets"),
        "evaluator": plugins.names("evaluators"),
        "evaluator.recipe": tuple(dict.fromkeys((*CLASSIFICATION_PRESETS, *DETECTION_PRESETS))),
        "search.sampler": plugins.names("samplers"),
        "limits": tuple(UNITS),
        "family.strategies": tuple(dict.fromkeys((*STRATEGIES, *DETECTOR_STRATEGIES))),
        "execution.executor": plugins.names("executors"),
        "export": plugins.names("exporters"),
        "stages.block": tuple(BLOCK_FIELDS),
        "activation": ACTIVATIONS,
        "padding": PADDINGS,
        "neck.kind": plugins.names("necks"),
        "neck.fusion": FUSIONS,
    }


def _facts(name: str) -> dict[str, int]:
    net = published(name)
    counted = counts(net)._asdict()
    return {"resolution": net.resolution, **{key: counted[key] for key in _COUNTS}}
