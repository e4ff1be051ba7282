"""Spaces given as a list of points: those of coefficients, and of a family's members."""

from __future__ import annotations

import abc
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from scalesearch.arch.detector import Architecture
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.interfaces import Choice, Parameters
from scalesearch.scaling.detector import Scaling
from scalesearch.scaling.scale import scale
from scalesearch.spaces.feasible import Feasible

if TYPE_CHECKING:
    import numpy as np

    from scalesearch.population.tables import Tables

Entry = TypeVar("Entry")
Coefficient = TypeVar("Coefficient", bound=Scaling)


class Listed(Feasible, Generic[Entry]):
    """A space of listed entries, each with a network; rounding may give two the same network.

    Attributes:
        noun: what an entry is called in messages.
    """

    noun: ClassVar[str]

    @property
    def choices_hint(self) -> str:
        """Which entries there are, in messages."""
        return ""

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    @property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Each parameter's values, each once, in the order of the entries."""
        points = list(self.points())
        return {name: tuple(dict.fromkeys(point[name] for point in points)) for name in points[0]}

    def decode(self, parameters: Parameters) -> Any:
        """The network of these parameters; `UserError` if no entry has them."""
        return self._network(self.entry(parameters))

    def encode(self, architecture: Architecture) -> dict[str, Choice]:
        """The parameters of the first entry with this network; `UserError` if there is none."""
        if architecture not in self._first_entries:
            raise UserError(f"no {self.noun} gives this network")
        return self._parameters_of(self._first_entries[architecture])

    def entry(self, parameters: Parameters) -> Entry:
        """The entry with these parameters; `UserError` if there is none."""
        position = self._positions.get(frozenset(parameters.items()))
        if position is None:
            problem = f"{dict(parameters)} is not a {self.noun}"
            raise UserError(problem, allowed=self.choices_hint)
        return self._entries[position]

    def at(self, row: np.ndarray) -> Any:
        """The network whose position in `points` is the row's one number."""
        return self._network(self._entries[row[0]])

    def sample(self, seed: int) -> Any:
        """The network of one entry, each equally likely, the same for the same seed."""
        return self._network(self._entries[random.Random(seed).randrange(self.size)])

    def points(self) -> Iterator[dict[str, Choice]]:
        """The parameters of every entry once, in the order of the list."""
        return map(self._parameters_of, self._entries)

    def locate(self, parameters: Parameters) -> tuple[int, ...]:
        """The row of these parameters; `UserError` if no entry has them."""
        self.entry(parameters)
        return (self._positions[frozenset(parameters.items())],)

    def chosen(self, rows: np.ndarray) -> np.ndarray:
        """For each row the position of every parameter's choice, int [n, parameters]."""
        return self._choices[rows[:, 0]]

    def nearest(self, parameters: Parameters) -> dict[str, Choice]:
        """The parameters of the entry that differs from these in the fewest; the first of them."""
        if frozenset(parameters.items()) in self._positions:
            return dict(parameters)
        wanted = [c.index(parameters[name]) for name, c in self.parameters.items()]
        position = int((self._choices != wanted).sum(axis=1).argmin())
        return self._parameters_of(self._entries[position])

    @property
    @abc.abstractmethod
    def _entries(self) -> Sequence[Entry]:
        """What is listed."""

    @abc.abstractmethod
    def _parameters_of(self, entry: Entry) -> dict[str, Choice]:
        """The parameters of an entry."""

    @abc.abstractmethod
    def _network(self, entry: Entry) -> Any:
        """The network of an entry."""

    @cached_property
    def _positions(self) -> Mapping[frozenset[tuple[str, Choice]], int]:
        entries = enumerate(self._entries)
        return {frozenset(self._parameters_of(entry).items()): n for n, entry in entries}

    @cached_property
    def _choices(self) -> np.ndarray:
        import numpy as np

        order = [{choice: n for n, choice in enumerate(c)} for c in self.parameters.values()]
        rows = [
            [positions[choice] for positions, choice in zip(order, point.values(), strict=True)]
            for point in self.points()
        ]
        return np.array(rows, np.intp).reshape(len(rows), len(order))

    @cached_property
    def _first_entries(self) -> Mapping[Architecture, Entry]:
        return {self._network(entry): entry for entry in reversed(self._entries)}

    def _make_tables(self, workload: Workload) -> Tables:
        from scalesearch.population.space_tables import of_list

        return of_list([self._network(entry) for entry in self._entries], workload)


@dataclass(frozen=True, kw_only=True)
class ListedCoefficients(Listed[Coefficient]):
    """Coefficients, each of which scales the baseline at `phi`."""

    baseline: Any
    phi: float = 1.0

    @cached_property
    def parameters(self) -> Mapping[str, tuple[Choice, ...]]:
        """Each coefficient's values, ascending."""
        return {name: tuple(sorted(values)) for name, values in super().parameters.items()}

    def coefficients(self, parameters: Parameters) -> Coefficient:
        """The coefficients of these parameters; `UserError` if the space does not have them."""
        return self.entry(parameters)

    def _parameters_of(self, entry: Coefficient) -> dict[str, Choice]:
        return asdict(entry)

    def _network(self, entry: Coefficient) -> Any:
        if entry not in self._networks:
            measure = getattr(self, "measure", None)  # of a grid whose budget is another cost
            self._networks[entry] = scale(self.baseline, entry, self.phi, measure)
        return self._networks[entry]

    @cached_property
    def _networks(self) -> dict[Coefficient, Any]:
        """Those that were made before: to realise one at its FLOPs takes a while."""
        return {}
