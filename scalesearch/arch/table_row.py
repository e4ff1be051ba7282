"""A network that is known by its row of a table alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalesearch.errors import UserError

Choice = int | float | str | bool


@dataclass(frozen=True, slots=True)
class TableRow:
    """A network that somebody else trained: it has choices and costs, and cannot be built.

    Attributes:
        parameters: name and choice of each, in the order of the table's space.
        costs: name and amount of each cost that columns of the table give, in its unit.
    """

    parameters: tuple[tuple[str, Choice], ...]
    costs: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TableRow:
        """The row that `to_plain` wrote.

        Raises:
            UserError: it is none.
        """
        pairs = []
        for key in ("parameters", "costs"):
            given = plain.get(key, {})
            if not isinstance(given, Mapping):
                raise UserError(f"{given!r} is not a mapping", key=key, allowed="key: value pairs")
            pairs.append(tuple(given.items()))
        return cls(*pairs)

    def to_plain(self) -> dict[str, Any]:
        """As it is written in YAML."""
        return {"parameters": dict(self.parameters), "costs": dict(self.costs)}
