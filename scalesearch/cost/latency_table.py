"""Latency as a sum over blocks: a table with the seconds of each, and what it predicts.

The latency of a network is about the sum of its blocks', as each waits for the one before. Entries
are measured inside of whole networks, where blocks find the caches as their neighbours leave them.
The time outside of blocks (calls between them) is one constant, the median over these networks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.blocks import BlockContext
from scalesearch.arch.graph import FeatureMap
from scalesearch.arch.stage import BLOCK_FIELDS, SHORT, Stage
from scalesearch.arch.walk import walk
from scalesearch.cost.cost import Deployment
from scalesearch.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """The measured latency of a space's blocks, in seconds.

    Attributes:
        deployment: that it was measured for.
        machine, torch: that it was measured on and with.
        entries: name of an entry to its seconds, a reading for each network that it was timed in.
        rests: the time of each of those networks outside of its blocks.
        checks: digest of a network to readings of its latency as a whole; no entry was taken from
            these, so that predictions can be compared with them.

    Of several readings the least counts: a disturbance only ever adds to a time.
    """

    deployment: Deployment
    machine: str
    torch: str
    entries: Mapping[str, Sequence[float]] = field(default_factory=dict)
    rests: Sequence[float] = ()
    checks: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @cached_property
    def seconds(self) -> Mapping[str, float]:
        """Name of an entry to its seconds."""
        return {name: min(readings) for name, readings in self.entries.items()}

    @cached_property
    def rest(self) -> float:
        """The time of any network outside of its blocks."""
        return statistics.median(self.rests) if self.rests else 0.0


def predict(table: LatencyTable, backbone: Backbone) -> float:
    """The latency of a network in seconds, as the sum of its blocks; no torch.

    Raises:
        UserError: a block is not in the table.
    """
    total = table.rest
    for part in walk(backbone):
        name = entry_name(part.args)
        if name not in table.seconds:
            raise UserError(f"the latency table has no entry {name!r}")
        total += part.repeats * table.seconds[name]
    return total


@lru_cache(maxsize=100_000)
def entry_name(args: tuple[Any, ...]) -> str:
    """The entry of a part of the walk: `mbconv k5 e6 se0.0 s2, 24 to 40 channels of 56 x 56, silu`.

    Equal names, equal work: what does not change a block's latency (the depth of its stage, rates
    of dropout) is not in it.
    """
    match args:
        case (Stage() as stage, BlockContext(inputs, (height, width), stride, style)):
            outputs, names = stage.width, [n for n in BLOCK_FIELDS[stage.block] if n != "depth"]
            words = [stage.block, *(f"{SHORT[n]}{getattr(stage, n)}" for n in names), f"s{stride}"]
        case (Stem() as stem, inputs, (height, width), style):
            outputs, words = stem.width, ["stem", f"k{stem.kernel}", f"s{stem.stride}"]
            words += [f"pool{stem.pool}"] * (stem.pool > 1) + ["bare"] * (not stem.norm)
        case (Head() as head, outputs, FeatureMap(inputs, (height, width)), style):
            words = ["head", *([f"w{head.width}"] * (head.width > 0)), *(["norm"] * head.norm)]
        case _:
            raise AssertionError("the walk has no other parts")
    sizes = f"{inputs} to {outputs} channels of {height} x {width}"
    padding = ["same padding"] * (style.padding == "same")
    return ", ".join([" ".join(words), sizes, style.activation, *padding])


def table_from_plain(plain: Any) -> LatencyTable:
    """The table of a JSON file.

    Raises:
        UserError: it holds something else.
    """
    try:
        table = LatencyTable(**{**plain, "deployment": Deployment(**plain["deployment"])})
        sums = (sum(table.seconds.values()), table.rest, sum(map(min, table.checks.values())))
        valid = all(math.isfinite(seconds) for seconds in sums)
    except (TypeError, KeyError, AttributeError, ValueError):
        valid = False
    if not valid:
        raise UserError(
            "this is not a latency table",
            hint="measure one: `scalesearch profile --space SPACE.yaml --latency-out TABLE.json`",
        )
    return table
