"""The networks that a table lists: those of another space, or some that cannot be built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from scalesearch.arch.table_row import TableRow
from scalesearch.cost.cost import Cost, Workload
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice, Space
from scalesearch.spaces.listed import Listed

if TYPE_CHECKING:
    from scalesearch.population.tables import Tables

_FEWEST = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool(Listed[tuple[Choice, ...]]):
    """Some networks, each a choice for every parameter.

    Attributes:
        choices_of: each parameter to its choices.
        networks: a choice for each parameter, in their order; no two alike.
        base: the space that the networks are of; None where they cannot be built.
        costs: of networks that cannot be built: name to an amount for each network.
    """

    noun: ClassVar[str] = "network of the table"
    choices_of: Mapping[str, tuple[Choice, ...]]
    networks: tuple[tuple[Choice, ...], ...]
    base: Space | None = None
    costs: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.networks) < _FEWEST:
            raise UserError(
                f"the table has {len(self.networks)} different networks of this space: there is "
                "nothing to search",
                allowed=f"at least {_FEWEST}",
            )

    def only(self, networks: Sequence[tuple[Choice, ...]]) -> Pool:
        """Some of the networks, with their costs."""
        position = {choices: number for number, choices in enumerate(self.networks)}
        costs = {
            name: [amounts[position[choices]] for choices in networks]
            for name, amounts in self.costs.items()
        }
        return replace(self, networks=tuple(networks), costs=costs)

    @property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Each parameter's choices."""
        return self.choices_of

    @cached_property
    def listed(self) -> frozenset[tuple[Choice, ...]]:
        """The networks, to look up whether one is there."""
        return frozenset(self.networks)

    @property
    def _entries(self) -> tuple[tuple[Choice, ...], ...]:
        return self.networks

    def _parameters_of(self, entry: tuple[Choice, ...]) -> dict[str, Choice]:
        return dict(zip(self.choices_of, entry, strict=True))

    def _network(self, entry: tuple[Choice, ...]) -> Any:
        parameters = self._parameters_of(entry)
        if self.base is not None:
            return self.base.decode(parameters)
        position = self._positions[frozenset(parameters.items())]
        costs = {name: amounts[position] for name, amounts in self.costs.items()}
        return TableRow(tuple(parameters.items()), tuple(costs.items()))

    @cached_property
    def _first_entries(self) -> Mapping[Any, tuple[Choice, ...]]:
        return {self._network(entry): entry for entry in reversed(self.networks)}

    def _make_tables(self, workload: Workload) -> Tables:
        import numpy as np

        from scalesearch.population.tables import ListTables

        if self.base is None:
            arrays = {name: np.asarray(each, np.int64) for name, each in self.costs.items()}
            costs = Cost.of_columns(arrays)
        else:
            rows = [self.base.locate(self._parameters_of(entry)) for entry in self.networks]
            costs = self.base.tables(workload).cost(np.array(rows, np.intp))
        return ListTables.of(len(self.networks), costs, workload)
