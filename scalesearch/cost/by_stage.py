"""What a network costs, a row for its stem, each stage and its head, or its neck and heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.detector_walk import walk_detector
from scalesearch.arch.op import Op, Size
from scalesearch.arch.stage import BLOCK_FIELDS, SHORT, Stage
from scalesearch.arch.walk import Part, walk_head, walk_stage, walk_stem
from scalesearch.cost.tally import counts_of

ADDITIVE = ("flops", "flops_total", "params", "activations")
_WORDS = ("kernel", "stride", "expand", "se", "reduce")


class StageCost(NamedTuple):
    """One row of a table of costs.

    Attributes:
        name: stem, stage1 … stageN, head; or neck, class_head, box_head.
        block: what is repeated: `mbconv k3 s2 e6 se0.25`, `conv k7 s2, max_pool k3 s2`,
            `bifpn fast p3 to p7`.
        depth: how often; 1 for stem and head.
        width: output channels; of the head those that are pooled.
        size: height and width of the output, of a neck and its heads at the finest level; of the
            head what is pooled.
        costs: flops, flops_total, params and activations of the whole row.
    """

    name: str
    block: str
    depth: int
    width: int
    size: Size
    costs: Mapping[str, int]


def by_stage(net: Architecture, size: Size | None = None) -> Iterator[StageCost]:
    """The rows for an image of `size` (by default the network's square resolution).

    Their costs add up to the network's.
    """
    size = size or (net.resolution, net.resolution)
    if isinstance(net, Detector):
        yield from _of_detector(net, size)
    else:
        yield from _of_backbone(net, size)


def _of_detector(net: Detector, size: Size) -> Iterator[StageCost]:
    for row in _of_backbone(net.backbone, size):
        if row.name != "head":
            yield row
    neck, heads = net.neck, net.heads
    finest = (-(-size[0] >> neck.min_level), -(-size[1] >> neck.min_level))
    wired = f"{neck.kind} {neck.fusion} p{neck.min_level} to p{neck.max_level}"
    predicts = f"separable k3, {net.anchors.count} anchors"
    parts = list(walk_detector(net, size))
    for name, block, depth in (
        ("neck", wired, neck.depth),
        ("class_head", predicts, heads.depth),
        ("box_head", predicts, heads.depth),
    ):
        own = [part for part in parts if part.name.startswith(f"{name}.")]
        yield StageCost(name, block, depth, neck.width, finest, _sum(*own))


def _of_backbone(backbone: Backbone, size: Size) -> Iterator[StageCost]:
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
    counted = [(part.repeats, counts_of(part)) for part in parts]
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
