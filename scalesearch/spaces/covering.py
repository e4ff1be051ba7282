"""The different blocks of a whole space, and networks chosen by their blocks.

A space is given by its slots: each part of a network (`stem`, `stage1`, …, `head`, `resolution`
and the other fields of a `Backbone`) to its different values. A block depends on its own stage and
on the width and size of its input, so one pass over the stages that keeps these sees every block of
the space without going through its networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.blocks import Style
from scalesearch.arch.graph import FeatureMap
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import Part, head_part, stage_parts, stem_part
from scalesearch.cost.latency_table import LatencyTable, entry_name

Slots = Mapping[str, Sequence[Any]]
# The value of a block, from its entry in a latency table and its repeats in a row.
Value = Callable[[str, int], float]

# Slots that every block depends on; of others that no latency depends on, any value will do.
_FRAME = ("in_channels", "resolution", "activation", "padding", "stem")


def entries_of(slots: Slots) -> tuple[str, ...]:
    """The entries that a latency table of the space has: each different block once."""
    entries: dict[str, None] = {}

    def note(entry: str, repeats: int) -> float:
        entries[entry] = None
        return 0.0

    best_network(slots, note)  # it looks at every block
    return tuple(entries)


def fastest(slots: Slots, table: LatencyTable) -> Backbone:
    """The network of the space with the least predicted latency."""
    return best_network(slots, lambda entry, repeats: -repeats * table.seconds[entry])


def best_network(slots: Slots, value: Value) -> Backbone:
    """The network of the space whose blocks have the largest total value; of equals the first."""
    rest = {name: values[0] for name, values in slots.items() if not _is_stage(name)}
    frames = (
        rest | dict(zip(_FRAME, chosen, strict=True))
        for chosen in product(*(slots[name] for name in _FRAME))
    )
    networks = (_best_in(frame, slots, value) for frame in frames)
    return max(networks, key=itemgetter(0))[1]


def _best_in(frame: dict[str, Any], slots: Slots, value_of: Value) -> tuple[float, Backbone]:
    def value(part: Part) -> float:
        return value_of(entry_name(part.args), part.repeats)

    stem, side = frame["stem"], frame["resolution"]
    style = Style(frame["activation"], frame["padding"])
    part, output = stem_part(stem, frame["in_channels"], (side, side), style)
    # The best stages up to each width and size: what follows depends on nothing else of them.
    best: dict[FeatureMap, tuple[float, tuple[Stage, ...]]] = {output: (value(part), ())}
    for name in filter(_is_stage, slots):
        following: dict[FeatureMap, tuple[float, tuple[Stage, ...]]] = {}
        for x, (before, stages) in best.items():
            for stage in slots[name]:
                parts, output = stage_parts(name, stage, x, style)
                total = before + sum(map(value, parts))
                if output not in following or total > following[output][0]:
                    following[output] = (total, (*stages, stage))
        best = following
    ends = (
        (before + value(head_part(head, classes, x, style)), stages, head, classes)
        for x, (before, stages) in best.items()
        for head, classes in product(slots["head"], slots["num_classes"])
    )
    total, stages, head, classes = max(ends, key=itemgetter(0))
    return total, Backbone(**frame | {"stages": stages, "head": head, "num_classes": classes})


def _is_stage(name: str) -> bool:
    return name.startswith("stage")
