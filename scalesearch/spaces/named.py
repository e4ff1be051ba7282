"""Networks by their names: those that a search is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from scalesearch.arch.detector import Architecture
from scalesearch.interfaces import Choice
from scalesearch.spaces.listed import Listed


@dataclass(frozen=True, kw_only=True)
class NamedSpace(Listed[str]):
    """Some networks, each under a name."""

    noun: ClassVar[str] = "network to compare with"
    networks: Mapping[str, Architecture]

    @property
    def _entries(self) -> Sequence[str]:
        return tuple(self.networks)

    def _parameters_of(self, entry: str) -> dict[str, Choice]:
        return {"network": entry}

    def _network(self, entry: str) -> Architecture:
        return self.networks[entry]
