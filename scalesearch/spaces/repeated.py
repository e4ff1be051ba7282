"""The space of repeated trainings: candidates of a search, each several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from scalesearch.arch.detector import Architecture
from scalesearch.interfaces import Choice
from scalesearch.spaces.listed import Listed


@dataclass(frozen=True, kw_only=True)
class RepeatedSpace(Listed[tuple[int, int]]):
    """Every training of some candidates: the first of each, then the second of each, and so on.

    Attributes:
        networks: by their trial's number in the search.
        repeats: trainings of each.
    """

    noun: ClassVar[str] = "training of a candidate"
    networks: Mapping[int, Architecture]
    repeats: int

    @property
    def _entries(self) -> Sequence[tuple[int, int]]:
        return [(number, n) for n in range(1, self.repeats + 1) for number in self.networks]

    def _parameters_of(self, entry: tuple[int, int]) -> dict[str, Choice]:
        return {"candidate": entry[0], "repeat": entry[1]}

    def _network(self, entry: tuple[int, int]) -> Architecture:
        return self.networks[entry[0]]
