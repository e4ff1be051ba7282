"""FLOPs, parameters and activations of a network: one rule for each kind of operation, summed.

Equal to the last unit to what fvcore counts on the built model in evaluation mode: convolutions
and linear layers one for each multiply-add (biases free), batch norm 2 for each value, group norm
5, average pooling 1 for each input value, upsampling 1 for each output value, all else nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, NamedTuple

from scalesearch.arch.detector import Architecture
from scalesearch.arch.factory import Factory
from scalesearch.arch.graph import Graph, Op, Size
from scalesearch.arch.walk import Rule, walk


class Counts(NamedTuple):
    """The costs that the closed form and fvcore must agree on to the last unit.

    Attributes:
        flops: multiply-adds of convolutions and linear layers for one image.
        flops_total: everything fvcore counts for one image.
        params: learnable parameters.
        activations: output values of convolutions and linear layers for one image.

    Of a population each is an array with a value for every network.
    """

    flops: Any = 0
    flops_total: Any = 0
    params: Any = 0
    activations: Any = 0


def counts(net: Architecture, size: Size | None = None) -> Counts:
    """The counts of a network for an image of `size` (by default its square resolution)."""
    if isinstance(net, Factory):
        from scalesearch.cost.factory import factory_counts  # torch, for what has to be built

        return factory_counts(net, size or (net.resolution, net.resolution))
    flops = total = params = activations = 0
    for part in walk(net, size):
        block, n = block_counts(part.rule, part.args), part.repeats
        flops += n * block.flops
        total += n * block.flops_total
        params += n * block.params
        activations += n * block.activations
    return Counts(flops, total, params, activations)


@lru_cache(maxsize=100_000)
def block_counts(rule: Rule, args: tuple[Hashable, ...]) -> Counts:
    """The counts of one block. The networks of a search share most of theirs: they are cached."""
    return count(rule(*args))


def count(graph: Graph) -> Counts:
    """The counts of a graph."""
    flops = total = params = activations = 0
    for op in graph.ops:
        rule = RULES.get(op.kind)
        if rule is not None:
            counted = rule(op)
            flops += counted.flops
            total += counted.flops_total
            params += counted.params
            activations += counted.activations
    return Counts(flops, total, params, activations)


def _conv(op: Op) -> Counts:
    width, (rows, columns) = op.output
    pixels, weights = rows * columns, op.weights
    params = 0 if op.shared else weights + width * op.bias
    return Counts(weights * pixels, weights * pixels, params, width * pixels)


def _linear(op: Op) -> Counts:
    weights = op.source.width * op.output.width
    return Counts(weights, weights, weights + op.output.width, op.output.width)


def _batch_norm(op: Op) -> Counts:
    return Counts(0, 2 * op.output.values, 2 * op.output.width, 0)


def _group_norm(op: Op) -> Counts:
    return Counts(0, 5 * op.output.values, 2 * op.output.width, 0)


def _avg_pool(op: Op) -> Counts:
    return Counts(0, op.source.values, 0, 0)


def _upsample(op: Op) -> Counts:
    return Counts(0, op.output.values, 0, 0)


def _fuse(op: Op) -> Counts:
    """A learnt weight for each input, except of a plain sum."""
    return Counts(0, 0, 0 if op.function == "sum" else len(op.inputs), 0)


# Kinds that are not here count nothing: fvcore has no rule for them, and they learn nothing.
RULES: dict[str, Callable[[Op], Counts]] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "avg_pool": _avg_pool,
    "upsample": _upsample,
    "fuse": _fuse,
}
