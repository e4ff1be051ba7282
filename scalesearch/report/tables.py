"""The tables of results on the page, as text in rows and columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.stage import BLOCK_FIELDS, Stage
from scalesearch.arch.walk import walk
from scalesearch.cost.cost import UNITS
from scalesearch.cost.tally import tally
from scalesearch.report.contents import Contents
from scalesearch.report.family import COMPOUND
from scalesearch.report.grid import KEYS, ranked
from scalesearch.report.numbers import NAMES, NONE, TIMES, cost, percent, score

TOP = 10


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page.

    Attributes:
        caption: what the rows are.
        head: one word or two for each column.
        rows: as many texts each.
        words: columns that hold words; the others hold numbers.
        marked: rows that stand out.
        note: a sentence below.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()
    note: str = ""


def costs(row: pd.Series) -> Table:
    """Every cost of one trial."""
    known = [(name, unit) for name, unit in UNITS.items() if name in row and row[name] > 0]
    rows = [
        [NAMES[name], cost(name, row[name]), f"{row[name]:,.0f} {unit}"] for name, unit in known
    ]
    return Table(
        caption="What the baseline costs, as measured",
        head=["cost", "rounded", "exactly"],
        rows=rows,
        words=frozenset({0}),
    )


def stages(backbone: Backbone) -> Table:
    """One row for the stem, each stage and the head: sizes and the share of the FLOPs."""
    sizes: dict[str, int] = {}
    flops: Counter[str] = Counter()
    side = backbone.resolution
    for part in walk(backbone):
        flops[part.name] += part.repeats * tally(part.ops).flops
        images = [op.size_out[0] for op in part.ops if op.kind in ("conv", "cut")]
        # Squeeze-excite works on one pixel: the last of the images is the output.
        side = images[-1] if images else side
        sizes[part.name] = side
    total = sum(flops.values())
    described: dict[str, list[object]] = {
        "stem": ["conv", backbone.stem.width, 1, backbone.stem.kernel, NONE, NONE],
        **{f"stage{i}": _stage(stage) for i, stage in enumerate(backbone.stages, start=1)},
        "head": ["conv, pool, linear", backbone.head.width, 1, 1, NONE, NONE],
    }
    rows = [
        [name, f"{block}", _square(sizes[name]), *map(str, rest), percent(flops[name] / total)]
        for name, (block, *rest) in described.items()
    ]
    return Table(
        caption=f"The baseline: {backbone.depth} blocks for images of "
        f"{_square(backbone.resolution)} pixels",
        head=["part", "block", "output", "width", "depth", "kernel", "expand", "SE", "FLOPs"],
        rows=rows,
        words=frozenset({0, 1}),
        note="Width: output channels. Depth: blocks. SE: squeeze-excite channels as a share of the "
        f"block's input. Activation {backbone.activation}, {backbone.num_classes} classes.",
    )


def front(contents: Contents) -> Table:
    """The Pareto front of the search, best first."""
    found = contents.front("search").iloc[::-1]
    rows = [
        [f"{row['number']:.0f}", score(row[contents.metric], contents.metric), *_sizes(row)]
        for _, row in found.iterrows()
    ]
    marked = [i for i, number in enumerate(found["number"]) if number == contents.baseline_trial]
    return Table(
        caption="The Pareto front",
        head=["trial", contents.metric, "FLOPs", "parameters"],
        rows=rows,
        marked=frozenset(marked),
        note="No other network has a better score for no more FLOPs.",
    )


def triples(contents: Contents) -> Table:
    """The best triples of the grid."""
    found = ranked(contents)
    rows = []
    for rank, (_, row) in enumerate(found.iloc[:TOP].iterrows(), start=1):
        growth = row["alpha"] * row["beta"] ** 2 * row["gamma"] ** 2
        triple = [f"{row[key]:.4g}" for key in KEYS]
        reached = score(row[contents.metric], contents.metric)
        rows.append([f"{rank}", *triple, f"{growth:.3f}", reached, cost("flops", row["flops"])])
    return Table(
        caption=f"The best {len(rows)} of {len(found)} triples",
        head=["rank", *KEYS, "growth", contents.metric, "FLOPs"],
        rows=rows,
        marked=frozenset({0} if contents.winner() is not None else ()),
        note="Growth: alpha · beta² · gamma².",
    )


def family(contents: Contents) -> Table:
    """Every member; below each compound member those that come nearest to its FLOPs."""
    found = contents.phase("family")
    rivals = found.loc[found["strategy"] == COMPOUND, "flops"].dropna()
    placed = []
    for _, row in found.iterrows():
        gaps = (rivals / row["flops"]).map(lambda ratio: max(ratio, 1 / ratio)).dropna()
        rival = rivals[gaps.idxmin()] if len(gaps) else float("nan")
        # A member without a cost comes last.
        order = (rival if rival == rival else float("inf"), row["strategy"] != COMPOUND)
        placed.append((order, row, percent(row["flops"] / rival)))
    placed.sort(key=lambda member: member[0])
    rows = [_member(contents, row, ratio) for _, row, ratio in placed]
    marked = [i for i, (_, row, _) in enumerate(placed) if row["strategy"] == COMPOUND]
    return Table(
        caption="Members",
        head=[
            *("strategy", "phi", contents.metric, "FLOPs", "of compound"),
            *("parameters", "training memory", "state"),
        ],
        rows=rows,
        words=frozenset({0, 7}),
        marked=frozenset(marked),
        note="Of compound: FLOPs as a share of those of the compound member above.",
    )


def _square(side: int) -> str:
    return f"{side} {TIMES} {side}"


def _stage(stage: Stage) -> list[object]:
    used = BLOCK_FIELDS[stage.block]
    fields = [getattr(stage, key) if key in used else NONE for key in ("depth", "kernel", "expand")]
    return [stage.block, stage.width, *fields, f"{stage.se:g}" if stage.se else NONE]


def _sizes(row: pd.Series) -> list[str]:
    return [cost(name, row.get(name, float("nan"))) for name in ("flops", "params")]


def _member(contents: Contents, row: pd.Series, ratio: str) -> list[str]:
    flops, params = _sizes(row)
    return [
        str(row["strategy"]),
        f"{row['phi']:.4g}",
        score(row.get(contents.metric, float("nan")), contents.metric),
        flops,
        ratio,
        params,
        cost("training_bytes", row.get("training_bytes", float("nan"))),
        str(row["state"]),
    ]
