"""The space of backbones that a file of `search_spaces/` describes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError, nearest
from scalesearch.files.strict import load_yaml
from scalesearch.interfaces import Choice, Parameters
from scalesearch.spaces._feasible import Feasible
from scalesearch.spaces._slot import Slot, record_slot, scalar_slot, stage_slot

if TYPE_CHECKING:
    import numpy as np

    from scalesearch.population.tables import Tables

_RECORDS = {"stem": Stem, "head": Head}
# The data set decides these, not the search.
_FIXED = ("in_channels", "num_classes")


@dataclass(frozen=True)
class Space(Feasible):
    """Backbones whose fields are chosen from lists, or whole stages from `options`.

    Parameters are named `stage1.kernel`, `stem.width`, `resolution`; a stage with options is one
    parameter, `stage3`, whose choices are the labels of its stages.
    """

    _slots: tuple[Slot, ...]

    @classmethod
    def load(cls, path: Path | str) -> Space:
        """The space in a YAML file; a mistake in it is named with its line."""
        document = load_yaml(path)
        try:
            return cls.from_plain(document.plain)
        except UserError as error:
            raise document.locate(error) from None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Space:
        """The space that a plain dict describes.

        Raises:
            UserError: a wrong key or value, an empty or repeated choice, or no choice at all.
        """
        _check_keys(plain)
        space = cls(tuple(_slots(plain)))
        if space.size == 1:
            raise UserError(
                "every field has one value: there is nothing to search",
                allowed="a list of choices for at least one field, such as kernel: [3, 5]",
                hint="to scale this one network, name its file as the study's `baseline:`",
            )
        return space

    def with_images(self, in_channels: int, num_classes: int) -> Space:
        """The same space for other images: the data set decides these two, not the search."""
        values = {"in_channels": in_channels, "num_classes": num_classes}
        return Space(
            tuple(
                scalar_slot(slot.name, values[slot.name], partial(_check_scalar, slot.name))
                if slot.name in values
                else slot
                for slot in self._slots
            )
        )

    @cached_property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Each parameter's choices, in the order of the file."""
        return {name: choices for slot in self._slots for name, choices in slot.parameters.items()}

    @cached_property
    def slots(self) -> Mapping[str, tuple[Any, ...]]:
        """Each part (`stem`, `stage1`, …, `head`, `resolution`) to its different values."""
        return {slot.name: slot.values for slot in self._slots}

    @cached_property
    def size(self) -> int:
        """How many different architectures there are, exactly."""
        return math.prod(len(slot.first) for slot in self._slots)

    def decode(self, parameters: Parameters) -> Backbone:
        """The architecture of these parameters, one choice for each.

        Raises:
            UserError: a parameter is missing, unknown, or has no such choice.
        """
        try:
            parts = {
                slot.name: slot.table[tuple(parameters[name] for name in slot.parameters)]
                for slot in self._slots
            }
        except (KeyError, TypeError):
            parts = {}
        if not parts or len(parameters) != len(self.parameters):
            raise _wrong(parameters, self.parameters)
        return _backbone(parts)

    def encode(self, architecture: Backbone) -> dict[str, Choice]:
        """The canonical parameters of an architecture of this space.

        Raises:
            UserError: it is none of this space; the first part that differs is named.
        """
        chosen: dict[str, Choice] = {}
        for slot, value in zip(self._slots, self._values(architecture), strict=True):
            chosen |= zip(slot.parameters, slot.first[value], strict=True)
        return chosen

    def at(self, row: np.ndarray) -> Backbone:
        """The architecture of a row: for each of `slots` the position of its value."""
        parts = zip(self.slots.items(), row, strict=True)
        return _backbone({name: values[position] for (name, values), position in parts})

    def row(self, architecture: Backbone) -> tuple[int, ...]:
        """The row of an architecture of this space; `UserError` as from `encode`."""
        values = zip(self._slots, self._values(architecture), strict=True)
        return tuple(slot.positions[value] for slot, value in values)

    def sample(self, seed: int) -> Backbone:
        """One architecture, each equally likely, the same for the same seed."""
        draw = random.Random(seed)
        values = self.slots.items()
        return _backbone({name: many[draw.randrange(len(many))] for name, many in values})

    def points(self) -> Iterator[dict[str, Choice]]:
        """The canonical parameters of every architecture once, the last one varying fastest."""
        names = tuple(self.parameters)
        for combination in product(*(slot.first.values() for slot in self._slots)):
            yield dict(zip(names, (c for chosen in combination for c in chosen), strict=True))

    def _make_tables(self, workload: Workload) -> Tables:
        from scalesearch.population.states import of_slots

        return of_slots(self.slots, workload)

    def _values(self, architecture: Backbone) -> list[Any]:
        """The value of each slot in an architecture of this space."""
        parts = _parts(architecture)
        if len(parts) != len(self._slots):
            stages = sum(slot.name.startswith("stage") for slot in self._slots)
            raise UserError(
                f"a network of {len(architecture.stages)} stages is not in this space",
                key="stages",
                allowed=f"{stages} stages",
            )
        for slot in self._slots:
            if parts[slot.name] not in slot.first:
                raise UserError(
                    f"{getattr(parts[slot.name], 'label', parts[slot.name])} is not in this space",
                    key=slot.name,
                    allowed=_some(slot.values),
                )
        return [parts[slot.name] for slot in self._slots]


def _check_keys(plain: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(Backbone)]
    for key, value in plain.items():
        if key not in known:
            raise UserError(
                f"unknown key {key!r}",
                key=str(key),
                allowed=", ".join(known),
                hint=nearest(key, known),
            )
        if key in _FIXED and isinstance(value, list):
            raise UserError(
                "the data set decides this, it cannot be searched", key=key, allowed="one number"
            )
    stages = plain.get("stages")
    if not isinstance(stages, list) or not stages:
        raise UserError("a space needs a list of stages", key="stages")


def _slots(plain: Mapping[str, Any]) -> Iterator[Slot]:
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


def _check_scalar(key: str, value: Any) -> None:
    Backbone(stages=(Stage(width=8),), **{key: value})


def _backbone(parts: Mapping[str, Any]) -> Backbone:
    own = {name: value for name, value in parts.items() if not isinstance(value, Stage)}
    stages = tuple(value for value in parts.values() if isinstance(value, Stage))
    return Backbone(stages=stages, **own)


def _parts(architecture: Backbone) -> dict[str, Any]:
    """Every part of a network by the name of its slot."""
    own = {field.name: getattr(architecture, field.name) for field in fields(Backbone)}
    stages = own.pop("stages")
    return own | {f"stage{number}": stage for number, stage in enumerate(stages, 1)}


def _some(values: tuple[Any, ...], most: int = 6) -> str:
    words = [str(getattr(value, "label", value)) for value in values[:most]]
    return ", ".join(words) + (f" and {len(values) - most} more" if len(values) > most else "")


def _wrong(parameters: Parameters, choices: Mapping[str, tuple[Choice, ...]]) -> UserError:
    """The mistake in parameters that give no architecture."""
    for name in parameters:
        if name not in choices:
            return UserError(
                f"this space has no parameter {name!r}", key=name, hint=nearest(name, choices)
            )
    for name, allowed in choices.items():
        if name not in parameters:
            return UserError(f"the parameter {name!r} is missing", allowed=_some(allowed))
        if parameters[name] not in allowed:
            return UserError(f"{parameters[name]!r} is no choice", key=name, allowed=_some(allowed))
    raise AssertionError("parameters that fit every choice give an architecture")
