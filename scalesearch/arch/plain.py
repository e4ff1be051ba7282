"""An architecture to and from plain dicts (the shape of its YAML), and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.errors import UserError, nearest

Plain = dict[str, Any]


def to_plain(backbone: Backbone) -> Plain:
    """Every field of the network as dicts, lists, numbers and words, in the order of YAML files."""
    parts: Plain = {
        "stem": _fields(backbone.stem),
        "stages": [_stage_fields(stage) for stage in backbone.stages],
        "head": _fields(backbone.head),
    }
    scalars = {key: value for key, value in _fields(backbone).items() if key not in parts}
    return scalars | parts


def from_plain(plain: Mapping[str, Any]) -> Backbone:
    """The network that a plain dict describes.

    Raises:
        UserError: an unknown or missing key, or a value outside its range.
    """
    values = dict(plain)
    stages = values.pop("stages", None)
    if not isinstance(stages, list | tuple):
        raise UserError("a network needs a list of stages", key="stages")
    for key, kind in (("stem", Stem), ("head", Head)):
        if key in values:
            values[key] = make(kind, values[key], key)
    values["stages"] = tuple(make_stage(s, f"stages[{i}]") for i, s in enumerate(stages))
    return make(Backbone, values, "")


def replaced(backbone: Backbone, fields: Mapping[str, Any]) -> Backbone:
    """A network with some fields replaced, of stem and head by mappings of some of theirs.

    Raises:
        UserError: an unknown field, or a value outside its range.
    """
    plain = _fields(backbone) | dict(fields)
    for key in ("stem", "head"):
        if isinstance(plain[key], Mapping):
            part = getattr(backbone, key)
            plain[key] = make(type(part), _fields(part) | plain[key], key)
        elif not isinstance(plain[key], type(getattr(backbone, key))):
            raise UserError(f"{plain[key]!r} is no {key}", key=key, allowed="key: value pairs")
    made: Backbone = make(Backbone, plain, "")
    return made


def make_stage(plain: Mapping[str, Any], key: str) -> Stage:
    """A stage from its fields; a field that its block does not read is a mistake, not ignored."""
    stage = make(Stage, plain, key)
    used = ("block", "width", "stride", *BLOCK_FIELDS[stage.block])
    for name in plain:
        if name not in used:
            raise UserError(
                f"the block {stage.block!r} has no {name!r}",
                key=f"{key}.{name}",
                allowed=", ".join(used),
            )
    return stage


def make(kind: type[Any], plain: Mapping[str, Any], key: str) -> Any:
    """A record of `kind` from a mapping, with mistakes named by their place below `key`."""
    if not isinstance(plain, Mapping):
        raise UserError(f"{plain!r} is not a mapping", key=key, allowed="key: value pairs")
    allowed = [field.name for field in fields(kind)]
    for name in plain:
        if name not in allowed:
            raise UserError(
                f"unknown key {name!r}",
                key=f"{key}.{name}".lstrip("."),
                allowed=", ".join(allowed),
                hint=nearest(str(name), allowed),
            )
    for field in fields(kind):
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and field.name not in plain:
            raise UserError(f"{field.name!r} is missing", key=key)
    try:
        return kind(**plain)
    except UserError as error:
        raise error.at(under=key) from None


def digest(backbone: Backbone) -> str:
    """The identity of a network: 16 hexadecimal digits over all of its fields."""
    text = json.dumps(to_plain(backbone), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fields(record: Any) -> Plain:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _stage_fields(stage: Stage) -> Plain:
    used = ("block", "width", "stride", *BLOCK_FIELDS[stage.block])
    return {key: value for key, value in _fields(stage).items() if key in used}
