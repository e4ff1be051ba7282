"""Names of weights in other libraries' networks, and in ours.

Both peers number their blocks by stage as we do; inside a block the names depend on whether it
expands. One table each says which of their layers is which of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a library names the layers of an inverted-residual network.

    Attributes:
        mark: a weight that only networks of this library have.
        block: matches a block's layer: stage, index in the stage, the layer's own name.
        first: number of the first stage.
        expansion: a layer that only blocks with an expansion have.
        outside: layers outside of blocks to ours; `{last}` is the number after the last stage.
        expanding, plain: layers of blocks with and without an expansion to ours.
    """

    mark: str
    block: re.Pattern[str]
    first: int
    expansion: str
    outside: Mapping[str, str]
    expanding: Mapping[str, str]
    plain: Mapping[str, str]


TIMM = Layout(
    mark="conv_stem.weight",
    block=re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)"),
    first=0,
    expansion="conv_pwl",
    outside={
        "conv_stem": "stem.conv",
        "bn1": "stem.norm",
        "conv_head": "head.conv",
        "bn2": "head.norm",
        "classifier": "classifier",
    },
    expanding={
        "conv_pw": "expand.conv",
        "bn1": "expand.norm",
        "conv_dw": "depthwise.conv",
        "bn2": "depthwise.norm",
        "se.conv_reduce": "squeeze.reduce",
        "se.conv_expand": "squeeze.expand",
        "conv_pwl": "project.conv",
        "bn3": "project.norm",
    },
    plain={
        "conv_dw": "depthwise.conv",
        "bn1": "depthwise.norm",
        "se.conv_reduce": "squeeze.reduce",
        "se.conv_expand": "squeeze.expand",
        "conv_pw": "project.conv",
        "bn2": "project.norm",
    },
)
TORCHVISION = Layout(
    mark="features.1.0.block.0.0.weight",
    block=re.compile(r"features\.(\d+)\.(\d+)\.block\.(.+)"),
    first=1,
    expansion="3.0",
    outside={
        "features.0.0": "stem.conv",
        "features.0.1": "stem.norm",
        "features.{last}.0": "head.conv",
        "features.{last}.1": "head.norm",
        "classifier.1": "classifier",
    },
    expanding={
        "0.0": "expand.conv",
        "0.1": "expand.norm",
        "1.0": "depthwise.conv",
        "1.1": "depthwise.norm",
        "2.fc1": "squeeze.reduce",
        "2.fc2": "squeeze.expand",
        "3.0": "project.conv",
        "3.1": "project.norm",
    },
    plain={
        "0.0": "depthwise.conv",
        "0.1": "depthwise.norm",
        "1.fc1": "squeeze.reduce",
        "1.fc2": "squeeze.expand",
        "2.0": "project.conv",
        "2.1": "project.norm",
    },
)


def our_names(names: Iterable[str]) -> dict[str, str]:
    """Each name of a state dict to the name of the same weight in our networks.

    A name that no table knows stays as it is.
    """
    every = list(names)
    layout = next((layout for layout in (TIMM, TORCHVISION) if layout.mark in every), None)
    if layout is None:
        return {name: name for name in every}
    matches = [match for name in every if (match := layout.block.fullmatch(name))]
    expanding = {(m[1], m[2]) for m in matches if m[3].startswith(f"{layout.expansion}.")}
    last = 1 + max((int(match[1]) for match in matches), default=0)
    outside = {key.format(last=last): ours for key, ours in layout.outside.items()}
    return {name: _our_name(name, layout, outside, expanding) for name in every}


def _our_name(
    name: str, layout: Layout, outside: Mapping[str, str], expanding: set[tuple[str, str]]
) -> str:
    layer, _, leaf = name.rpartition(".")
    match = layout.block.fullmatch(layer)
    if match is None:
        return f"{outside[layer]}.{leaf}" if layer in outside else name
    stage, index, inner = match.groups()
    table = layout.expanding if (stage, index) in expanding else layout.plain
    if inner not in table:
        return name
    return f"stages.{int(stage) - layout.first}.{index}.{table[inner]}.{leaf}"
