"""An architecture to and from plain dicts (the shape of its YAML), and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.detector import Anchors, Architecture, Detector, Heads
from scalesearch.arch.factory import Factory
from scalesearch.arch.neck import Neck
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.arch.table_row import TableRow
from scalesearch.errors import UserError, nearest

Plain = dict[str, Any]

# What is described on its own, of a network and of a detector.
_PARTS: dict[type, dict[str, type]] = {
    Backbone: {"stem": Stem, "head": Head},
    Detector: {"neck": Neck, "heads": Heads, "anchors": Anchors},
}
# Of a classifier, so that a detector's backbone has none.
CLASSIFYING = ("head", "num_classes")
# A detector takes them for its backbone.
_PASSED_ON = ("resolution", "in_channels", "padding")


def to_plain(net: Architecture | TableRow) -> Plain:
    """Every field of the network as dicts, lists, numbers and words, in the order of YAML files."""
    if isinstance(net, TableRow):
        return net.to_plain()
    if isinstance(net, Backbone):
        return _plain_backbone(net)
    if isinstance(net, Factory):
        return _fields(net)
    backbone = _plain_backbone(net.backbone)
    parts: Plain = {
        "backbone": {key: value for key, value in backbone.items() if key not in CLASSIFYING},
        "neck": _fields(net.neck),
        "heads": _fields(net.heads),
        "anchors": _fields(net.anchors),
    }
    parts["anchors"]["ratios"] = [list(shape) for shape in net.anchors.shapes]
    return {key: value for key, value in _fields(net).items() if key not in parts} | parts


def from_plain(plain: Mapping[str, Any]) -> Architecture:
    """The network that a plain dict describes: a detector if it has a backbone.

    With a factory it is the network that this builds.

    Raises:
        UserError: an unknown or missing key, or a value outside its range.
    """
    if "factory" in plain:
        built: Factory = make(Factory, plain, "")
        return built
    if "backbone" not in plain:
        return _backbone_from(plain)
    values = dict(plain)
    for key, kind in _PARTS[Detector].items():
        if key in values:
            values[key] = make(kind, values[key], key)
    values["backbone"] = _bare_backbone(values["backbone"])
    detector: Detector = make(Detector, values, "")
    return detector


def replaced(net: Architecture, fields: Mapping[str, Any]) -> Architecture:
    """A network with some fields replaced, of its parts by mappings of some of theirs.

    Of a detector, `resolution`, `in_channels` and `padding` are its backbone's.

    Raises:
        UserError: an unknown field, or a value outside its range.
    """
    plain = dict(fields)
    if isinstance(net, Detector):
        passed = {key: plain.pop(key) for key in _PASSED_ON if key in plain}
        given = plain.get("backbone", {})
        if isinstance(given, Mapping):
            plain["backbone"] = _replaced_backbone(net.backbone, {**passed, **given})
        elif passed:
            named = ", ".join(passed)
            raise UserError(f"{named} and a whole backbone are given", key="backbone")
    plain = _fields(net) | plain
    for key, kind in _PARTS.get(type(net), {}).items():
        if isinstance(plain[key], Mapping):
            plain[key] = make(kind, _fields(getattr(net, key)) | plain[key], key)
        elif not isinstance(plain[key], kind):
            problem = f"{plain[key]!r} cannot be a {key}"
            raise UserError(problem, key=key, allowed="key: value pairs")
    network: Architecture = make(type(net), plain, "")
    return network


def _replaced_backbone(backbone: Backbone, fields: Mapping[str, Any]) -> Architecture:
    check_bare(fields)
    try:
        return replaced(backbone, fields)
    except UserError as error:
        raise error.at(under="" if error.key in _PASSED_ON else "backbone") from None


def _bare_backbone(plain: object) -> Backbone:
    if not isinstance(plain, Mapping):
        raise UserError(f"{plain!r} is not a mapping", key="backbone", allowed="key: value pairs")
    check_bare(plain)
    try:
        return _backbone_from(plain)
    except UserError as error:
        raise error.at(under="backbone") from None


def check_bare(plain: Mapping[str, Any]) -> None:
    """Rejects what only a classifier has in the plain dict of a detector's backbone."""
    for key in CLASSIFYING:
        if key in plain:
            raise UserError(
                "a detector's backbone classifies no images",
                key=f"backbone.{key}",
                hint="leave it out" if key == "head" else "num_classes stands beside backbone",
            )


def _plain_backbone(backbone: Backbone) -> Plain:
    parts: Plain = {
        "stem": _fields(backbone.stem),
        "stages": [_stage_fields(stage) for stage in backbone.stages],
        "head": _fields(backbone.head),
    }
    scalars = {key: value for key, value in _fields(backbone).items() if key not in parts}
    return scalars | parts


def _backbone_from(plain: Mapping[str, Any]) -> Backbone:
    values = dict(plain)
    stages = values.pop("stages", None)
    if not isinstance(stages, list | tuple):
        raise UserError("a network needs a list of stages", key="stages")
    for key, kind in _PARTS[Backbone].items():
        if key in values:
            values[key] = make(kind, values[key], key)
    values["stages"] = tuple(make_stage(s, f"stages[{i}]") for i, s in enumerate(stages))
    backbone: Backbone = make(Backbone, values, "")
    return backbone


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


def digest(net: Architecture | TableRow) -> str:
    """The identity of a network: 16 hexadecimal digits over all of its fields."""
    text = json.dumps(to_plain(net), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fields(record: Any) -> Plain:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _stage_fields(stage: Stage) -> Plain:
    used = ("block", "width", "stride", *BLOCK_FIELDS[stage.block])
    return {key: value for key, value in _fields(stage).items() if key in used}
