"""What every space can do with limits: count the networks within them, and draw such networks."""

from __future__ import annotations

import abc
from functools import cached_property
from typing import TYPE_CHECKING

from scalesearch.arch.detector import Architecture
from scalesearch.cost.cost import Workload
from scalesearch.cost.limits import Limit, Limits, check_limits

if TYPE_CHECKING:  # NumPy takes a tenth of a second, which no other use of a space needs
    import numpy as np

    from scalesearch.population.feasible import Count, FeasibleSet
    from scalesearch.population.tables import Tables

_DEFAULT = Workload()
_Key = tuple[Workload, tuple[tuple[str, Limit], ...]]


class Feasible(abc.ABC):
    """A space whose networks have rows: a position among the values of each slot."""

    @abc.abstractmethod
    def at(self, row: np.ndarray) -> Architecture:
        """The network of a row, int [slots]."""

    @abc.abstractmethod
    def _make_tables(self, workload: Workload) -> Tables:
        """What the networks cost, many at once."""

    def tables(self, workload: Workload = _DEFAULT) -> Tables:
        """What the networks cost, many at once: `tables().cost(rows)`. Made once and kept."""
        if workload not in self._tables:
            self._tables[workload] = self._make_tables(workload)
        return self._tables[workload]

    def count(self, limits: Limits, *, workload: Workload = _DEFAULT) -> Count:
        """How many networks are within limits, exactly or with an error.

        A limit on latency is left out: no arithmetic gives it.

        Args:
            limits: costs to their bounds, such as `{"flops": Limit(max=400e6)}`.
            workload: what memory is counted for.

        Raises:
            UserError: a limit on something that is not a cost.
        """
        return self.within(limits, workload).count()

    def feasible(
        self, limits: Limits, n: int, seed: int, *, workload: Workload = _DEFAULT
    ) -> list[Architecture]:
        """`n` networks within limits, independent and each equally likely.

        The first draw prepares what all others of the same limits use.

        Raises:
            UserError: nothing is within the limits (the closest network is named), or they leave
                too little of what can be drawn.
        """
        return [self.at(row) for row in self.within(limits, workload).draw(n, seed)]

    def within(self, limits: Limits, workload: Workload = _DEFAULT) -> FeasibleSet:
        """The feasible set, whose networks are rows of `tables`."""
        check_limits(limits)
        key = workload, tuple(sorted(limits.items(), key=lambda item: item[0]))
        if key not in self._sets:
            from scalesearch.population.feasible import FeasibleSet

            self._sets.clear()  # one phase has one set of limits, and a set is large
            self._sets[key] = FeasibleSet.make(self.tables(workload), limits)
        return self._sets[key]

    @cached_property
    def _tables(self) -> dict[Workload, Tables]:
        return {}

    @cached_property
    def _sets(self) -> dict[_Key, FeasibleSet]:
        return {}
