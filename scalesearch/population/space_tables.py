"""The tables of a space: a pass over its slots in forward order, from every state it can reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any, NamedTuple

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.blocks import Style
from scalesearch.arch.detector import Architecture, Detector, taps
from scalesearch.arch.graph import FeatureMap, Size
from scalesearch.arch.neck import Neck
from scalesearch.arch.pyramid import NeckConfig
from scalesearch.arch.stage import Stage
from scalesearch.cost.closed_form import network_cost
from scalesearch.cost.composition import (
    NOTHING,
    BlockCost,
    MemoryContext,
    Prefix,
    head_cost,
    join,
    stage_cost,
    stem_cost,
)
from scalesearch.cost.cost import Workload
from scalesearch.cost.detector_cost import Ends, ends_cost, held_map
from scalesearch.population.tables import Level, Tables, check_cells

_CLASSIFIER_ENDS = ("head", "num_classes")
_DETECTOR_ENDS = tuple(field.name for field in fields(Detector) if field.name != "backbone")
Values = Mapping[str, Any]  # one value for each slot that a level reads


class PrefixState(NamedTuple):
    """What the parts of a network behind have to know of those before them.

    Attributes:
        prefix: as the next block sees it.
        size: of the image.
        levels: of the pyramid that the neck of a detector has.
        taps: the backbone's maps that the neck takes, so far.
        neck: of a detector, where it is known before its backbone.
    """

    prefix: Prefix
    size: Size
    levels: range = range(0)
    taps: tuple[FeatureMap, ...] = ()
    neck: Neck | None = None


Follow = Callable[[PrefixState, Values], tuple[BlockCost, Hashable]]


def of_slots(slots: Mapping[str, tuple[Any, ...]], workload: Workload) -> Tables:
    """The tables of every network that has one value from each slot.

    Args:
        slots: each field of `Backbone`, or of `Detector` and of its backbone, to its values, with
            `stage1`, `stage2`, … for the stages; a field of the backbone that a detector has too
            is `backbone.activation`. All values of one stage of a detector have one stride.
        workload: what memory is counted for.
    """
    names, detects = list(slots), "neck" in slots
    stages = [name for name in names if isinstance(slots[name][0], Stage)]
    ends = [name for name in names if name in (_DETECTOR_ENDS if detects else _CLASSIFIER_ENDS)]
    if detects and len({neck.levels for neck in slots["neck"]}) > 1:
        ends.remove("neck")  # its levels say which maps are held, from the first stage on
    first = [name for name in names if name not in ("stem", *stages, *ends)]
    backbone = Backbone(stages=tuple(slots[n][0] for n in stages), stem=slots["stem"][0])
    level_of = {index: level for level, index in taps(backbone).items()}

    def begin(state: PrefixState, values: Values) -> tuple[BlockCost, Hashable]:
        return NOTHING, _begin(values, slots, workload)

    steps: list[tuple[str, list[str], Follow]] = [(first[0], first, begin)]
    steps.append(("stem", ["stem"], _follow_stem))
    for index, name in enumerate(stages):
        steps.append((name, [name], _stage_follower(name, level_of.get(index))))
    steps.append((ends[0], ends, _detector_end if detects else _classifier_end))

    states: list[Any] = [None]
    levels, sizes = [], [len(values) for values in slots.values()]
    for key, read, follow in steps:
        check_cells(key, len(states), math.prod(len(slots[name]) for name in read))
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


def _begin(values: Values, slots: Mapping[str, Any], workload: Workload) -> PrefixState:
    """The state before the stem; `values` are those of all slots but stem, stages and ends."""
    size, neck = (values["resolution"], values["resolution"]), values.get("neck")
    detects = "neck" in slots
    activation = values["backbone.activation" if detects else "activation"]
    prefix = Prefix(
        output=FeatureMap(values["in_channels"], size),
        style=Style(activation, values["padding"], values["drop_path"] > 0),
        context=MemoryContext.of(workload),
    )
    levels = (neck or slots["neck"][0]).levels if detects else range(0)
    return PrefixState(prefix, size, levels, neck=neck)


def _follow_stem(state: PrefixState, values: Values) -> tuple[BlockCost, Hashable]:
    cost, prefix = stem_cost(values["stem"], state.prefix)
    return cost, state._replace(prefix=prefix)


def _stage_follower(name: str, level: int | None) -> Follow:
    """What follows a stage whose output is the pyramid's `level`, if it has one."""

    def follow(state: PrefixState, values: Values) -> tuple[BlockCost, Hashable]:
        cost, prefix = stage_cost(values[name], state.prefix)
        if level not in state.levels:
            return cost, state._replace(prefix=prefix)
        cost = join(cost, held_map(prefix.output, prefix.context))
        taken = (*state.taps, prefix.output)
        return cost, state._replace(prefix=prefix.holding(), taps=taken)

    return follow


def _classifier_end(state: PrefixState, values: Values) -> tuple[BlockCost, Hashable]:
    return head_cost(values["head"], values["num_classes"], state.prefix), None


def _detector_end(state: PrefixState, values: Values) -> tuple[BlockCost, Hashable]:
    neck, anchors = values.get("neck", state.neck), values["anchors"]
    config = NeckConfig(
        kind=neck.kind,
        levels=neck.levels,
        width=neck.width,
        fusion=neck.fusion,
        activation=values["activation"],
        norm=values["norm"],
        norm_bias=values["norm_bias"],
        padding=state.prefix.style.padding,
    )
    ends = Ends(
        config=config,
        depth=neck.depth,
        head_depth=values["heads"].depth,
        class_channels=values["num_classes"] * anchors.count,
        box_channels=4 * anchors.count,
        size=state.size,
    )
    return ends_cost(ends, state.taps, state.prefix.context), None
