"""The space of a family: its members by strategy and phi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scalesearch.arch.detector import Architecture
from scalesearch.interfaces import Choice
from scalesearch.scaling.family import Member
from scalesearch.spaces.listed import Listed


@dataclass(frozen=True, kw_only=True)
class FamilySpace(Listed[Member]):
    """The members of one family; single dimensions may share a network with the compound one."""

    noun: ClassVar[str] = "member of this family"
    members: tuple[Member, ...]

    @property
    def _entries(self) -> tuple[Member, ...]:
        return self.members

    def _parameters_of(self, entry: Member) -> dict[str, Choice]:
        return {"strategy": entry.strategy, "phi": entry.phi}

    def _network(self, entry: Member) -> Architecture:
        return entry.architecture
