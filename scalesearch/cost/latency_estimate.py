"""Latency of scaled networks, whose blocks a table of a space need not have.

A block that is in the table takes its seconds. Any other one is estimated from the blocks of the
same kind (operations, kernel, expansion, stride; other channels or sizes): the seconds of the one
that is nearest in work, times the ratio of what a linear model in FLOPs, activations and parameters
says of both. The model is fitted to the whole table with weights that cannot be negative, by
relative errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.blocks import BLOCKS, BlockContext, Style
from scalesearch.arch.graph import FeatureMap
from scalesearch.arch.stage import SHORT, Stage
from scalesearch.arch.walk import Part, head_part, stem_part, walk
from scalesearch.cost.counts import block_counts
from scalesearch.cost.latency_table import LatencyTable, entry_name
from scalesearch.errors import UserError

_ENTRY = re.compile(
    r"(?P<words>[^,]+), (?P<inputs>\d+) to (?P<outputs>\d+) channels of (?P<height>\d+) x "
    r"(?P<width>\d+), (?P<activation>\w+)(?P<same>, same padding)?"
)
_WORD = re.compile(r"([a-z]+?)(\d+(?:\.\d+)?)")
_FIELDS = {short: field for field, short in SHORT.items()} | {"s": "stride"}
_SWEEPS = 500  # over the weights of the model, until they no longer change
Work = tuple[float, ...]


def estimator(table: LatencyTable) -> Callable[[Backbone], float]:
    """What estimates the latency of a network in seconds, from a latency table.

    It raises `UserError` for a block of a kind that the table has none of.

    Raises:
        UserError: the table has an entry that is none of a network's parts.
    """
    works = {name: _work(part_of_entry(name)) for name in table.seconds}
    weights = _fit([*works.values()], [table.seconds[name] for name in works])

    @lru_cache(maxsize=100_000)
    def seconds(part: Part) -> float:
        name = entry_name(part.args)
        if name in table.seconds:
            return table.seconds[name]
        like = [other for other in works if _kind(other) == _kind(name)]
        if not like:
            raise UserError(
                f"the latency table has no entry like {name!r}",
                hint="measure one of a space with such blocks: `scalesearch profile --space "
                "SPACE.yaml --latency-out TABLE.json`",
            )
        work = _work(part)
        nearest = min(like, key=lambda other: _away(works[other], work))
        return table.seconds[nearest] * _sum(weights, work) / _sum(weights, works[nearest])

    def estimate(net: Backbone) -> float:
        parts = ((part._replace(name="", repeats=1), part.repeats) for part in walk(net))
        return table.rest + sum(repeats * seconds(part) for part, repeats in parts)

    return estimate


def part_of_entry(name: str) -> Part:
    """The part of a network that an entry of a table names.

    Raises:
        UserError: it names none.
    """
    match = _ENTRY.fullmatch(name)
    if match is None:
        raise UserError(f"{name!r} is no entry of a latency table")
    inputs, outputs = int(match["inputs"]), int(match["outputs"])
    size = int(match["height"]), int(match["width"])
    style = Style(match["activation"], "same" if match["same"] else "symmetric")
    kind, *words = match["words"].split()
    given = [found.groups() for word in words if (found := _WORD.fullmatch(word))]
    fields: dict[str, Any] = {
        _FIELDS[short]: _number(value) for short, value in given if short in _FIELDS
    }
    if kind == "stem":
        pool = next((int(value) for short, value in given if short == "pool"), 1)
        stem = Stem(width=outputs, pool=pool, norm="bare" not in words, **fields)
        return stem_part(stem, inputs, size, style)[0]
    if kind == "head":
        width = next((int(value) for short, value in given if short == "w"), 0)
        head = Head(width=width, norm="norm" in words)
        return head_part(head, outputs, FeatureMap(inputs, size), style)
    if kind not in BLOCKS:
        raise UserError(f"{name!r} is no entry of a latency table")
    stage = Stage(block=kind, width=outputs, **{k: v for k, v in fields.items() if k != "stride"})
    args: tuple[Hashable, ...] = (stage, BlockContext(inputs, size, int(fields["stride"]), style))
    return Part("", 1, BLOCKS[kind], args)


def _number(value: str) -> int | float:
    return int(value) if value.isdigit() else float(value)


@lru_cache(maxsize=100_000)
def _kind(name: str) -> str:
    """What blocks have in common that differ in channels and sizes alone."""
    words, _, *rest = name.split(", ")
    return ", ".join([re.sub(r" w\d+", " w", words), *rest])


def _work(part: Part) -> Work:
    counted = block_counts(part.rule, part.args)
    return 1.0, float(counted.flops), float(counted.activations), float(counted.params)


def _away(one: Work, other: Work) -> float:
    return sum(abs(math.log((a + 1) / (b + 1))) for a, b in zip(one, other, strict=True))


def _sum(weights: Sequence[float], work: Work) -> float:
    return sum(weight * amount for weight, amount in zip(weights, work, strict=True))


def _fit(works: Sequence[Work], seconds: Sequence[float]) -> tuple[float, ...]:
    """Weights of at least 0 with the least squares of relative errors, by coordinate descent."""
    # Amounts in units of their means, so that the descent is even.
    units = [sum(column) / len(works) or 1.0 for column in zip(*works, strict=True)]
    rows = [
        [amount / unit / spent for amount, unit in zip(work, units, strict=True)]
        for work, spent in zip(works, seconds, strict=True)
    ]
    terms = range(len(units))
    gram = [[sum(row[i] * row[j] for row in rows) for j in terms] for i in terms]
    right = [sum(row[i] for row in rows) for i in terms]
    weights = [0.0] * len(units)
    for _ in range(_SWEEPS):
        for i in terms:
            others = sum(gram[i][j] * weights[j] for j in terms if j != i)
            weights[i] = max(0.0, (right[i] - others) / gram[i][i])
    return tuple(weight / unit for weight, unit in zip(weights, units, strict=True))
