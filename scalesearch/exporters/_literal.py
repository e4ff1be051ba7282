"""A description as the text of a Python expression that makes it."""

from __future__ import annotations

from typing import Any

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.neck import Node
from scalesearch.arch.plain import Plain, to_plain
from scalesearch.exporters._text import Group, Item, quoted, tuple_of

# The record that holds each part of an architecture in its literal.
_RECORDS = {
    "stem": "Stem",
    "head": "Head",
    "backbone": "Backbone",
    "neck": "Neck",
    "heads": "Heads",
    "anchors": "Anchors",
}


def literal(net: Architecture) -> Group:
    """`Backbone(...)` or `Detector(...)` with every field."""
    plain = to_plain(net)
    if not isinstance(net, Detector):
        return _call("Backbone", plain)
    # With what a detector's own plain form leaves out, as the exported records check nothing.
    return _call("Detector", plain | {"backbone": to_plain(net.backbone)})


def nodes_literal(nodes: tuple[Node, ...]) -> Group:
    """The table of a neck: a `Node(level, inputs)` for each fusion."""
    return tuple_of(
        [Group("Node(", (("", str(n.level)), ("", _item("", n.inputs)))) for n in nodes]
    )


def _call(name: str, plain: Plain) -> Group:
    return Group(f"{name}(", tuple((f"{key}=", _item(key, value)) for key, value in plain.items()))


def _item(key: str, value: Any) -> Item:
    if key == "stages":
        return tuple_of([_call("Stage", stage) for stage in value])
    if key in _RECORDS:
        return _call(_RECORDS[key], value)
    if isinstance(value, list | tuple):
        return tuple_of([_item("", inner) for inner in value])
    return quoted(value) if isinstance(value, str) else repr(value)
