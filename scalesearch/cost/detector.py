"""Counts of a detector in closed form: of its parts, and in all."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import NamedTuple

from scalesearch.arch.detector import Detector
from scalesearch.arch.detector_walk import predict_again, walk_detector
from scalesearch.arch.op import Size
from scalesearch.arch.walk import Part, Rule
from scalesearch.cost.cost import Cost
from scalesearch.cost.tally import tally


class Counts(NamedTuple):
    """Counts of a part of a detector, as in `Cost`, for one image."""

    flops: int
    flops_total: int
    params: int
    activations: int


def detector_cost(net: Detector, size: Size | None = None) -> Cost:
    """The cost of a detector for an image of `size` (by default its square resolution).

    Equal to the last unit to what fvcore counts on the built model in evaluation mode. Its memory
    is None: arithmetic follows that of networks without branches alone.
    """
    parts = [counts_of(part) for part in walk_detector(net, size)]
    flops, total, params, activations = map(sum, zip(*parts, strict=True))
    return Cost(flops, total, params, activations, inference_bytes=None, training_bytes=None)


def counts_of(part: Part) -> Counts:
    """The counts of all repeats of a part."""
    once = _counts(part.rule, part.args)
    return Counts(*(part.repeats * value for value in once)) if part.repeats > 1 else once


@lru_cache(maxsize=100_000)
def _counts(rule: Rule, args: tuple[Hashable, ...]) -> Counts:
    """What fvcore counts: an upsampled map's values too. Weights of a fusion are params."""
    ops = rule(*args)
    plain = tally(ops)
    upsampled = sum(op.values_out for op in ops if op.kind == "upsample")
    shares = sum(op.groups for op in ops if op.kind == "fuse" and op.bias)
    # The same convolutions run over every level; norms are each level's own.
    params = 2 * plain.norm_width if rule is predict_again else plain.params + shares
    return Counts(plain.flops, plain.flops_total + upsampled, params, plain.activations)
