"""Spaces whose networks take one value from each of several slots, as files describe them."""

from __future__ import annotations

import abc
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scalesearch.arch.detector import Architecture
from scalesearch.arch.stage import Stage
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError, nearest
from scalesearch.files.strict import load_yaml
from scalesearch.interfaces import Choice, Parameters
from scalesearch.spaces.feasible import Feasible
from scalesearch.spaces.slot import Slot, scalar_slot

if TYPE_CHECKING:
    import numpy as np

    from scalesearch.population.tables import Tables

# The data set decides these, not the search.
FIXED = ("in_channels", "num_classes")
Own = TypeVar("Own", bound="Space")


@dataclass(frozen=True)
class Space(Feasible):
    """Networks whose fields are chosen from lists: backbones, or detectors.

    Parameters are named `stage1.kernel`, `stem.width`, `neck.width`, `resolution`; a part that is
    given as `options` is one parameter, such as `stage3`, whose choices are their labels.
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
        """The space that a plain dict describes: one of detectors if it has a backbone.

        Raises:
            UserError: a wrong key or value, an empty or repeated choice, or no choice at all.
        """
        from scalesearch.spaces.backbone import BackboneSpace
        from scalesearch.spaces.detector import DetectorSpace

        kind = DetectorSpace if "backbone" in plain else BackboneSpace
        return kind.from_plain(plain)

    @classmethod
    def of_slots(cls: type[Own], slots: Iterator[Slot]) -> Own:
        """The space of these slots; `UserError` if they leave one network."""
        space = cls(tuple(slots))
        if space.size == 1:
            raise UserError(
                "every field has one value: there is nothing to search",
                allowed="a list of choices for at least one field, such as kernel: [3, 5]",
                hint="to scale this one network, name its file as the study's `baseline:`",
            )
        return space

    def with_images(self: Own, in_channels: int, num_classes: int) -> Own:
        """The same space for other images: the data set decides these two, not the search."""
        values = {"in_channels": in_channels, "num_classes": num_classes}
        return self.with_slots(
            {key: scalar_slot(key, value, lambda _: None) for key, value in values.items()}
        )

    def with_slots(self: Own, slots: Mapping[str, Slot]) -> Own:
        """The same space with some slots in place of those of their names."""
        return type(self)(tuple(slots.get(slot.name, slot) for slot in self._slots))

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

    def decode(self, parameters: Parameters) -> Any:
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
        return self._make(parts)

    def encode(self, architecture: Architecture) -> dict[str, Choice]:
        """The canonical parameters of an architecture of this space.

        Raises:
            UserError: it is none of this space; the first part that differs is named.
        """
        chosen: dict[str, Choice] = {}
        for slot, value in zip(self._slots, self._values(architecture), strict=True):
            chosen |= zip(slot.parameters, slot.first[value], strict=True)
        return chosen

    def at(self, row: np.ndarray) -> Any:
        """The architecture of a row: for each of `slots` the position of its value."""
        parts = zip(self.slots.items(), row, strict=True)
        return self._make({name: values[position] for (name, values), position in parts})

    def row(self, architecture: Architecture) -> tuple[int, ...]:
        """The row of an architecture of this space; `UserError` as from `encode`."""
        values = zip(self._slots, self._values(architecture), strict=True)
        return tuple(slot.positions[value] for slot, value in values)

    def locate(self, parameters: Parameters) -> tuple[int, ...]:
        """The row of these parameters; `UserError` as from `decode`."""
        try:
            return tuple(
                slot.positions[slot.table[tuple(parameters[name] for name in slot.parameters)]]
                for slot in self._slots
            )
        except (KeyError, TypeError):
            raise _wrong(parameters, self.parameters) from None

    def chosen(self, rows: np.ndarray) -> np.ndarray:
        """For each row the position of every parameter's canonical choice, int [n, parameters]."""
        import numpy as np

        columns = (
            slot.choices[rows[:, number]]
            for number, slot in enumerate(self._slots)
            if slot.parameters
        )
        return np.concatenate([*columns], axis=1)

    def nearest(self, parameters: Parameters) -> dict[str, Choice]:
        """The same: every combination of choices is a network."""
        return dict(parameters)

    def sample(self, seed: int) -> Any:
        """One architecture, each equally likely, the same for the same seed."""
        draw = random.Random(seed)
        values = self.slots.items()
        return self._make({name: many[draw.randrange(len(many))] for name, many in values})

    def points(self) -> Iterator[dict[str, Choice]]:
        """The canonical parameters of every architecture once, the last one varying fastest."""
        names = tuple(self.parameters)
        for combination in product(*(slot.first.values() for slot in self._slots)):
            yield dict(zip(names, (c for chosen in combination for c in chosen), strict=True))

    def _make_tables(self, workload: Workload) -> Tables:
        from scalesearch.population.space_tables import of_slots

        return of_slots(self.slots, self._make, workload)

    @abc.abstractmethod
    def _make(self, parts: Mapping[str, Any]) -> Any:
        """The architecture with these parts, one for each slot."""

    @abc.abstractmethod
    def _parts(self, architecture: Architecture) -> dict[str, Any]:
        """Every part of an architecture by the name of its slot; `UserError` for another kind."""

    def _values(self, architecture: Architecture) -> list[Any]:
        """The value of each slot in an architecture of this space."""
        parts = self._parts(architecture)
        given, wanted = (sum(n.startswith("stage") for n in names) for names in (parts, self.slots))
        if given != wanted:
            raise UserError(
                f"a network of {given} stages is not in this space",
                key="stages",
                allowed=f"{wanted} stages",
            )
        for slot in self._slots:
            if parts[slot.name] not in slot.first:
                raise UserError(
                    f"{getattr(parts[slot.name], 'label', parts[slot.name])} is not in this space",
                    key=slot.name,
                    allowed=_some(slot.values),
                )
        return [parts[slot.name] for slot in self._slots]


def check_keys(plain: Mapping[str, Any], kind: type[Any], key: str = "") -> None:
    """Rejects keys that are not fields of `kind`, and choices of what the data set decides."""
    known = [field.name for field in fields(kind)]
    for name, value in plain.items():
        path = f"{key}.{name}".removeprefix(".")
        if name not in known:
            raise UserError(
                f"unknown key {name!r}",
                key=path,
                allowed=", ".join(known),
                hint=nearest(name, known),
            )
        if name in FIXED and isinstance(value, list):
            raise UserError(
                "the data set decides this, it cannot be searched", key=path, allowed="one number"
            )


def check_stages(plain: Mapping[str, Any], key: str = "stages") -> None:
    """Rejects a backbone without a list of stages."""
    stages = plain.get("stages")
    if not isinstance(stages, list) or not stages:
        raise UserError("a space needs a list of stages", key=key)


def stages_of(parts: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages among parts, in their order."""
    return tuple(value for value in parts.values() if isinstance(value, Stage))


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
            return UserError(
                f"{parameters[name]!r} is not a choice", key=name, allowed=_some(allowed)
            )
    raise AssertionError("parameters that fit every choice give an architecture")
