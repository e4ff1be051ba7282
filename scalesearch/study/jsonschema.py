"""JSON Schemas of the two YAML files, for editors: `python -m scalesearch.study.jsonschema FOLDER`.

That of a study is pydantic's own of the models that read it. The forms in which a section may be
written, and a search space, stand here as pydantic models. Options are those of the plug-ins that
ship; `package.module:Name` of one's own takes any.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema, create_model

from scalesearch import plugins
from scalesearch.arch.backbone import ACTIVATIONS, PADDINGS, Backbone, Head, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.factory import LIBRARIES, Factory
from scalesearch.arch.neck import FUSIONS, Neck
from scalesearch.arch.plain import CLASSIFYING
from scalesearch.arch.published import names as published_names
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.cost.cost import COUNTED, UNITS
from scalesearch.files.results_table import Column
from scalesearch.files.write import write_text
from scalesearch.history.fidelity import Fidelity
from scalesearch.history.stopping import Stopping
from scalesearch.scaling.coefficients import Coefficients
from scalesearch.scaling.detector import DetectorCoefficients
from scalesearch.scaling.regularisation import GrowingRate

Schema = dict[str, Any]
Model = type[BaseModel]

_Amount = Annotated[
    float | str, Field(description="such as 400M, 1.2G; bytes: 64MiB, 2GB; seconds: 20ms, 1.5s")
]
_Duration = Annotated[float | str | None, Field(description="such as 90s, 10m, 1.5h")]
_Own = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
_Metric = Annotated[str, WithJsonSchema({"type": "string", "not": {"enum": list(UNITS)}})]
# Fields of a network whose words are listed in `arch/`.
_WORDS = {
    "activation": ACTIVATIONS,
    "padding": PADDINGS,
    "block": tuple(BLOCK_FIELDS),
    "fusion": FUSIONS,
}
# Fields of a network that the data set decides: no choices.
_SINGLE = ("in_channels", "num_classes")
_LINE = 100


class _Closed(BaseModel):
    """A mapping with these keys and no other."""

    model_config = ConfigDict(extra="forbid")


class _Bounds(_Closed):
    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    min: _Amount = 0
    max: _Amount = 0


def study_schema() -> Schema:
    """The schema of a study file: of detectors where its task says so, else of classifiers."""
    from scalesearch.study.detection import DetectionStudy
    from scalesearch.study.schema import Study

    detecting = {"properties": {"task": {"const": "detection"}}, "required": ["task"]}
    return _either(detecting, DetectionStudy, Study, "A study of scalesearch")


def space_schema() -> Schema:
    """The schema of a search space: any field may be a list of choices; with a backbone it is one
    of detectors.
    """
    parts = {
        "stages": (_some(_options(Stage) | _choices(Stage)), ...),
        "stem": (_choices(Stem), None),
        "head": (_choices(Head), None),
    }
    # Shapes of anchors are a list in every network: not one of choices.
    shapes = {"ratios": (get_type_hints(Anchors)["ratios"], None)}
    detector = _choices(
        Detector,
        {
            "backbone": (_choices(Backbone, parts, name="OfDetector", without=CLASSIFYING), ...),
            "neck": (_options(Neck) | _choices(Neck), None),
            "heads": (_choices(Heads), None),
            "anchors": (_choices(Anchors, shapes), None),
        },
    )
    kinds = detector, _choices(Backbone, parts)
    return _either({"required": ["backbone"]}, *kinds, "A search space of scalesearch")


def format_schema(schema: Schema) -> str:
    """A schema as it stands in its file; what fits on a line stands on one."""
    return _lines(schema, 0) + "\n"


def main(folder: Path) -> None:
    """Writes `study.schema.json` and `space.schema.json` into a folder."""
    for name, schema in (("study", study_schema()), ("space", space_schema())):
        print(write_text(folder / f"{name}.schema.json", format_schema(schema)))


def _lines(value: Any, depth: int) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if depth + len(text) <= _LINE or not isinstance(value, dict | list):
        return text
    inner = "\n" + " " * (depth + 1)
    if isinstance(value, list):
        return f"[{inner}{f',{inner}'.join(_lines(v, depth + 1) for v in value)}{inner[:-1]}]"
    pairs = (f"{json.dumps(key)}: {_lines(part, depth + 1)}" for key, part in value.items())
    return f"{{{inner}{f',{inner}'.join(pairs)}{inner[:-1]}}}"


def _either(condition: Schema, then: Model, other: Model, title: str) -> Schema:
    """The schema of two kinds of files; what both refer to stands once."""
    inputs = [(key, "validation", TypeAdapter(kind)) for key, kind in ((0, then), (1, other))]
    branches, shared = TypeAdapter.json_schemas(inputs)  # type: ignore[arg-type]
    return _bare(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "description": title,
            "type": "object",
            "if": condition,
            "then": branches[0, "validation"],
            "else": branches[1, "validation"],
            **shared,
        }
    )


def _bare(schema: Any) -> Any:
    """A schema without titles, which repeat its keys, and defaults in another form than YAML's."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _bare(part) for name, part in value.items()}
        if key in ("properties", "$defs")
        else _bare(value)
        for key, value in schema.items()
        if key != "title" and not (key == "default" and isinstance(value, dict))
    }


