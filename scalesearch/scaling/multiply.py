"""Dimensions of a network multiplied and rounded, as the official EfficientNet code does."""

from __future__ import annotations

from dataclasses import replace

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.rounding import round_depth, round_resolution, round_width
from scalesearch.scaling.coefficients import Multipliers


def multiply(backbone: Backbone, by: Multipliers) -> Backbone:
    """A network with depth, width and resolution multiplied and rounded (`arch/rounding.py`).

    Depths of all stages, widths of stem, stages and head (see `head_scaling`), and the input's
    side. A multiplier of exactly 1 changes nothing, whatever the width divisor.
    """
    divisor = backbone.width_divisor

    def wide(width: int, times: float = by.width) -> int:
        # A head without a convolution has no width.
        return width if times == 1 or width == 0 else round_width(width * times, divisor)

    return replace(
        backbone,
        stem=replace(backbone.stem, width=wide(backbone.stem.width)),
        stages=tuple(
            replace(stage, width=wide(stage.width), depth=round_depth(stage.depth * by.depth))
            for stage in backbone.stages
        ),
        head=replace(backbone.head, width=wide(backbone.head.width, by.head_width)),
        resolution=round_resolution(backbone.resolution * by.resolution),
    )


def with_depths(backbone: Backbone, depths: tuple[int, ...]) -> Backbone:
    """The same network with these depths of its stages."""
    stages = zip(backbone.stages, depths, strict=True)
    return replace(backbone, stages=tuple(replace(stage, depth=d) for stage, d in stages))
