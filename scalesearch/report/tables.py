"""The tables of results on the page, as text in rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.op import Size
from scalesearch.cost.by_stage import by_stage
from scalesearch.cost.cost import UNITS
from scalesearch.report.contents import Contents
from scalesearch.report.family import COMPOUND, words
from scalesearch.report.grid import kind, ranked, shown
from scalesearch.report.numbers import NAMES, TIMES, cost, metric_word, percent, score

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


def stages(net: Architecture) -> Table:
    """One row for the stem, each stage and the head, or neck and heads: sizes, share of FLOPs."""
    found = list(by_stage(net))
    total = sum(row.costs["flops"] for row in found)
    rows = [
        [
            *(row.name, row.block, _by(row.size), f"{row.width}", f"{row.depth}"),
            cost("params", row.costs["params"]),
            percent(row.costs["flops"] / total),
        ]
        for row in found
    ]
    side = net.resolution
    made, ends = f"{net.depth} blocks", f"Activation {net.activation}"
    if isinstance(net, Detector):
        made += f", {net.neck.depth} layers of neck and {net.heads.depth} of heads,"
        ends = (
            "Of neck and heads: layers, output at the finest level, and the costs of all levels. "
            f"Activation {net.backbone.activation}, of neck and heads {net.activation}"
        )
    return Table(
        caption=f"The baseline: {made} for images of {_by((side, side))} pixels",
        head=["part", "block", "output", "width", "depth", "parameters", "FLOPs"],
        rows=rows,
        words=frozenset({0, 1}),
        note="Blocks: k is the side of their kernels, s the stride, e the expansion, se "
        "squeeze-excite channels as a share of the input, r the reduction. Width: output channels. "
        f"Depth: blocks. {ends}, {net.num_classes} classes.",
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
        head=["trial", metric_word(contents.metric), "FLOPs", "parameters"],
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
        head=["trial", metric_word(contents.metric), "latency", "FLOPs", "parameters"],
        rows=rows,
        marked=frozenset(marked),
        note="No other network has a better score and takes no longer.",
    )


def coefficients(contents: Contents) -> Table:
    """The best coefficients of the grid; of triples with their growth."""
    found, names = ranked(contents), shown(contents)
    triples = "gamma" in names
    rows = []
    for rank, (_, row) in enumerate(found.iloc[:TOP].iterrows(), start=1):
        values = [f"{row[name]:.4g}" for name in names]
        if triples:
            values.append(f"{row['alpha'] * row['beta'] ** 2 * row['gamma'] ** 2:.3f}")
        reached = score(row[contents.metric], contents.metric)
        rows.append([f"{rank}", *values, reached, cost("flops", row["flops"])])
    heads = [*(name.replace("_", " ") for name in names), *(["growth"] if triples else [])]
    return Table(
        caption=f"The best {len(rows)} of {len(contents.scored('grid'))} {kind(contents)}s",
        head=["rank", *heads, metric_word(contents.metric), "FLOPs"],
        rows=rows,
        marked=frozenset({0} if contents.winner() is not None else ()),
        note="Growth: alpha · beta² · gamma²." if triples else "",
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
            *("strategy", "phi", metric_word(contents.metric), "FLOPs", "of compound"),
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
        words(str(row["strategy"])),
        f"{row['phi']:.4g}",
        score(row.get(contents.metric, float("nan")), contents.metric),
        flops,
        ratio,
        params,
        *(cost(name, row.get(name, float("nan"))) for name in ("training_bytes", *timed)),
        str(row["state"]),
    ]
