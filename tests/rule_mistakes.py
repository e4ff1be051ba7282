"""Mistakes planted in the operations of every block kind, for tests that must see them.

Most are made of the rules themselves (`arch/blocks.py`): each operation of each kind is left out,
doubled, renamed, reordered, and each of its sizes and flags is got wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from scalesearch.arch import blocks
from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.blocks import BlockContext
from scalesearch.arch.graph import Graph, Op
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
    right, ops = blocks.BLOCKS[kind], dict[str, Op]()
    for part in walk(probe(kind), PROBE_SIZE):
        for op in part.graph.ops if part.rule is right else ():
            ops.setdefault(op.name, op)  # of the first block, which has the stride
    for words, rule, counts in mistakes_in(right, ops.values()):
        yield Mistake(kind, words, rule, counts)
    if len(ops) > 1:
        yield Mistake(kind, "operations backwards", _backwards(right), counts=False)
    for words, rule in SPECIFIC.get(kind, {}).items():
        yield Mistake(kind, words, rule, counts=True)


def mistakes_in(right: Rule, ops: Iterable[Op]) -> Iterator[tuple[str, Rule, bool]]:
    """Each mistake in each operation of a rule: words, wrong rule, whether a count shows it."""
    for op in ops:
        for wrong in _wrong(op):
            yield f"{op.name}: {wrong.words}", _changed(right, op.name, wrong.change), wrong.counts


class _Wrong(NamedTuple):
    """What can be wrong with one operation, and whether a count shows it."""

    words: str
    change: Change
    counts: bool


def _wrong(op: Op) -> Iterator[_Wrong]:
    counted = op.kind in ("conv", "batch_norm")
    yield _Wrong("left out", lambda op: [], counted)
    yield _Wrong("twice", lambda op: [op, op], counted)
    yield _Wrong("renamed", _with(name="other"), counts=False)
    yield _Wrong("another kind", _with(kind="dropout"), counted)
    wider = op.output._replace(width=op.output.width + 1)
    yield _Wrong("a channel more", _with(output=wider), counted)
    if op.source.size != op.output.size:
        unshrunk = op.output._replace(size=op.source.size)
        yield _Wrong("not shrunk", _with(output=unshrunk), counted)
    if op.inputs[-1]:
        yield _Wrong("of the input before", _of_the_input_before, counts=False)
    if len(op.inputs) > 1:
        yield _Wrong("inputs swapped", lambda op: [op._replace(inputs=op.inputs[::-1])], False)
    if op.kind != "activation":
        yield _Wrong("activation added", _with_another("activation"), counts=False)
    if op.kind != "batch_norm":
        yield _Wrong("norm added", _with_another("batch_norm"), counts=True)
    if op.kind in ("activation", "add", "fuse"):
        yield _Wrong("function", _with(function="tanh"), counts=False)
    if op.kind == "mean":  # fvcore counts pooling, but not a mean
        yield _Wrong("counted", _with(kind="avg_pool"), counts=True)
    if op.kind == "conv":
        yield _Wrong("stride", _with(stride=op.stride + 1), counts=False)
        yield _Wrong("kernel", _with(kernel=op.kernel + 2), counts=True)
        yield _Wrong("shared", _with(shared=not op.shared), counts=True)
        yield _Wrong("bias", _with(bias=not op.bias), counts=True)
        groups = 1 if op.groups > 1 else op.output.width
        if groups != op.groups and op.source.width % groups == 0:
            yield _Wrong("groups", _with(groups=groups), counts=True)


def _of_the_input_before(op: Op) -> list[Op]:
    return [op._replace(inputs=(*op.inputs[:-1], op.inputs[-1] - 1))]


def _with_another(kind: str) -> Change:
    """The operation, and one of this kind that takes its first input and output."""
    return lambda op: [op, op._replace(kind=kind, name="other")]


def _with(**fields: object) -> Change:
    return lambda op: [op._replace(**fields)]


def _changed(right: Rule, name: str, change: Change) -> Rule:
    """The rule with one operation changed; those behind it take what it now gives."""

    def rule(*args: object) -> Graph:
        graph = right(*args)
        first, ops = len(graph.inputs), list[Op]()
        numbers = {tensor: tensor for tensor in range(first)}
        for index, op in enumerate(graph.ops):
            rewired = op._replace(inputs=tuple(numbers[tensor] for tensor in op.inputs))
            new = change(rewired) if op.name == name else [rewired]
            ops += new
            numbers[first + index] = first + len(ops) - 1 if new else rewired.inputs[0]
        outputs = tuple(numbers[tensor] for tensor in graph.outputs)
        return graph._replace(ops=tuple(ops), outputs=outputs, held=())

    return rule


def _backwards(right: Rule) -> Rule:
    def rule(*args: object) -> Graph:
        graph = right(*args)
        return graph._replace(ops=graph.ops[::-1])

    return rule


def _rounded(kind: str, helper: str, to: Callable[[int, float], int]) -> Rule:
    """The rule of a kind with channels that are rounded instead of cut."""
    right = blocks.BLOCKS[kind]

    def rule(*args: object) -> Graph:
        right_helper = getattr(blocks, helper)
        setattr(blocks, helper, to)
        try:
            return right(*args)
        finally:
            setattr(blocks, helper, right_helper)

    return rule


def _projected_where_strided(kind: str) -> Rule:
    """Option B forgotten where only channels differ."""
    right = blocks.BLOCKS[kind]

    def rule(stage: Stage, context: BlockContext) -> Graph:
        graph = right(stage, context)
        if context.stride > 1:
            return graph
        others = tuple(op for op in graph.ops if not op.name.startswith("shortcut."))
        return graph._replace(ops=others)

    return rule


def _strided_on_the_first() -> Rule:
    """The bottleneck of the paper, whose first convolution has the stride."""
    right = blocks.BLOCKS["bottleneck"]

    def rule(*args: object) -> Graph:
        graph = right(*args)
        small = next(op.output.size for op in graph.ops if op.name == "spatial.conv")
        ops = []
        for op in graph.ops:
            if op.name.startswith("reduce."):
                op = op._replace(output=op.output._replace(size=small))
            ops.append(op)
        return graph._replace(ops=tuple(ops))

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
