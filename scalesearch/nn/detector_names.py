"""How the package effdet names the weights of a detector's neck and heads."""

from __future__ import annotations

import re
from collections.abc import Iterable

BACKBONE = "backbone."  # what the names of a backbone's weights begin with, ours and theirs

# Ours on the left; the layers of a separable convolution and its norm are named below.
_PLACES = (
    (r"neck\.extra\.(\d+)\.", r"fpn.resample.\1.conv."),
    (
        r"neck\.layers\.(\d+)\.joints\.(\d+)\.resample\.(\d+)\.",
        r"fpn.cell.\1.fnode.\2.combine.resample.\3.conv.",
    ),
    (
        r"neck\.layers\.(\d+)\.joints\.(\d+)\.fusion\.weights",
        r"fpn.cell.\1.fnode.\2.combine.edge_weights",
    ),
    (
        r"neck\.layers\.(\d+)\.joints\.(\d+)\.(?:conv\.)?",
        r"fpn.cell.\1.fnode.\2.after_combine.conv.",
    ),
    (r"(class|box)_head\.convs\.(\d+)\.", r"\1_net.conv_rep.\2."),
    (r"(class|box)_head\.norms\.(\d+)\.(\d+)\.", r"\1_net.bn_rep.\2.\3.bn."),
    (r"(class|box)_head\.predict\.", r"\1_net.predict."),
)
_LAYERS = {"depthwise.": "conv_dw.", "pointwise.": "conv_pw.", "conv.": "conv.", "norm.": "bn."}


def effdet_names(names: Iterable[str]) -> dict[str, str]:
    """Each of our names of weights of a neck or a head to the same weight's in effdet."""
    return {name: theirs for name in names if (theirs := _effdet_name(name))}


def _effdet_name(name: str) -> str:
    for pattern, place in _PLACES:
        if match := re.match(pattern, name):
            rest = name[match.end() :]
            for ours, theirs in _LAYERS.items():
                if rest.startswith(ours):
                    rest = theirs + rest.removeprefix(ours)
                    break
            return match.expand(place) + rest
    return ""
