"""Mistakes planted in the operations of every block kind, for tests that must see them.

Most are made of the rules themselves (`arch/blocks.py`): each operation of each kind is left out,
doubled, renamed, reordered, and each of its sizes and flags is got wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from scalesearch.arch import blocks
from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.graph import Op
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.arch.walk import Rule, walk

Change = Callable[[Op], list[Op]]


class Mistake(NamedTuple):
    """A wrong rule of a block kind, and whether a count of the network changes with it."""

    kind: str
    words: str
    rule: Rule
    counts: bool


def probe(kind: str) -> Backbone:
    """A network with a block kind where its ends differ, in channels alone too, and where not.

    Its widths make every rounding show: 0.25 of 7 and a third of 11 lie just below a whole number.
    """
    wanted = {"expand": 3, "se": 0.25, "reduce": 3, "kernel": 5, "depth": 2}
    read = {key: value for key, value in wanted.items() if key in BLOCK_FIELDS[kind]}
    stages = (Stage(block=kind, width=10, stride=2, **read), Stage(block=kind, width=11, **read))
    return Backbone(stages=stages, stem=Stem(width=7), head=Head(width=9), num_classes=5)


# The image that a probe is walked with: its sides stay different at every stride.
PROBE_SIZE = (21, 38)


def every_mistake(kind: str) -> Iterator[Mistake]:
    """All mistakes in the rule of a kind."""
    right, found = blocks.BLOCKS[kind], {}
    for part in walk(probe(kind), PROBE_SIZE):
        for op in part.ops if part.rule is right else ():
            found.setdefault(op.name, op)  # of the first block, which has the stride
    for name, op in found.items():
        for words, change, counts in _wrong(op):
            yield Mistake(kind, f"{name}: {words}", _changed(right, name, change), counts)
    if len(found) > 1:
        yield Mistake(kind, "operations backwards", lambda *args: right(*args)[::-1], False)
    for words, rule in SPECIFIC.get(kind, {}).items():
        yield Mistake(kind, words, rule, True)


def _wrong(op: Op) -> Iterator[tuple[str, Change, bool]]:
    """What can be wrong with one operation, and whether a count shows it."""
    counted = op.kind in ("conv", "norm")
    if op.kind == "pool":  # a sum in squeeze-excite, of which there is no module
        yield "counted", _with(counted=True), True
        return
    yield "left out", lambda op: [], counted
    yield "twice", lambda op: [op, op], counted
    yield "renamed", _with(name="other"), False
    yield "a channel more", lambda op: [op._replace(outputs=op.outputs + 1)], counted
    if op.kind != "gate":
        yield "active or not", lambda op: [op._replace(active=not op.active)], False
    if op.kind in ("conv", "cut"):
        yield "stride", lambda op: [op._replace(stride=op.stride + 1)], False
    if op.size_in != op.size_out:
        yield "not shrunk", lambda op: [op._replace(size_out=op.size_in)], counted
    if op.kind == "conv":
        yield "kernel", lambda op: [op._replace(kernel=op.kernel + 2)], True
        yield "norm", lambda op: [op._replace(norm=not op.norm)], True
        yield "bias", lambda op: [op._replace(bias=not op.bias)], True
        yield "groups", lambda op: [op._replace(groups=1 if op.groups > 1 else op.outputs)], True


def _with(**fields: object) -> Change:
    return lambda op: [op._replace(**fields)]


def _changed(right: Rule, name: str, change: Change) -> Rule:
    def rule(*args: object) -> tuple[Op, ...]:
        return tuple(
            new for op in right(*args) for new in (change(op) if op.name == name else [op])
        )

    return rule


def _rounded(kind: str, helper: str, to: Callable[[int, float], int]) -> Rule:
    """The rule of a kind with channels that are rounded instead of cut."""
    right = blocks.BLOCKS[kind]

    def rule(*args: object) -> tuple[Op, ...]:
        kept = getattr(blocks, helper)
        setattr(blocks, helper, to)
        try:
            return right(*args)
        finally:
            setattr(blocks, helper, kept)

    return rule


def _projected_where_strided(kind: str) -> Rule:
    """Option B forgotten where only channels differ."""
    right = blocks.BLOCKS[kind]

    def rule(stage: Stage, width: int, size: tuple[int, int], stride: int) -> tuple[Op, ...]:
        ops = right(stage, width, size, stride)
        return tuple(op for op in ops if not (op.aside and stride == 1))

    return rule


def _strided_on_the_first() -> Rule:
    """The bottleneck of the paper, whose first convolution has the stride."""
    right = blocks.BLOCKS["bottleneck"]

    def rule(*args: object) -> tuple[Op, ...]:
        reduce, spatial, *others = right(*args)
        small = spatial.size_out
        return reduce._replace(size_out=small), spatial._replace(size_in=small), *others

    return rule


_NEAREST = {
    "squeeze channels rounded": ("squeeze_width", lambda width, share: round(width * share)),
    "squeeze channels rounded up": (
        "squeeze_width",
        lambda width, share: math.ceil(width * share),
    ),
}
SPECIFIC: dict[str, dict[str, Rule]] = {
    **{
        kind: {words: _rounded(kind, helper, to) for words, (helper, to) in _NEAREST.items()}
        for kind in ("mbconv", "fused_mbconv")
    },
    "basic": {"projected only where strided": _projected_where_strided("basic")},
    "wide": {"projected only where strided": _projected_where_strided("wide")},
    "bottleneck": {
        "projected only where strided": _projected_where_strided("bottleneck"),
        "inner channels rounded": _rounded(
            "bottleneck", "reduced_width", lambda width, reduce: round(width / reduce)
        ),
        "stride on the first convolution": _strided_on_the_first(),
    },
}
