"""What a network costs, a row for its stem, each stage and its head, or its neck and heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from scalesearch.arch.detector import Architecture
from scalesearch.arch.factory import Factory
from scalesearch.arch.graph import FeatureMap, Graph, Size
from scalesearch.arch.stage import BLOCK_FIELDS, SHORT, Stage
from scalesearch.arch.walk import Part, walk
from scalesearch.cost.cost import ADDITIVE
from scalesearch.cost.counts import block_counts, counts

_WORDS = ("kernel", "stride", "expand", "se", "reduce")
_LAYERS = {"conv": "conv", "max_pool": "max_pool", "avg_pool": "pool", "linear": "linear"}


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

    Their costs add up to the network's. What a factory builds is one row, of outputs as wide as
    there are classes.
    """
    if isinstance(net, Factory):
        costs = counts(net, size)._asdict()
        yield StageCost("network", net.call, 1, net.num_classes, (1, 1), costs)
        return
    for name, parts in groupby(walk(net, size), lambda part: part.name.split(".")[0]):
        yield _row(net, name, list(parts))


def _row(net: Any, name: str, parts: Sequence[Part]) -> StageCost:
    graph, depth = parts[-1].graph, 1
    output = graph.map(graph.outputs[0])
    if name.startswith("stage"):
        stage = net.trunk.stages[int(name.removeprefix("stage")) - 1]
        block, depth = _block(stage), stage.depth
    elif name == "stem":
        block = _operations(graph)
    elif name == "head":
        block, output = _operations(graph), _pooled(graph)
    elif name == "neck":
        neck = net.neck
        block = f"{neck.kind} {neck.fusion} p{neck.min_level} to p{neck.max_level}"
        depth = neck.depth
    else:
        block, depth = f"separable k3, {net.anchors.count} anchors", net.heads.depth
        output = graph.inputs[0]
    return StageCost(name, block, depth, output.width, output.size, _sum(parts))


def _sum(parts: Sequence[Part]) -> dict[str, int]:
    counted = [(part.repeats, block_counts(part.rule, part.args)) for part in parts]
    return {key: sum(n * getattr(one, key) for n, one in counted) for key in ADDITIVE}


def _pooled(graph: Graph) -> FeatureMap:
    return next(op.source for op in graph.ops if op.kind == "avg_pool")


def _operations(graph: Graph) -> str:
    """The operations of a stem or a head; norms and activations follow from the convolutions."""
    first = graph.ops[0].kind
    words = ["norm"] if first == "batch_norm" else []
    for op in graph.ops:
        if op.kind in _LAYERS:
            sizes = f" k{op.kernel} s{op.stride}" if op.kernel > 1 or op.stride > 1 else ""
            words.append(_LAYERS[op.kind] + sizes)
    return ", ".join(words)


def _block(stage: Stage) -> str:
    used = ("stride", *BLOCK_FIELDS[stage.block])
    # A share of 0 is no squeeze-excite at all.
    shown = [(SHORT[key], getattr(stage, key)) for key in _WORDS if key in used]
    return " ".join([stage.block, *(f"{short}{value:g}" for short, value in shown if value)])
