"""Which weight of another library's network is which of ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from scalesearch.nn.detector_names import BACKBONE, effdet_names
from scalesearch.nn.weight_layouts import LAYOUTS, Layout

_BLOCK = re.compile(r"stages\.(\d+)\.(\d+)\.(.+)")


def names_in(given: Collection[str], needed: Iterable[str]) -> dict[str, str]:
    """Each of our names `needed` to the name of the same weight in a state dict, as it should be.

    The library is the one by whose names most weights are found in `given`; our own names are the
    first choice. A layer that the library does not have is left out.
    """
    ours = list(needed)
    detector = any(name.startswith(BACKBONE) for name in ours)
    named = _detector_names if detector else _names
    choices = [{name: name for name in ours}, *(named(layout, ours) for layout in LAYOUTS)]
    return max(choices, key=lambda names: sum(theirs in given for theirs in names.values()))


def _detector_names(layout: Layout, ours: list[str]) -> dict[str, str]:
    """A detector of effdet's whose backbone is named so."""
    backbone = [name.removeprefix(BACKBONE) for name in ours if name.startswith(BACKBONE)]
    inside = _names(layout, backbone).items()
    return {f"{BACKBONE}{name}": f"{BACKBONE}{theirs}" for name, theirs in inside} | effdet_names(
        ours
    )


def _names(layout: Layout, ours: list[str]) -> dict[str, str]:
    layers = {name: name.rpartition(".")[0] for name in ours}
    inside: dict[tuple[int, int], set[str]] = {}
    for layer in layers.values():
        if match := _BLOCK.fullmatch(layer):
            inside.setdefault((int(match[1]), int(match[2])), set()).add(match[3])
    places = sorted(inside)
    last = places[-1][0] if places else -1
    theirs = {
        layer: pattern.format(**_counted(stage=last + 1, index=0, block=len(places)))
        for layer, pattern in layout.outside.items()
    }
    for block, (stage, index) in enumerate(places):
        numbers = _counted(stage=stage, index=index, block=block)
        for layer, name in _table(layout, inside[stage, index]).items():
            theirs[f"stages.{stage}.{index}.{layer}"] = layout.block.format(layer=name, **numbers)
    return {
        name: f"{theirs[layer]}{name.removeprefix(layer)}"
        for name, layer in layers.items()
        if layer in theirs
    }


def _counted(**numbers: int) -> dict[str, int]:
    """Each number counted from 0 and from 1."""
    return {f"{key}{first}": number + first for key, number in numbers.items() for first in (0, 1)}


def _table(layout: Layout, layers: set[str]) -> Mapping[str, str]:
    """The smallest table that names all of a block's layers; empty where none does."""
    fitting = [table for table in layout.kinds if layers <= set(table)]
    return min(fitting, key=len) if fitting else {}