def _model(name: str, fields: Mapping[str, Any]) -> Any:
    """A mapping with these keys and no other: each a type and a default, or `...` for none."""
    return create_model(name, __base__=_Closed, **fields)


def _fields(kind: type[Any]) -> dict[str, Any]:
    """The fields of a dataclass as `create_model` takes them: type and default."""
    hints = get_type_hints(kind, include_extras=True)
    fields = {}
    for field in dataclasses.fields(kind):
        if not field.init or get_origin(hints[field.name]) is ClassVar:
            continue
        words = _WORDS.get(field.name)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        of_kind = hints[field.name] if words is None else Literal[words]
        fields[field.name] = (of_kind, ... if required else default)
    return fields


@cache
def _record(kind: Any) -> Any:
    """A dataclass whose fields are written as they are."""
    return _model(kind.__name__, _fields(kind))


def plugin(folder: str, *, partly: bool = False) -> Any:
    """A plug-in of a folder: its name, or its name and options; `partly` for some options alone."""
    names = plugins.names(folder)
    models = [_options_of(folder, name, "name", named=not partly) for name in names]
    return Union[(Literal[names], _Own, *models, _stranger("name"))]


def execution() -> Any:
    """The executor, which may be left out as it follows from the workers, and its options."""
    names = plugins.names("executors")
    models = [_options_of("executors", name, "executor", named=False) for name in names]
    return Union[(*models, _stranger("executor"))]


@cache
def _options_of(folder: str, name: str, key: str, *, named: bool) -> Any:
    """The options of a plug-in, and its name, which may be left out unless `named`."""
    fields = _fields(plugins.load(folder, name))
    if folder == "executors":
        fields |= {"deterministic": (bool, False), "timeout": (_Duration, None)}
        fields |= {"wait": (_Duration, None), "checkpoints": (str | None, None)}
        fields |= {"checkpoint_every": (Annotated[int, Field(ge=0)] | None, None)}
    elif not named:
        fields = {field: (kind, None) for field, (kind, _) in fields.items()}
    if presets := getattr(plugins.load(folder, name), "presets", None):
        fields["recipe"] = (Literal[tuple(presets)], "quick" if named else None)
    word = f"{name}_{folder}{'' if named else '_unnamed'}"
    return _model(word, {key: (Literal[name], ... if named else name), **fields})


@cache
def _stranger(key: str) -> Any:
    """A plug-in of one's own, with any options."""
    return create_model(f"own_{key}", **{key: (_Own, ...)})  # type: ignore[call-overload]


@cache
def limits() -> Any:
    """Costs to their bounds."""
    return _model("limits", dict.fromkeys(UNITS, (_Bounds, None)))


