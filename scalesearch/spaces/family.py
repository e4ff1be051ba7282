"""The space of a family: its members by strategy and phi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scalesearch.arch.detector import Architecture
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice, Parameters
from scalesearch.scaling.family import Member
from scalesearch.spaces.listed import Listed


@dataclass(frozen=True, kw_only=True)
class FamilySpace(Listed):
    """The members of one family; single dimensions may share a network with the compound one."""

    members: tuple[Member, ...]

    @property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Strategies and phis, each once, in the order of the members."""
        return {
            "strategy": tuple(dict.fromkeys(member.strategy for member in self.members)),
            "phi": tuple(dict.fromkeys(member.phi for member in self.members)),
        }

    def decode(self, parameters: Parameters) -> Architecture:
        """The member's network; `UserError` if there is no such member."""
        for member in self.members:
            if _parameters(member) == dict(parameters):
                return member.architecture
        raise UserError(f"{dict(parameters)} is not a member of this family")

    def encode(self, architecture: Architecture) -> dict[str, Choice]:
        """The first member that is this network; `UserError` if none is."""
        for member in self.members:
            if member.architecture == architecture:
                return _parameters(member)
        raise UserError("this architecture is not a member of the family")

    @property
    def _places(self) -> tuple[Member, ...]:
        return self.members

    def _named(self, place: Member) -> dict[str, Choice]:
        return _parameters(place)

    def _network(self, place: Member) -> Architecture:
        return place.architecture


def _parameters(member: Member) -> dict[str, Choice]:
    return {"strategy": member.strategy, "phi": member.phi}
