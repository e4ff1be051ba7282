"""Spaces whose networks stand in a list: those of coefficients, and of a family's members."""

from __future__ import annotations

import abc
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from scalesearch.arch.detector import Architecture
from scalesearch.cost.cost import Workload
from scalesearch.interfaces import Choice
from scalesearch.spaces.feasible import Feasible

if TYPE_CHECKING:
    import numpy as np

    from scalesearch.population.tables import Tables


class Listed(Feasible):
    """A space that is gone through one by one; rounding may give two places one network."""

    @property
    def size(self) -> int:
        """How many places there are in the list."""
        return len(self._places)

    def at(self, row: np.ndarray) -> Any:
        """The network whose place in `points` is the row's one number."""
        return self._network(self._places[row[0]])

    def sample(self, seed: int) -> Any:
        """The network of one place, each equally likely, the same for the same seed."""
        return self._network(self._places[random.Random(seed).randrange(self.size)])

    def points(self) -> Iterator[dict[str, Choice]]:
        """The parameters of every place once, in the order of the list."""
        return map(self._named, self._places)

    @property
    @abc.abstractmethod
    def _places(self) -> Sequence[Any]:
        """What is listed."""

    @abc.abstractmethod
    def _named(self, place: Any) -> dict[str, Choice]:
        """The parameters of one of them."""

    @abc.abstractmethod
    def _network(self, place: Any) -> Architecture:
        """The network of one of them."""

    def _make_tables(self, workload: Workload) -> Tables:
        from scalesearch.population.space_tables import of_list

        return of_list([self._network(place) for place in self._places], workload)
