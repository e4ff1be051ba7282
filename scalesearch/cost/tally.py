"""Counts of one block: a sum over its operations."""

from __future__ import annotations

from typing import NamedTuple

from scalesearch.arch.detector_walk import predict_again
from scalesearch.arch.op import Op
from scalesearch.arch.walk import Part

_GROUP_NORM = 5  # operations for each value, with its scale and shift


class Tally(NamedTuple):
    """What one block (or the stem, or the head) adds to the counts of a network.

    Attributes:
        flops, flops_total, params, activations: as in `Cost`, for one image.
        norms, norm_width: batch norms, and their channels in all.
        largest: values of its largest weight.
    """

    flops: int
    flops_total: int
    params: int
    activations: int
    norms: int
    norm_width: int
    largest: int


def counts_of(part: Part) -> Tally:
    """The counts of one repeat of a part."""
    ops = part.ops
    counts = tally(ops)
    if part.rule is predict_again:  # its convolutions have been counted at another level
        counts = counts._replace(params=sum(2 * op.outputs for op in ops if op.norm))
    return counts


def tally(ops: tuple[Op, ...]) -> Tally:
    """Counts the operations of one block once."""
    flops = extra = params = activations = norms = norm_width = largest = 0
    for (
        kind,
        _,
        inputs,
        outputs,
        size_in,
        size_out,
        kernel,
        groups,
        bias,
        norm,
        _,
        counted,
        _,
        _,
        norm_groups,
    ) in ops:
        if kind == "conv" or kind == "linear":
            pixels = size_out[0] * size_out[1]
            weights = outputs * (inputs // groups) * kernel * kernel
            flops += weights * pixels
            activations += outputs * pixels
            params += weights
            if weights > largest:
                largest = weights
            if bias:
                params += outputs
            if norm and norm_groups:  # no statistics are kept
                params += 2 * outputs
                extra += _GROUP_NORM * outputs * pixels
            elif norm:
                params += 2 * outputs
                extra += 2 * outputs * pixels
                norms += 1
                norm_width += outputs
        elif kind == "norm":
            params += 2 * outputs
            extra += 2 * outputs * size_out[0] * size_out[1]
            norms += 1
            norm_width += outputs
        elif kind == "upsample":
            extra += outputs * size_out[0] * size_out[1]
        elif kind == "fuse":
            params += groups if bias else 0
        elif counted:
            extra += inputs * size_in[0] * size_in[1]
    return Tally(flops, flops + extra, params, activations, norms, norm_width, largest)
