"""The tables of a space: each part counted once for every state in which it can be reached.

What a part of a network (stem, stage, head) costs depends on what it is and on a small *state*
that the parts before hand it. So a pass over the parts that goes on from every different state
counts all networks of a space without going through them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.detector import Architecture
from scalesearch.arch.graph import Size
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import Part, walk_head, walk_stage, walk_stem
from scalesearch.cost.chain import added, first_setting
from scalesearch.cost.closed_form import logits_of, sums_of
from scalesearch.cost.cost import Workload
from scalesearch.cost.memory import Setting
from scalesearch.cost.sums import NOTHING, Sums
from scalesearch.errors import UserError
from scalesearch.population.tables import Level, Tables, too_large

ANY = Stage(width=1)  # a backbone has stages, but its numbers do not depend on them
_ORDER = {Stem: 0, Stage: 1, Head: 2}
_CHAIN = len(Sums._fields) - len(Sums._field_defaults)  # fields of sums without a neck
_MOST_PLACES = 1_000_000  # of a level's table: some twenty seconds


class Place(NamedTuple):
    """What the next part of a network has to know of those before it."""

    size: Size
    width: int
    setting: Setting
    in_channels: int
    num_classes: int


def of_slots(slots: Mapping[str, tuple[Any, ...]], workload: Workload) -> Tables:
    """The tables of every backbone that has one value from each slot.

    Args:
        slots: each field of `Backbone` to its values, with `stage1`, `stage2`, … for `stages`.
        workload: what memory is counted for.
    """
    names = list(slots)
    parts = [name for name in names if isinstance(slots[name][0], Stem | Stage | Head)]
    parts.sort(key=lambda name: _ORDER[type(slots[name][0])])  # stages keep their order
    numbers = [name for name in names if name not in parts]
    combined = product(*(slots[name] for name in numbers))
    networks = [Backbone(stages=(ANY,), **dict(zip(numbers, c, strict=True))) for c in combined]
    begun = [(NOTHING, begin(network, workload)) for network in networks]
    table, states = tabled([begun])
    levels = [make_level([names.index(name) for name in numbers], slots.values(), table)]
    for name in parts:
        follow: Callable[[Place, Any], Any] = _FOLLOW[type(slots[name][0])]
        check_size(name, len(states), len(slots[name]))
        table, states = tabled([[follow(s, value) for value in slots[name]] for s in states])
        levels.append(make_level([names.index(name)], slots.values(), table))
    return _tables([len(values) for values in slots.values()], levels, networks, workload)


def check_size(name: str, states: int, choices: int) -> None:
    """Refuses a table that would take minutes to make."""
    if states * choices > _MOST_PLACES:
        raise UserError(
            f"{choices:,} choices behind {states:,} states are too many to be counted",
            key=name,
            allowed=f"{_MOST_PLACES:,} in all",
            hint="list fewer widths or resolutions, or the stages you mean as `options`",
        )


def of_list(networks: Sequence[Architecture], workload: Workload) -> Tables:
    """The tables of networks that have no slots in common: one slot, whose values they are."""
    sides = [(network.resolution, network.resolution) for network in networks]
    pairs = zip(networks, sides, strict=True)
    table, _ = tabled([[(sums_of(net, size, workload), None) for net, size in pairs]])
    return _tables([len(networks)], [make_level([0], [networks], table)], networks, workload)


def _tables(
    sizes: Sequence[int], levels: Sequence[Level], first: Sequence[Architecture], workload: Workload
) -> Tables:
    images = np.array([n.in_channels * n.resolution**2 for n in first], np.int64)
    classes = np.array([logits_of(n) for n in first], np.int64)
    return Tables(tuple(sizes), tuple(levels), images, classes, workload)


def make_level(
    columns: Sequence[int], values: Iterable[Sequence[Any]], table: tuple[np.ndarray, np.ndarray]
) -> Level:
    """A level that reads some `columns` of the rows; `values` are those of every slot."""
    sizes = [len(each) for each in values]
    several = [column for column in columns if sizes[column] > 1]
    return Level(tuple(several), tuple(sizes[column] for column in several), *table)


def tabled(
    found: Sequence[Sequence[tuple[Sums, Hashable]]],
) -> tuple[tuple[np.ndarray, np.ndarray], list[Any]]:
    """What was found for each state and choice as arrays, and the states that follow."""
    positions: dict[Hashable, int] = {}
    after = [[positions.setdefault(state, len(positions)) for _, state in row] for row in found]
    try:
        sums = np.array([[sums for sums, _ in row] for row in found], np.int64)
    except OverflowError:
        raise too_large() from None
    return (_by_field(sums), np.array(after, np.intp)), list(positions)


def _by_field(sums: np.ndarray) -> np.ndarray:
    """Sums [states, choices, fields] as a level has them."""
    last = sums.shape[2] if sums[:, :, _CHAIN:].any() else _CHAIN
    return np.ascontiguousarray(np.moveaxis(sums[:, :, :last], 2, 0))


def begin(network: Backbone, workload: Workload) -> Place:
    """Where the stem of a network stands."""
    size, setting = (network.resolution, network.resolution), first_setting(network, workload)
    return Place(size, 0, setting, network.in_channels, network.num_classes)


def follow_stem(state: Place, stem: Stem) -> tuple[Sums, Place]:
    """What a stem adds, and the place behind it."""
    part, size = walk_stem(stem, state.in_channels, state.size)
    return _followed(state, (part,), size, stem.width)


def follow_stage(state: Place, stage: Stage) -> tuple[Sums, Place]:
    """What a stage adds behind a place, and the place behind it."""
    parts, size = walk_stage("stage", stage, state.width, state.size)
    # No block depends on how many there are: it is counted once for all depths of its stage.
    alike = tuple(part._replace(args=(_one_deep(stage), *part.args[1:])) for part in parts)
    return _followed(state, alike, size, stage.width)


@lru_cache(maxsize=10_000)
def _one_deep(stage: Stage) -> Stage:
    return replace(stage, depth=1)


def _head(state: Place, head: Head) -> tuple[Sums, None]:
    part = walk_head(head, state.num_classes, state.width, state.size)
    return added((part,), state.setting)[0], None


def _followed(state: Place, parts: tuple[Part, ...], size: Size, width: int) -> tuple[Sums, Place]:
    sums, setting = added(parts, state.setting)
    return sums, state._replace(size=size, width=width, setting=setting)


_FOLLOW: dict[type, Callable[..., Any]] = {Stem: follow_stem, Stage: follow_stage, Head: _head}
