"""The tables of a space of detectors.

What a block of the backbone adds does not depend on the neck behind it. So a *place* in the
backbone (what the next block has to know) and an *outline* (what neck and heads have to know) are
followed side by side: each block is counted once for each place, each map that feeds the neck once
for both together, and neck and heads once for each outline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Anchors, Detector, Heads, taps
from scalesearch.arch.detector_walk import Frame, level_sizes
from scalesearch.arch.graph import Size
from scalesearch.arch.stage import Stage
from scalesearch.cost.cost import Workload
from scalesearch.cost.detector import ends
from scalesearch.cost.memory import Setting
from scalesearch.cost.neck import tap
from scalesearch.cost.sums import NOTHING, Sums, join
from scalesearch.population.states import (
    ANY,
    Place,
    begin,
    check_size,
    follow_stage,
    follow_stem,
    make_level,
    tabled,
)
from scalesearch.population.tables import Tables, too_large

_OF_BACKBONE = "backbone."
_OWN = {field.name for field in fields(Detector)}
_HALF = 2**62  # the sum of two such is what int64 holds
_ENDS = ("heads", "anchors")  # nothing before the heads depends on them
Table = tuple[np.ndarray, np.ndarray]  # of a level: its sums, and the states behind it


class Outline(NamedTuple):
    """What neck and heads have to know of what was chosen before them.

    Attributes:
        frame, depth: of the neck.
        num_classes: of objects.
        sizes: of the neck's levels.
        setting: its batches, bytes and padding.
        narrow: for each map of the backbone so far, whether it is as wide as the neck.
    """

    frame: Frame
    depth: int
    num_classes: int
    sizes: tuple[Size, ...]
    setting: Setting
    narrow: tuple[bool, ...] = ()


# What decides over all that follows; no place matters behind the last map that feeds the neck.
State = tuple[Outline, Place | None]


def of_detector_slots(slots: Mapping[str, tuple[Any, ...]], workload: Workload) -> Tables:
    """The tables of every detector that has one value from each slot.

    Args:
        slots: each field of `Detector` and of its backbone to its values, with `stage1`, `stage2`,
            … for the stages; a field of the backbone that a detector has too is
            `backbone.activation`. All values of one stage have one stride.
        workload: what memory is counted for.
    """
    names = list(slots)
    stages = [name for name in names if isinstance(slots[name][0], Stage)]
    rest = [name for name in names if name not in (*stages, "stem", *_ENDS)]
    first = Backbone(stages=tuple(slots[name][0] for name in stages), stem=slots["stem"][0])
    fed = {stages[index]: level for level, index in taps(first).items()}
    check_size("neck", 1, math.prod(len(slots[name]) for name in rest))
    combined = product(*(slots[name] for name in rest))
    chosen = [dict(zip(rest, values, strict=True)) for values in combined]
    backbones = [_backbone(values) for values in chosen]
    pairs = zip(chosen, backbones, strict=True)
    table, states = tabled([[(NOTHING, _begin(*pair, workload)) for pair in pairs]])
    levels = [make_level([names.index(name) for name in rest], slots.values(), table)]
    for name in ["stem", *stages]:
        check_size(name, len(states), len(slots[name]))
        table, states = _of_backbone(states, slots[name])
        if name in fed:
            table, states = _fed(table, states, fed[name], max(fed.values()))
        levels.append(make_level([names.index(name)], slots.values(), table))
    table = _of_ends(states, list(product(*(slots[name] for name in _ENDS))))
    levels.append(make_level([names.index(name) for name in _ENDS], slots.values(), table))
    images = np.array([b.in_channels * b.resolution**2 for b in backbones], np.int64)
    sizes = tuple(len(values) for values in slots.values())
    return Tables(sizes, tuple(levels), images, np.zeros_like(images), workload)


def _backbone(values: Mapping[str, Any]) -> Backbone:
    """A backbone with these fields, and any stages."""
    own = {
        name.removeprefix(_OF_BACKBONE): value for name, value in values.items() if name not in _OWN
    }
    return Backbone(stages=(ANY,), **own)


def _begin(values: Mapping[str, Any], backbone: Backbone, workload: Workload) -> State:
    """What the stem and the neck behind it have to know."""
    neck, side = values["neck"], backbone.resolution
    own = (values[name] for name in ("activation", "norm", "norm_bias"))
    frame = Frame(neck.kind, neck.levels, neck.width, neck.fusion, *own)
    place = begin(backbone, workload)._replace(num_classes=0)
    setting = Setting(*place.setting[:5], in_place=False, drop_path=False)
    sizes = level_sizes(neck.levels, (side, side))
    return Outline(frame, neck.depth, values["num_classes"], sizes, setting), place


def _of_backbone(states: Sequence[State], values: Sequence[Any]) -> tuple[Table, list[State]]:
    """The table of a stem or a stage behind each state: counted once for each place."""
    follow: Callable[..., Any] = follow_stage if isinstance(values[0], Stage) else follow_stem
    position = {place: number for number, place in enumerate(dict.fromkeys(p for _, p in states))}
    (sums, after), places = tabled([[follow(place, v) for v in values] for place in position])
    at = np.array([position[place] for _, place in states])
    outlines = list(dict.fromkeys(outline for outline, _ in states))
    number = {outline: i for i, outline in enumerate(outlines)}
    pairs = np.array([number[o] for o, _ in states])[:, None] * len(places) + after[at]
    met, index = np.unique(pairs, return_inverse=True)
    made = [(outlines[p // len(places)], places[p % len(places)]) for p in met.tolist()]
    return (sums[:, at], index.reshape(pairs.shape)), made


def _fed(
    table: Table, states: Sequence[State], level: int, highest: int
) -> tuple[Table, list[State]]:
    """The table of a stage with what its map is to each neck that it feeds."""
    (more, onward), made = tabled([[_tapped(state, level, highest)] for state in states])
    sums, after = table
    if max(sums.max(), more.max()) > _HALF:
        raise too_large()
    joined = join(Sums(*sums), Sums(*more[:, after, 0]), np.maximum)
    return (np.stack(np.broadcast_arrays(*joined)), onward[after, 0]), made


def _tapped(state: State, level: int, highest: int) -> tuple[Sums, State]:
    outline, place = state
    frame = outline.frame
    if place is None or level not in frame.levels:
        return NOTHING, state
    last = level == min(highest, frame.levels[-1])
    map_ = (place.width, place.size)
    sums, setting = tap(frame, len(outline.narrow), map_, outline.sizes, last, place.setting)
    outline = outline._replace(narrow=(*outline.narrow, place.width == frame.width))
    return sums, (outline, None if last else place._replace(setting=setting))


def _of_ends(states: Sequence[State], values: Sequence[tuple[Heads, Anchors]]) -> Table:
    """The table of neck, heads and loss."""
    check_size("heads", len(states), len(values))
    table, _ = tabled([[(_ends(outline, *v), None) for v in values] for outline, _ in states])
    return table


def _ends(outline: Outline, heads: Heads, anchors: Anchors) -> Sums:
    frame, depth, classes, sizes, setting, narrow = outline
    shape = (depth, heads.depth, classes * anchors.count, 4 * anchors.count)
    return ends(frame, shape, narrow, sizes, setting)
