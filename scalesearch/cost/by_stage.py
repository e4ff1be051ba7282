"""What a network costs, a row for its stem, each stage and its head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.op import Op, Size
from scalesearch.arch.stage import BLOCK_FIELDS, SHORT, Stage
from scalesearch.arch.walk import Part, walk_head, walk_stage, walk_stem
from scalesearch.cost.tally import tally

ADDITIVE = ("flops", "flops_total", "params", "activations")
_WORDS = ("kernel", "stride", "expand", "se", "reduce")


class StageCost(NamedTuple):
    """One row of a table of costs.

    Attributes:
        name: stem, stage1 … stageN, head.
        block: what is repeated: `mbconv k3 s2 e6 se0.25`, `conv k7 s2, max_pool k3 s2`.
        depth: how often; 1 for stem and head.
        width: output channels; of the head those that are pooled.
        size: height and width of the output; of the head what is pooled.
        costs: flops, flops_total, params and activations of the whole row.
    """

    name: str
    block: str
    depth: int
    width: int
    size: Size
    costs: Mapping[str, int]


def by_stage(backbone: Backbone, size: Size | None = None) -> Iterator[StageCost]:
    """The rows for an image of `size` (by default the network's square resolution).

    Their costs add up to the network's.
    """
    size = size or (backbone.resolution, backbone.resolution)
    stem, head = backbone.stem, backbone.head
    part, size = walk_stem(stem, backbone.in_channels, size)
    yield StageCost("stem", _operations(part.ops), 1, stem.width, size, _sum(part))
    width = stem.width
    for number, stage in enumerate(backbone.stages, start=1):
        name = f"stage{number}"
        parts, size = walk_stage(name, stage, width, size)
        width = stage.width
        yield StageCost(name, _block(stage), stage.depth, width, size, _sum(*parts))
    part = walk_head(head, backbone.num_classes, width, size)
    yield StageCost("head", _operations(part.ops), 1, backbone.features, size, _sum(part))


def _sum(*parts: Part) -> dict[str, int]:
    counted = [(part.repeats, tally(part.ops)) for part in parts]
    return {key: sum(n * getattr(one, key) for n, one in counted) for key in ADDITIVE}


def _operations(ops: tuple[Op, ...]) -> str:
    return ", ".join(
        f"{op.kind} k{op.kernel} s{op.stride}" if op.kernel > 1 or op.stride > 1 else op.kind
        for op in ops
        if op.kind != "dropout"
    )


def _block(stage: Stage) -> str:
    used = ("stride", *BLOCK_FIELDS[stage.block])
    # A share of 0 is no squeeze-excite at all.
    shown = [(SHORT[key], getattr(stage, key)) for key in _WORDS if key in used]
    return " ".join([stage.block, *(f"{short}{value:g}" for short, value in shown if value)])
