"""The space of backbones that a file of `search_spaces/` describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.detector import Architecture
from scalesearch.arch.stage import Stage
from scalesearch.errors import UserError
from scalesearch.spaces import space as base
from scalesearch.spaces.slot import Slot, record_slot, scalar_slot, stage_slot

_RECORDS = {"stem": Stem, "head": Head}


@dataclass(frozen=True)
class BackboneSpace(base.Space):
    """Backbones whose fields are chosen from lists, or whole stages from `options`."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> BackboneSpace:
        """The space that a plain dict describes; `UserError` as of its base."""
        if "backbone" in plain:
            raise UserError(
                "this is a space of detectors",
                key="backbone",
                hint="a study with `task: detection` searches it",
            )
        base.check_keys(plain, Backbone)
        base.check_stages(plain)
        return cls.of_slots(backbone_slots(plain))

    def _make(self, parts: Mapping[str, Any]) -> Backbone:
        own = {name: value for name, value in parts.items() if not isinstance(value, Stage)}
        return Backbone(stages=base.stages_of(parts), **own)

    def _parts(self, architecture: Architecture) -> dict[str, Any]:
        if not isinstance(architecture, Backbone):
            raise UserError("a detector is not in this space", allowed="a network that classifies")
        return backbone_parts(architecture)


def backbone_slots(plain: Mapping[str, Any]) -> Iterator[Slot]:
    """A slot for each part of the network, in the order of the file; then those left out of it."""
    defaults = {field.name: field.default for field in fields(Backbone)}
    for key in [*plain, *(key for key in defaults if key not in plain)]:
        if key == "stages":
            for number, stage in enumerate(plain[key], 1):
                yield stage_slot(number, stage)
        elif key in _RECORDS:
            yield record_slot(key, _RECORDS[key], plain.get(key, {}), key)
        else:
            yield scalar_slot(key, plain.get(key, defaults[key]), partial(_check_scalar, key))


def backbone_parts(architecture: Backbone) -> dict[str, Any]:
    """Every part of a network by the name of its slot."""
    own = {field.name: getattr(architecture, field.name) for field in fields(Backbone)}
    stages = own.pop("stages")
    return own | {f"stage{number}": stage for number, stage in enumerate(stages, 1)}


def _check_scalar(key: str, value: Any) -> None:
    Backbone(stages=(Stage(width=8),), **{key: value})
