"""Networks of a space as a model sees them: which choices two of them share, and their costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np

from scalesearch.cost.cost import Workload
from scalesearch.population.tables import Rows, Tables

# Length over which networks stay alike, in units that grow with the number of parameters as
# distances between networks do.
_LENGTH = 2.0
# What `Encoding.similarities` compares, in its order.
KINDS = ("any", "choices", "order", "neighbours", "whole", "costs")
_COSTS = ("flops", "params", "activations", "inference_bytes")
_REFERENCE = 512  # networks that say how much similarities differ in a space
_FEW = 8  # parameters of which any two may act together
_EQUAL = 1e-9


class Described(Protocol):
    """What is read of a space: its parameters, and its networks as rows."""

    @property
    def parameters(self) -> Mapping[str, tuple[int | float | str | bool, ...]]:
        """Each parameter's choices."""

    def chosen(self, rows: Rows) -> np.ndarray:
        """For each row the position of every parameter's choice, int [n, parameters]."""

    def tables(self, workload: Workload) -> Tables:
        """What the networks cost."""


@dataclass(frozen=True, eq=False, slots=True)
class Points:
    """Networks, encoded in float32, which is twice as fast and exact enough.

    Attributes:
        choices: 1 for each choice that a network has, float [n, choices].
        order: of each ordered parameter the choice's place from -1 to 1, float [n, ordered].
        places: coordinates whose squared distance is 1 where an unordered choice differs, and the
            squared difference of places from 0 to 1 where an ordered one does, float [n, places].
        costs: logarithms with their products, standardised, float [n, terms].
    """

    choices: np.ndarray
    order: np.ndarray
    places: np.ndarray
    costs: np.ndarray

    def __len__(self) -> int:
        return len(self.choices)

    def __getitem__(self, index: np.ndarray | slice) -> Points:
        return Points(*(getattr(self, name)[index] for name in self.__slots__))

    @classmethod
    def join(cls, several: Sequence[Points]) -> Points:
        """All of them, in their order."""
        fields = ([getattr(each, name) for each in several] for name in cls.__slots__)
        return cls(*(np.concatenate(arrays) for arrays in fields))


