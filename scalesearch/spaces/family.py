"""The space of a family: its members by strategy and phi."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalesearch.arch.backbone import Backbone
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice, Parameters
from scalesearch.scaling.family import Member
from scalesearch.spaces._feasible import Feasible

if TYPE_CHECKING:
    import numpy as np

    from scalesearch.population.tables import Tables


@dataclass(frozen=True, kw_only=True)
class Space(Feasible):
    """The members of one family; single dimensions may share a network with the compound one."""

    members: tuple[Member, ...]

    @property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Strategies and phis, each once, in the order of the members."""
        return {
            "strategy": tuple(dict.fromkeys(member.strategy for member in self.members)),
            "phi": tuple(dict.fromkeys(member.phi for member in self.members)),
        }

    @property
    def size(self) -> int:
        """How many members there are."""
        return len(self.members)

    def decode(self, parameters: Parameters) -> Backbone:
        """The member's network; `UserError` if there is no such member."""
        for member in self.members:
            if _parameters(member) == dict(parameters):
                return member.architecture
        raise UserError(f"{dict(parameters)} is no member of this family")

    def encode(self, architecture: Backbone) -> dict[str, Choice]:
        """The first member that is this network; `UserError` if none is."""
        for member in self.members:
            if member.architecture == architecture:
                return _parameters(member)
        raise UserError("this architecture is no member of the family")

    def sample(self, seed: int) -> Backbone:
        """One member, each equally likely."""
        return random.Random(seed).choice(self.members).architecture

    def at(self, row: np.ndarray) -> Backbone:
        """The network of the member whose place among `members` is the row's one number."""
        return self.members[row[0]].architecture

    def points(self) -> Iterator[dict[str, Choice]]:
        """Strategy and phi of every member, in their order."""
        return map(_parameters, self.members)

    def _make_tables(self, workload: Workload) -> Tables:
        from scalesearch.population.states import of_list

        return of_list([member.architecture for member in self.members], workload)


def _parameters(member: Member) -> dict[str, Choice]:
    return {"strategy": member.strategy, "phi": member.phi}