@cache
def objective() -> Any:
    """A metric, a metric weighed by a cost, or both as a pair."""
    keys: dict[str, Any] = {"reward": (_Metric, ...), "exponent": (float, -0.07)}
    reward = _model("reward", keys | dict.fromkeys(UNITS, (_Amount, 0)))
    return _Metric | tuple[_Metric, Literal[tuple(UNITS)]] | reward  # type: ignore[misc]


@cache
def baseline(*, detectors: bool) -> Any:
    """A name, a file, a factory, or one of them with fields to replace."""
    names = tuple(n for n in published_names() if n.startswith("efficientdet") == detectors)
    file = Annotated[str, Field(pattern=r"\.ya?ml$")]
    name: Any = Literal[names]
    if not detectors:
        name = name | Annotated[str, Field(pattern=r"^wrn_\d+_\d+$")]
    sources: dict[str, Any] = {"name": name, "file": file, "factory": _Own}
    alone = tuple(sources.values())  # without fields to replace
    backbone = _fields(Backbone)
    if detectors:
        fields = _fields(Detector)
        fields |= {name: backbone[name] for name in ("resolution", "in_channels", "padding")}
        parts: dict[str, Any] = {"neck": Neck, "heads": Heads, "anchors": Anchors}
    else:
        fields, parts = backbone, {"stem": Stem, "head": Head}
        sources |= dict.fromkeys(LIBRARIES, str)
        own = _fields(Factory)
        fields |= {name: own[name] for name in ("depth", "width")}
        fields["options"] = (dict[str, Any], None)
    fields |= {name: (_record(kind), None) for name, kind in parts.items()}
    fields |= {name: (form, None) for name, form in sources.items()}
    kept = {key: field for key, field in fields.items() if key not in ("backbone", "stages")}
    replaced = _model("detector_baseline" if detectors else "baseline", kept)
    one: Any = {"oneOf": [{"required": [name]} for name in sources]}
    return Union[(*alone, Annotated[replaced, Field(json_schema_extra=one)])]


@cache
def space() -> Any:
    """A file, or the columns of a table."""
    column = str | _record(Column)
    costs = _model("costs_of_a_table", dict.fromkeys(COUNTED, (column, None)))
    fields = {"table": (str, ...), "parameters": (_some(str), ...), "costs": (costs, None)}
    return str | _model("space_of_a_table", fields)


# What a section in several forms is written as, by the name that `schema.reads` gives.
FORMS: Mapping[str, Callable[[], Any]] = {
    **{folder: partial(plugin, folder) for folder in plugins.FOLDERS},
    "part of an evaluator": partial(plugin, "evaluators", partly=True),
    "execution": execution,
    "limits": limits,
    "objective": objective,
    "space": space,
    "stopping": lambda: _record(Stopping),
    "fidelity": lambda: _record(Fidelity),
    "rate": lambda: _record(GrowingRate),
    "baseline": partial(baseline, detectors=False),
    "baseline of detectors": partial(baseline, detectors=True),
    "coefficients": lambda: str | _record(Coefficients),
    "coefficients of detectors": lambda: str | _record(DetectorCoefficients),
    "anchors": lambda: Literal["auto"] | _record(Anchors),
}


def _options(kind: Any) -> Any:
    """Whole records to choose from."""
    listed = _some(_record(kind))
    return _model(f"{kind.__name__}_options", {"options": (listed, ...)})


def _choices(
    kind: Any,
    parts: Mapping[str, Any] = {},
    *,
    name: str = "",
    without: Collection[str] = (),
) -> Any:
    """A dataclass each of whose fields, but for `parts`, is one value or a list of choices."""
    fields: dict[str, Any] = {}
    for key, (of_kind, default) in _fields(kind).items():
        if key in parts:
            fields[key] = parts[key]
        elif key in _SINGLE:
            fields[key] = of_kind, default
        else:
            fields[key] = of_kind | _some(of_kind, uniqueItems=True), default
    chosen = {key: field for key, field in fields.items() if key not in without}
    return _model(f"{kind.__name__}_choices{name}", chosen)


def _some(kind: Any, **extra: Any) -> Any:
    return Annotated[list[kind], Field(min_length=1, json_schema_extra=extra or None)]


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema"))