@dataclass(frozen=True, eq=False)
class Encoding:
    """How the networks of one space are encoded and compared.

    Attributes:
        space: of the networks.
        workload: what memory is counted for.
    """

    space: Described
    workload: Workload

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters that have several choices."""
        return tuple(name for name, c in self.space.parameters.items() if len(c) > 1)

    def encode(self, rows: Rows) -> Points:
        """Networks of the space as a model sees them."""
        chosen = self.space.chosen(rows)[:, self._varied]
        ones = [np.eye(size)[column] for size, column in zip(self._sizes, chosen.T, strict=True)]
        place = (chosen / (np.array(self._sizes) - 1))[:, self._ordered]
        unordered = [o / 2**0.5 for o, is_o in zip(ones, self._ordered, strict=True) if not is_o]
        arrays = (
            np.concatenate(ones, axis=1),
            2 * place - 1,
            np.concatenate([*unordered, place], axis=1),
            self._terms(self._logarithms(rows)),
        )
        return Points(*(np.asarray(array, np.float32) for array in arrays))

    def similarities(self, some: Points, others: Points) -> np.ndarray:
        """How alike networks are in each of `KINDS`, float [kinds, some, others].

        Each kind is a covariance, scaled so that two networks drawn from the space differ by 1 in
        it on average.
        """
        return np.stack([*self._kinds(some, others, self._scales)])

    def covariance(self, weights: np.ndarray, some: Points, others: Points) -> np.ndarray:
        """The sum of the similarities by their weights, float [some, others]."""
        scaled = (weights * self._scales).astype(np.float32)
        total = np.zeros((len(some), len(others)), np.float32)
        for kind in self._kinds(some, others, scaled):
            total += kind
        return total

    def own(self, points: Points) -> np.ndarray:
        """How alike each network is with itself, float [kinds, points]."""
        return np.stack([*self._own(points)]) * self._scales[:, None]

    def _kinds(self, some: Points, others: Points, factors: np.ndarray) -> Iterator[np.ndarray]:
        """Each kind times its factor."""
        agree = [some.choices[:, s] @ others.choices[:, s].T for s in self._groups]
        shared: np.ndarray = np.sum(agree, axis=0)
        near = _squared_distances(some.places, others.places) / np.float32(-self._unit)
        yield np.full(shared.shape, factors[0], np.float32)
        yield factors[1] * shared
        yield (factors[2] * some.order) @ others.order.T
        yield factors[3] * self._pairs(agree, shared)
        yield factors[4] * np.exp(near / np.float32(_LENGTH))
        yield (factors[5] * some.costs) @ others.costs.T

    def _own(self, points: Points) -> Iterator[np.ndarray]:
        n = len(points)
        agree = [np.full(n, float(size)) for size in self._group_sizes]
        shared: np.ndarray = np.sum(agree, axis=0)
        yield np.ones(n)
        yield shared
        yield (points.order**2).sum(axis=1)
        yield self._pairs(agree, shared)
        yield np.ones(n)
        yield (points.costs**2).sum(axis=1)

    def _pairs(self, agree: Sequence[np.ndarray], shared: np.ndarray) -> np.ndarray:
        """In how many pairs of neighbouring parameters two networks agree.

        Neighbours are parameters of one part of a network and of the parts next to each other; in a
        space of few parameters all are.
        """
        if len(self._sizes) <= _FEW:
            return shared * (shared - 1) / 2
        pairs: np.ndarray = sum((a * (a - 1) / 2 for a in agree), np.zeros_like(shared))
        for one, next_one in pairwise(agree):
            pairs = pairs + one * next_one
        return pairs

    def _logarithms(self, rows: Rows) -> np.ndarray:
        known = self.space.tables(self.workload).cost(rows).known()
        logs = [np.log(np.maximum(known[name], 1)) for name in _COSTS if name in known]
        return np.stack(logs, axis=1) if logs else np.zeros((len(rows), 0))

    def _terms(self, logs: np.ndarray) -> np.ndarray:
        """Standardised logarithms, their squares, and products with the first of them."""
        mean, deviation = self._standard
        kept = deviation > _EQUAL
        x = (logs - mean)[:, kept] / deviation[kept]
        return np.concatenate([x, x**2 - 1, x[:, :1] * x[:, 1:]], axis=1)

    @cached_property
    def _varied(self) -> list[int]:
        return [n for n, c in enumerate(self.space.parameters.values()) if len(c) > 1]

    @cached_property
    def _sizes(self) -> list[int]:
        return [len(self.space.parameters[name]) for name in self.names]

    @cached_property
    def _ordered(self) -> np.ndarray:
        """Whether a parameter's choices are numbers that ascend or descend, bool [parameters]."""
        return np.array([_is_ordered(self.space.parameters[name]) for name in self.names], bool)

    @cached_property
    def _groups(self) -> list[slice]:
        """The columns of `choices` of each part of a network: `stage1`, `stage2`, …"""
        parts = [name.rpartition(".")[0] or name for name in self.names]
        ends = np.cumsum([0, *self._sizes]).tolist()
        starts = [n for n, part in enumerate(parts) if n == 0 or part != parts[n - 1]]
        return [
            slice(ends[start], ends[stop])
            for start, stop in zip(starts, [*starts[1:], len(parts)], strict=True)
        ]

    @cached_property
    def _group_sizes(self) -> list[int]:
        ends = np.cumsum([0, *self._sizes]).tolist()
        return [ends.index(s.stop) - ends.index(s.start) for s in self._groups]

    @cached_property
    def _unit(self) -> float:
        return max(1.0, len(self._sizes) / 6) ** 0.5

    @cached_property
    def _reference(self) -> Rows:
        return self.space.tables(self.workload).uniform(_REFERENCE, np.random.default_rng(0))

    @cached_property
    def _standard(self) -> tuple[np.ndarray, np.ndarray]:
        logs = self._logarithms(self._reference)
        return logs.mean(axis=0), logs.std(axis=0)

    @cached_property
    def _scales(self) -> np.ndarray:
        """What makes each kind 1 larger for a network with itself than with another, on average."""
        points = self.encode(self._reference)
        ones = np.ones(len(KINDS))
        own = np.array([each.mean() for each in self._own(points)])
        gain = own - np.array([each.mean() for each in self._kinds(points, points, ones)])
        return np.where(gain > _EQUAL, 1 / np.maximum(gain, _EQUAL), 1.0)


def _squared_distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, float [some, others]."""
    own = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    distances: np.ndarray = np.maximum(own - 2 * some @ others.T, 0)
    return distances


def _is_ordered(choices: Sequence[int | float | str | bool]) -> bool:
    """Whether choices are numbers that ascend or descend; two are as good in any order."""
    if any(isinstance(c, bool | str) for c in choices):
        return len(choices) == 2
    steps = np.diff(np.array(choices, float))
    return bool((steps > 0).all() or (steps < 0).all())
