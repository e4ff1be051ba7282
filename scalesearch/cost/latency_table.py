"""Latency as a sum over blocks: a table with the seconds of each, and what it predicts.

A network takes about what its blocks take one after the other, as each waits for the one before.
The table's entries are measured inside of whole networks, where blocks find the caches as their
neighbours leave them; what a network takes beside its blocks (calls between them) is one constant,
the median of what was left over in every network that entries were taken from.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import BLOCK_FIELDS, SHORT, Stage
from scalesearch.arch.walk import walk
from scalesearch.cost.cost import Deployment
from scalesearch.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """What was measured of a space's blocks, in seconds.

    Attributes:
        deployment: that it was measured for.
        machine, torch: that it was measured on and with.
        entries: name of an entry to its seconds, a reading for each network that it was timed in.
        rests: what each of those networks took beside its blocks.
        checks: digest of a network to readings of its latency as a whole; no entry was taken from
            these, so that predictions can be held against them.

    Of several readings the least counts: whatever disturbs a machine only ever adds to it.
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
        """What any network takes beside its blocks."""
        return statistics.median(self.rests) if self.rests else 0.0


def predict(table: LatencyTable, backbone: Backbone) -> float:
    """The latency of a network in seconds, as the sum of its blocks; no torch.

    Raises:
        UserError: a block is not in the table.
    """
    total = table.rest
    for _, repeats, _, args in walk(backbone):
        name = entry_name(args, backbone.activation, backbone.padding)
        if name not in table.seconds:
            raise UserError(f"the latency table has no entry {name!r}")
        total += repeats * table.seconds[name]
    return total


@lru_cache(maxsize=100_000)
def entry_name(args: tuple[Hashable, ...], activation: str, padding: str) -> str:
    """The entry of a part of the walk: `mbconv k5 e6 se0.0 s2, 24 to 40 channels of 56 x 56, silu`.

    Equal names, equal work: what does not change a block's latency (the depth of its stage, rates
    of dropout) is not in it.
    """
    part = args[0]
    if isinstance(part, Stage):
        _, width, size, stride = args
        fields = [name for name in BLOCK_FIELDS[part.block] if name != "depth"]
        words = [part.block, *(f"{SHORT[name]}{getattr(part, name)}" for name in fields)]
        return _name([*words, f"s{stride}"], width, part.width, size, activation, padding)
    if isinstance(part, Stem):
        _, channels, size = args
        words = ["stem", f"k{part.kernel}", f"s{part.stride}"]
        words += [f"pool{part.pool}"] * (part.pool > 1) + ["bare"] * (not part.norm)
        return _name(words, channels, part.width, size, activation, padding)
    assert isinstance(part, Head)  # the walk has no other parts
    _, classes, width, size = args
    words = ["head", *([f"w{part.width}"] * (part.width > 0)), *(["norm"] * part.norm)]
    return _name(words, width, classes, size, activation, padding)


def _name(
    words: Sequence[str], inputs: Any, outputs: Any, size: Any, activation: str, padding: str
) -> str:
    height, width = size
    sizes = f"{inputs} to {outputs} channels of {height} x {width}"
    same = ["same padding"] * (padding == "same")
    return ", ".join([" ".join(words), sizes, activation, *same])


def table_to_plain(table: LatencyTable) -> dict[str, Any]:
    """The table as its JSON file holds it."""
    return asdict(table)


def table_from_plain(plain: Any) -> LatencyTable:
    """The table of a JSON file.

    Raises:
        UserError: it holds something else.
    """
    try:
        table = LatencyTable(**{**plain, "deployment": Deployment(**plain["deployment"])})
        sums = (sum(table.seconds.values()), table.rest, sum(map(min, table.checks.values())))
        whole = all(math.isfinite(seconds) for seconds in sums)
    except (TypeError, KeyError, AttributeError, ValueError):
        whole = False
    if not whole:
        raise UserError(
            "this is no latency table",
            hint="measure one: `scalesearch profile --space SPACE.yaml --latency-out TABLE.json`",
        )
    return table
