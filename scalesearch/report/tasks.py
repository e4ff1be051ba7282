"""The words that pages of classification and of detection studies do not share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Wording:
    """Words of one task; `{0}` in a template stands for the coefficients or the network.

    Attributes:
        coefficients: each coefficient, in order, with the words of its axis.
        point: what one point of the grid is called.
        grid_text: what the figure of the grid shows.
        headline: coefficients that stand at the top of the page.
        headline_detail: template of the small print below them.
        network: template of the baseline's size.
        network_note: template of what the table of the baseline's parts needs explained.
    """

    coefficients: Mapping[str, str]
    point: str
    grid_text: str
    headline: tuple[str, ...]
    headline_detail: str
    network: str
    network_note: str


WORDINGS = {
    "classification": Wording(
        coefficients={
            "alpha": "depth multiplier",
            "beta": "width multiplier",
            "gamma": "resolution multiplier",
        },
        point="triple",
        grid_text="Alpha multiplies depth, beta width, gamma resolution. A coefficient that is not "
        "shown is 1. In a triangle a triple lies where its growth in FLOPs goes; larger and darker "
        "is better, and numbers are ranks.",
        headline=("alpha", "beta", "gamma"),
        headline_detail="FLOPs \N{MULTIPLICATION SIGN} {0.growth:.3f} per phi",
        network="{0.depth} blocks",
        network_note="Activation {0.activation}",
    ),
    "detection": Wording(
        coefficients={
            "alpha": "backbone depth multiplier",
            "beta": "backbone width multiplier",
            "neck_width": "width multiplier of neck and heads",
            "neck_depth": "layers added to the neck",
            "head_depth": "layers added to the heads",
            "resolution": "pixels added to the input",
        },
        point="combination",
        grid_text="What each phi does to the backbone, to neck and heads, and to the input.",
        headline=("alpha", "beta", "neck_width"),
        headline_detail="per phi: neck +{0.neck_depth:.3g}, heads +{0.head_depth:.3g} layers, "
        "input +{0.resolution:.4g} pixels",
        network="{0.depth} blocks, {0.neck.depth} layers of neck and {0.heads.depth} of heads,",
        network_note="Of neck and heads: layers, output at the finest level, and the costs of all "
        "levels. Activation {0.backbone.activation}, of neck and heads {0.activation}",
    ),
}
