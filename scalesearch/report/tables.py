"""The tables of results on the page, as text in rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.op import Size
from scalesearch.cost.by_stage import by_stage
from scalesearch.cost.cost import UNITS
from scalesearch.report.contents import Contents
from scalesearch.report.family import COMPOUND
from scalesearch.report.grid import KEYS, ranked
from scalesearch.report.numbers import NAMES, TIMES, cost, percent, score

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
        [NAMES[name], cost(name, row[name]), f"{row[name]:,.{6 * (unit == 'seconds')}f} {unit}"]
        for name, unit in known
    ]
    return Table(
        caption="What the baseline costs, as measured",
        head=["cost", "rounded", "exactly"],
        rows=rows,
        words=frozenset({0}),
    )


def stages(backbone: Backbone) -> Table:
    """One row for the stem, each stage and the head: sizes and the share of the FLOPs."""
    found = list(by_stage(backbone))
    total = sum(row.costs["flops"] for row in found)
    rows = [
        [
            *(row.name, row.block, _by(row.size), f"{row.width}", f"{row.depth}"),
            cost("params", row.costs["params"]),
            percent(row.costs["flops"] / total),
        ]
        for row in found
    ]
    side = backbone.resolution
    return Table(
        caption=f"The baseline: {backbone.depth} blocks for images of {_by((side, side))} pixels",
        head=["part", "block", "output", "width", "depth", "parameters", "FLOPs"],
        rows=rows,
        words=frozenset({0, 1}),
        note="Blocks: k is the side of their kernels, s the stride, e the expansion, se "
        "squeeze-excite channels as a share of the input, r the reduction. Width: output channels. "
        f"Depth: blocks. Activation {backbone.activation}, {backbone.num_classes} classes.",
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


def latency_front(contents: Contents) -> Table:
    """The front of the search in metric and measured latency, best first."""
    found = contents.front("search", "latency").iloc[::-1]
    rows = [
        [
            f"{row['number']:.0f}",
            score(row[contents.metric], contents.metric),
            *(cost(name, row[name]) for name in ("latency", "flops", "params")),
        ]
        for _, row in found.iterrows()
    ]
    marked = [i for i, number in enumerate(found["number"]) if number == contents.baseline_trial]
    return Table(
        caption="The Pareto front in latency",
        head=["trial", contents.metric, "latency", "FLOPs", "parameters"],
        rows=rows,
        marked=frozenset(marked),
        note="No other network has a better score and takes no longer.",
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
    timed = ["latency"] if "latency" in found and found["latency"].notna().any() else []
    rows = [_member(contents, row, ratio, timed) for _, row, ratio in placed]
    marked = [i for i, (_, row, _) in enumerate(placed) if row["strategy"] == COMPOUND]
    return Table(
        caption="Members",
        head=[
            *("strategy", "phi", contents.metric, "FLOPs", "of compound"),
            *("parameters", "training memory", *timed, "state"),
        ],
        rows=rows,
        words=frozenset({0, 7 + len(timed)}),
        marked=frozenset(marked),
        note="Of compound: FLOPs as a share of those of the compound member above.",
    )


def _by(size: Size) -> str:
    return f"{size[0]} {TIMES} {size[1]}"


def _sizes(row: pd.Series) -> list[str]:
    return [cost(name, row.get(name, float("nan"))) for name in ("flops", "params")]


def _member(contents: Contents, row: pd.Series, ratio: str, timed: Sequence[str]) -> list[str]:
    flops, params = _sizes(row)
    return [
        str(row["strategy"]),
        f"{row['phi']:.4g}",
        score(row.get(contents.metric, float("nan")), contents.metric),
        flops,
        ratio,
        params,
        *(cost(name, row.get(name, float("nan"))) for name in ("training_bytes", *timed)),
        str(row["state"]),
    ]
