"""Tables that only detectors have: how large their parts are, and AP by size of object."""

from __future__ import annotations

import pandas as pd

from scalesearch.arch.detector import Detector
from scalesearch.report.classes import best
from scalesearch.report.contents import Contents
from scalesearch.report.family import COMPOUND, words
from scalesearch.report.numbers import TIMES, metric_word, score
from scalesearch.report.tables import Table

# The columns of COCO's table of results, as far as trials have them.
_METRICS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ap50_voc")


def sizes(contents: Contents) -> Table:
    """The parts of every member, of the backbone as multiples of the baseline's."""
    start = contents.baseline
    rows: list[list[str]] = []
    marked: set[int] = set()
    for member in contents.members:
        if isinstance(member.architecture, Detector) and isinstance(start, Detector):
            if member.strategy == COMPOUND:
                marked.add(len(rows))
            named = (words(member.strategy), f"{member.phi:.4g}")
            rows.append([*named, *_sizes(member.architecture, start)])
    return Table(
        caption="What is scaled",
        head=[
            *("strategy", "phi", "resolution", "backbone depth", "backbone width"),
            *("neck width", "neck depth", "head depth"),
        ],
        rows=rows,
        words=frozenset({0}),
        marked=frozenset(marked),
        note="Of the backbone: blocks, and the sum of its stages' widths, as multiples of the "
        "baseline's. Heads are as wide as the neck; its depth and theirs: layers.",
    )


def by_size(contents: Contents) -> Table:
    """AP of the best network of each phase: over overlaps, at two of them, by size of object."""
    found = best(contents)
    names = [name for name in _METRICS if any(pd.notna(row.get(name)) for row in found.values())]
    none = float("nan")
    rows = [
        [phase, f"{row['number']:.0f}", *(score(row.get(name, none), name) for name in names)]
        for phase, row in found.items()
    ]
    return Table(
        caption="The best network of each phase",
        head=["phase", "trial", *map(metric_word, names)],
        rows=rows if names else [],
        words=frozenset({0}),
        note="AP from 0 to 100, the mean over intersections over union of .5 to .95; AP50 and "
        f"AP75: at .5 and at .75. Small: objects below 32{TIMES}32 pixels of the image; large: "
        f"above 96{TIMES}96.",
    )


def _sizes(net: Detector, start: Detector) -> list[str]:
    widths = [sum(stage.width for stage in each.backbone.stages) for each in (net, start)]
    multiples = (net.depth / start.depth, widths[0] / widths[1])
    return [
        f"{net.resolution}",
        *(f"{TIMES}{multiple:.2f}" for multiple in multiples),
        *(f"{count}" for count in (net.neck.width, net.neck.depth, net.heads.depth)),
    ]
