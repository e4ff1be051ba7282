"""JSON Schemas of the two YAML files, for editors: `python -m scalesearch.study.jsonschema FOLDER`.

They know the options of the plug-ins that ship; `package.module:Name` of one's own takes any.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from scalesearch import plugins
from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Head, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.neck import FUSIONS, Neck
from scalesearch.arch.plain import CLASSIFYING
from scalesearch.arch.published import names as published_names
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.cost.cost import UNITS
from scalesearch.files.write import write_text
from scalesearch.history.stopping import Stopping
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.study.detection import (
    DetectionSearch,
    DetectionStudy,
    DetectorFamily,
    DetectorGrid,
)
from scalesearch.study.options import adapter
from scalesearch.study.schema import Family, Grid, Latency, Search, Study

Schema = dict[str, Any]

_ABOUT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
_AMOUNT = {
    "type": ["number", "string"],
    "description": "such as 400M, 1.2G; bytes: 64MiB, 2GB; seconds: 20ms, 1.5s",
}
_OWN = {"type": "string", "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"}
# Fields of a network whose words are listed in `arch/`.
_WORDS = {
    "activation": ACTIVATIONS,
    "padding": PADDINGS,
    "block": tuple(BLOCK_FIELDS),
    "fusion": FUSIONS,
}
# Fields of a network that the data set decides: no choices.
_SINGLE = ("in_channels", "num_classes")


def study_schema() -> Schema:
    """The schema of a study file: of detectors where its task says so, else of classifiers."""
    phases: dict[str, type[BaseModel]] = {"search": Search, "grid": Grid, "family": Family}
    classifiers = _study(Study, phases, {"coefficients": _or_file(_record(Coefficients))})
    phases = {"search": DetectionSearch, "grid": DetectorGrid, "family": DetectorFamily}
    forms = {
        "anchors": {"anyOf": [{"const": "auto"}, _record(Anchors)]},
        "coefficients": _or_file(_record(DetectorCoefficients)),
    }
    detectors = _study(DetectionStudy, phases, forms)
    detecting = {"properties": {"task": {"const": "detection"}}, "required": ["task"]}
    title = {"title": "A study of scalesearch", "type": "object"}
    return _ABOUT | title | {"if": detecting, "then": detectors, "else": classifiers}


def _study(
    kind: type[Study], phases: Mapping[str, type[BaseModel]], forms: Mapping[str, Schema]
) -> Schema:
    shared = {
        "dataset": _named("datasets"),
        "evaluator": _named("evaluators"),
        "baseline": _baseline(kind),
        "execution": _execution(),
        "export": {"type": "array", "items": _named("exporters")},
    }
    phase_forms = {
        "sampler": _named("samplers"),
        "limits": _limits(),
        "objective": _objective(),
        "stopping": _record(Stopping),
        "evaluator": _named("evaluators", partly=True),
    }
    models: dict[str, type[BaseModel]] = {**phases, "latency": Latency}
    sections = {name: _section(model, phase_forms) for name, model in models.items()}
    either = [{"required": ["search"]}, {"required": ["baseline"]}]
    return _section(kind, {**shared, **forms, **sections}) | {"oneOf": either}


def _or_file(record: Schema) -> Schema:
    return {"anyOf": [{"type": "string"}, record]}


def space_schema() -> Schema:
    """The schema of a search space: any field may be a list of choices; with a backbone it is one
    of detectors.
    """
    options = {"type": "array", "minItems": 1, "items": _record(Stage)}
    stage = {"anyOf": [_closed({"options": options}, ["options"]), _choices(Stage)]}
    stages = {"stages": {"type": "array", "minItems": 1, "items": stage}}
    backbone = _space(Backbone, stages | {"stem": _choices(Stem), "head": _choices(Head)})
    bare = {key: value for key, value in backbone["properties"].items() if key not in CLASSIFYING}
    necks = {"type": "array", "minItems": 1, "items": _record(Neck)}
    shapes = _choices(Anchors)
    shapes["properties"]["ratios"] = _record(Anchors)["properties"]["ratios"]
    parts = {
        "backbone": _closed(bare, ["stages"]),
        "neck": {"anyOf": [_closed({"options": necks}, ["options"]), _choices(Neck)]},
        "heads": _choices(Heads),
        "anchors": shapes,
    }
    title = {"title": "A search space of scalesearch", "type": "object"}
    kinds = {"then": _space(Detector, parts), "else": backbone}
    return _ABOUT | title | {"if": {"required": ["backbone"]}} | kinds


def _space(kind: type[Any], parts: Mapping[str, Schema]) -> Schema:
    whole = _choices(kind)
    return _closed(whole["properties"] | dict(parts), whole["required"])


def format_schema(schema: Schema) -> str:
    """A schema as it stands in its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Writes `study.schema.json` and `space.schema.json` into a folder."""
    for name, schema in (("study", study_schema()), ("space", space_schema())):
        print(write_text(folder / f"{name}.schema.json", format_schema(schema)))


def _section(model: type[BaseModel], forms: Mapping[str, Schema]) -> Schema:
    """A section whose keys in `forms` are written otherwise than its fields tell."""
    schema = model.model_json_schema()
    properties = {key: forms.get(key, value) for key, value in schema["properties"].items()}
    # A phase's evaluator is the study's own where it says nothing.
    required = [key for key in schema.get("required", ()) if key != "evaluator"]
    return _closed(properties, required) | {"description": schema["description"]}


def _named(folder: str, partly: bool = False) -> Schema:
    """A plug-in of a folder: its name, or its name and options; `partly` for some options alone."""
    return {
        "anyOf": [{"enum": list(plugins.names(folder))}, _OWN, *_plugins(folder, partly=partly)]
    }


def _plugins(folder: str, key: str = "name", partly: bool = False) -> list[Schema]:
    forms = []
    for name in plugins.names(folder):
        options = _record(plugins.load(folder, name))
        needed = [] if partly else [key, *options["required"]]
        forms.append(options | _closed({key: {"const": name}} | options["properties"], needed))
    return [*forms, {"type": "object", "properties": {key: _OWN}, "required": [key]}]


def _execution() -> Schema:
    shared = {
        "deterministic": {"type": "boolean", "default": False},
        "timeout": {"type": ["number", "string", "null"], "description": "such as 90s, 10m, 1.5h"},
    }
    *shipped, own = (
        form | {"properties": form["properties"] | shared}
        for form in _plugins("executors", "executor")
    )
    # The executor may be left out: it follows from the number of workers.
    unnamed = [
        form | {"required": [k for k in form["required"] if k != "executor"]} for form in shipped
    ]
    return {"anyOf": [*unnamed, own]}


def _limits() -> Schema:
    bounds = _closed({"min": _AMOUNT, "max": _AMOUNT}, []) | {"minProperties": 1}
    return _closed(dict.fromkeys(UNITS, bounds), [])


def _objective() -> Schema:
    metric, costs = {"type": "string", "not": {"enum": list(UNITS)}}, {"enum": list(UNITS)}
    pair = {"type": "array", "prefixItems": [metric, costs], "minItems": 2, "maxItems": 2}
    reward = {"reward": metric, "exponent": {"type": "number", "default": -0.07}}
    weighed = _closed(reward | dict.fromkeys(UNITS, _AMOUNT), ["reward"])
    return {"anyOf": [metric, pair, weighed]}


def _baseline(kind: type[Study]) -> Schema:
    detectors = kind.network is Detector
    names = [name for name in published_names() if name.startswith("efficientdet") == detectors]
    sources = {
        "name": {"enum": names},
        "file": {"type": "string", "pattern": r"\.ya?ml$"},
        "factory": _OWN,
    }
    fields = dict(_record(kind.network)["properties"])
    if detectors:
        of_backbone = _record(Backbone)["properties"]
        fields |= {key: of_backbone[key] for key in ("resolution", "in_channels", "padding")}
        fields |= {"neck": _record(Neck), "heads": _record(Heads), "anchors": _record(Anchors)}
        del fields["backbone"]
    else:
        fields |= {"stem": _record(Stem), "head": _record(Head)}
        del fields["stages"]
    mappings = [_closed({key: value} | fields, [key]) for key, value in sources.items()]
    return {"anyOf": [*sources.values(), *mappings]}


def _record(kind: type[Any]) -> Schema:
    """A dataclass whose fields are written as they are."""
    schema = adapter(kind).json_schema()
    properties = {
        key: value | ({"enum": list(_WORDS[key])} if key in _WORDS else {})
        for key, value in schema.get("properties", {}).items()
    }
    return _closed(properties, schema.get("required", []))


def _choices(kind: type[Any]) -> Schema:
    """A dataclass each of whose fields is one value or a list of choices."""
    record = _record(kind)
    for key, value in record["properties"].items():
        if key not in _SINGLE:
            listed = {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}
            record["properties"][key] = {"anyOf": [value, listed]}
    return record


def _closed(properties: Mapping[str, Any], required: Sequence[str]) -> Schema:
    """A mapping with these keys and no other."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema"))
