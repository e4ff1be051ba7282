"""The different blocks of a whole space, and networks chosen by their blocks.

A space is given by its slots: each part of a network (`stem`, `stage1`, …, `head`, `resolution`
and the other fields of a `Backbone`) to its different values. What a block is depends on its own
stage and on what the stages before put out, so a pass over the stages that remembers the width and
size it has reached sees every block of the space without going through its networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from operator import itemgetter
from typing import Any

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.graph import Size
from scalesearch.arch.stage import Stage
from scalesearch.arch.walk import Part, walk_head, walk_stage, walk_stem
from scalesearch.cost.latency_table import LatencyTable, entry_name

Slots = Mapping[str, Sequence[Any]]
# What a block is worth: by its entry in a latency table, and how often it repeats in a row.
Worth = Callable[[str, int], float]

# Slots that every block depends on; of others that no latency depends on, any value will do.
_FRAME = ("in_channels", "resolution", "activation", "padding", "stem")


def entries_of(slots: Slots) -> tuple[str, ...]:
    """The entries that a latency table of the space has: each different block once."""
    seen: dict[str, None] = {}

    def note(entry: str, repeats: int) -> float:
        seen[entry] = None
        return 0.0

    best_network(slots, note)  # looks at every block on its way
    return tuple(seen)


def fastest(slots: Slots, table: LatencyTable) -> Backbone:
    """The network of the space with the least predicted latency."""
    return best_network(slots, lambda entry, repeats: -repeats * table.seconds[entry])


def best_network(slots: Slots, worth: Worth) -> Backbone:
    """The network of the space whose blocks are worth most together; of equals the first."""
    found = (_best_in(frame, slots, worth) for frame in _frames(slots))
    return max(found, key=itemgetter(0))[1]


def _frames(slots: Slots) -> Iterator[dict[str, Any]]:
    """Every combination of what all blocks depend on, with a value for each other field."""
    fields = {name: values[0] for name, values in slots.items() if not _is_stage(name)}
    for chosen in product(*(slots[name] for name in _FRAME)):
        yield fields | dict(zip(_FRAME, chosen, strict=True))


def _best_in(frame: dict[str, Any], slots: Slots, worth: Worth) -> tuple[float, Backbone]:
    def value(part: Part) -> float:
        return worth(entry_name(part.args, frame["activation"], frame["padding"]), part.repeats)

    stem, side = frame["stem"], frame["resolution"]
    part, size = walk_stem(stem, frame["in_channels"], (side, side))
    # Of all ways to a width and a size only the best is kept: what follows does not depend on it.
    ways: dict[tuple[int, Size], tuple[float, tuple[Stage, ...]]] = {}
    ways[stem.width, size] = (value(part), ())
    for name in filter(_is_stage, slots):
        onward: dict[tuple[int, Size], tuple[float, tuple[Stage, ...]]] = {}
        for (width, size), (before, chosen) in ways.items():
            for stage in slots[name]:
                parts, out = walk_stage(name, stage, width, size)
                total = before + sum(map(value, parts))
                place = (stage.width, out)
                if place not in onward or total > onward[place][0]:
                    onward[place] = (total, (*chosen, stage))
        ways = onward
    ends = (
        (before + value(walk_head(head, classes, width, size)), chosen, head, classes)
        for (width, size), (before, chosen) in ways.items()
        for head, classes in product(slots["head"], slots["num_classes"])
    )
    total, stages, head, classes = max(ends, key=itemgetter(0))
    fields = frame | {"stages": stages, "head": head, "num_classes": classes}
    return total, Backbone(**fields)


def _is_stage(name: str) -> bool:
    return name.startswith("stage")
