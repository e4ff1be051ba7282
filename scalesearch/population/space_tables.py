"""The tables of a space: a pass over its slots in forward order, from every state it can reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any, NamedTuple

from scalesearch.arch.detector import Architecture, Described, Detector
from scalesearch.arch.graph import Size
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import Prefix, end_cost, network_cost, stage_cost, stem_cost
from scalesearch.cost.composition import NOTHING, BlockCost
from scalesearch.cost.cost import Workload
from scalesearch.population.tables import Level, Tables, check_cells

# Fields that nothing before the head, or before neck and heads, depends on.
_CLASSIFIER_ENDS = ("head", "num_classes")
_DETECTOR_ENDS = tuple(field.name for field in fields(Detector) if field.name != "backbone")
Values = Mapping[str, Any]  # one value for each slot


class PrefixState(NamedTuple):
    """What the parts of a network behind have to know of those before them.

    Attributes:
        prefix: as the next block sees it.
        net: a network whose stem, stages and ends are the first ones of their slots.
    """

    prefix: Prefix
    net: Described

    @property
    def size(self) -> Size:
        """Of the image."""
        return self.net.resolution, self.net.resolution


Follow = Callable[[Any, Values], tuple[BlockCost, Hashable]]


def of_slots(
    slots: Mapping[str, tuple[Any, ...]], make: Callable[[Values], Described], workload: Workload
) -> Tables:
    """The tables of every network that has one value from each slot.

    Args:
        slots: each field of `Backbone`, or of `Detector` and of its backbone, to its values, with
            `stage1`, `stage2`, … for the stages; a field of the backbone that a detector has too
            is `backbone.activation`. All values of one stage of a detector have one stride.
        make: the network of one value for each slot.
        workload: what memory is counted for.
    """
    names, firsts = list(slots), {name: values[0] for name, values in slots.items()}
    stages = [name for name in names if isinstance(firsts[name], Stage)]
    ends = [n for n in names if n in (_DETECTOR_ENDS if "neck" in slots else _CLASSIFIER_ENDS)]
    if len({neck.levels for neck in slots.get("neck", ())}) > 1:
        ends.remove("neck")  # its levels say which maps are held, from the first stage on
    begins = [name for name in names if name not in ("stem", *stages, *ends)]

    def begin(state: None, values: Values) -> tuple[BlockCost, Hashable]:
        net = make({**firsts, **values})
        size = net.resolution, net.resolution
        return NOTHING, PrefixState(Prefix.of(net, size, workload), net)

    def stem(state: PrefixState, values: Values) -> tuple[BlockCost, Hashable]:
        cost, prefix = stem_cost(values["stem"], state.prefix)
        return cost, state._replace(prefix=prefix)

    def stage(state: PrefixState, values: Values) -> tuple[BlockCost, Hashable]:
        ((name, value),) = values.items()
        tapped = stages.index(name) in state.net.sources
        cost, prefix = stage_cost(value, state.prefix, tapped=tapped)
        return cost, state._replace(prefix=prefix)

    def end(state: PrefixState, values: Values) -> tuple[BlockCost, Hashable]:
        return end_cost(replace(state.net, **values), state.size, state.prefix), None

    steps: list[tuple[list[str], Follow]] = [(begins, begin), (["stem"], stem)]
    steps += [([name], stage) for name in stages]
    steps.append((ends, end))
    states: list[Any] = [None]
    levels, sizes = [], [len(values) for values in slots.values()]
    for read, follow in steps:
        longest = max(read, key=lambda name: len(slots[name]))
        check_cells(longest, len(states), math.prod(len(slots[name]) for name in read))
        choices = [
            dict(zip(read, values, strict=True)) for values in product(*(slots[n] for n in read))
        ]
        followed = [[follow(state, values) for values in choices] for state in states]
        level, states = Level.make([names.index(name) for name in read], sizes, followed)
        levels.append(level)
    return Tables(tuple(sizes), tuple(levels), workload)


def of_list(networks: Sequence[Architecture], workload: Workload) -> Tables:
    """The tables of networks that have no slots in common: one slot, whose values they are."""
    costs = [network_cost(n, (n.resolution, n.resolution), workload) for n in networks]
    level, _ = Level.make([0], [len(networks)], [[(cost, None) for cost in costs]])
    return Tables((len(networks),), (level,), workload)
