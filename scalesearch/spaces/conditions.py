"""The space of a confirmed grid: leaders and single dimensions, trained longer, scaled further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from scalesearch.arch.detector import Architecture
from scalesearch.interfaces import Choice
from scalesearch.spaces.listed import Listed

_Training = tuple[str, float, float, int]  # way, phi, length, repeat


@dataclass(frozen=True, kw_only=True)
class ConditionSpace(Listed[_Training]):
    """Each way to scale under each condition: the shortest and smallest first.

    Attributes:
        networks: by the way they were scaled in and their phi.
        lengths: what the epochs of a training are multiplied with.
        repeats: trainings of each.
    """

    noun: ClassVar[str] = "training of this confirmation"
    networks: Mapping[tuple[str, float], Architecture]
    lengths: tuple[float, ...]
    repeats: int

    @cached_property
    def _entries(self) -> Sequence[_Training]:
        return [
            (way, phi, length, repeat)
            for repeat in range(self.repeats)
            for length in sorted(self.lengths)
            for way, phi in self.networks
        ]

    def _parameters_of(self, entry: _Training) -> dict[str, Choice]:
        return dict(zip(("way", "phi", "length", "repeat"), entry, strict=True))

    def _network(self, entry: _Training) -> Architecture:
        return self.networks[entry[0], entry[1]]
