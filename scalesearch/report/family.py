"""The figure of the family: the metric against FLOPs, one line per strategy."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalesearch.report.contents import Contents
from scalesearch.report.numbers import factor, metric_label, metric_name, score
from scalesearch.report.style import FAINT, INK, cost_axis, new_figure, style
from scalesearch.scaling.family import is_strategy

COMPOUND = "compound"
# Distinguished by marker, dashes and lightness; the colours only help.
_LINES: tuple[dict[str, Any], ...] = (
    {"color": "#1f4e9c", "linestyle": (0, (6, 2)), "marker": "s"},
    {"color": "#d8572a", "linestyle": (0, (6, 2, 1, 2)), "marker": "^"},
    {"color": "#4aa88f", "linestyle": (0, (1.5, 1.5)), "marker": "D"},
    {"color": "#8e6bb0", "linestyle": (0, (4, 1, 1, 1, 1, 1)), "marker": "v"},
    {"color": "#7a6a00", "linestyle": (0, (10, 3)), "marker": "X"},
)
_COMPOUND_LINE: dict[str, Any] = {"color": INK, "marker": "o", "linewidth": 3, "zorder": 4}


@style()
def draw(contents: Contents) -> Figure | None:
    """One panel as the EfficientNet paper's Figure 8, or None when no member has a score.

    Bars are the standard deviation of one training, where a score is the mean over several seeds.
    """
    lines = members(contents)
    if not lines:
        return None
    figure = new_figure(7.6, 5)
    axes = figure.subplots()
    scale = cost_axis(axes, list(contents.scored("family")["flops"]))
    times = factor(contents.metric)
    axes.set(title="Scaling the baseline", ylabel=metric_label(contents.metric))
    axes.margins(x=0.12, y=0.12)
    others = iter(_LINES * (1 + len(lines) // len(_LINES)))
    for strategy, rows in lines.items():
        looks = _COMPOUND_LINE if strategy == COMPOUND else next(others)
        x, y = rows["flops"] / scale, rows[contents.metric] * times
        looks = {"linewidth": 1.6, "markersize": 7} | looks
        axes.plot(x, y, label=words(strategy), gid=f"line-{strategy}", **looks)
        if (spread := f"{contents.metric}_spread") in rows:
            bars = rows[spread] * times
            axes.errorbar(x, y, bars, fmt="none", ecolor=looks["color"], capsize=3, linewidth=1)
    leader = COMPOUND if COMPOUND in lines else next(iter(lines))
    if is_strategy(leader):  # phi of listed lines only says how large they are, as the axis does
        _label_phi(axes, lines[leader], scale, contents.metric)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def members(contents: Contents) -> dict[str, pd.DataFrame]:
    """Strategy to its scored members by rising FLOPs, compound first.

    The baseline, phi 0, is a member of every strategy even where it was scored for one only; the
    lines that a study lists have their own members alone.
    """
    rows = contents.scored("family")
    if rows.empty or not {"strategy", "phi"} <= set(rows):
        return {}
    start = rows[rows["phi"] == 0].iloc[:1]
    strategies = sorted(rows["strategy"].unique(), key=lambda name: name != COMPOUND)
    lines = {}
    for strategy in strategies:
        own = rows[rows["strategy"] == strategy]
        if is_strategy(strategy) and not (own["phi"] == 0).any():
            own = pd.concat([start, own])
        lines[strategy] = own.sort_values(["flops", "phi"], kind="stable")
    return lines


def words(strategy: str) -> str:
    """A strategy in a sentence: `neck width`."""
    return strategy.replace("_", " ")


def summary(contents: Contents) -> str:
    """The figure in words, for those who cannot see it."""
    ends = (
        f"{words(strategy)} reaches {score(rows.iloc[-1][contents.metric], contents.metric)}"
        for strategy, rows in members(contents).items()
    )
    return f"{metric_name(contents.metric)} against FLOPs: {', '.join(ends)}."


def _label_phi(axes: Axes, rows: pd.DataFrame, scale: float, metric: str) -> None:
    """Writes phi above each member of one line, and a line at the FLOPs that others share."""
    for phi, flops, value in zip(rows["phi"], rows["flops"], rows[metric], strict=True):
        axes.axvline(flops / scale, color=FAINT, linewidth=0.6, linestyle=(0, (1, 3)), zorder=0)
        axes.annotate(
            f"\N{GREEK SMALL LETTER PHI} = {phi:.4g}",
            (flops / scale, value * factor(metric)),
            xytext=(-7, 6),
            textcoords="offset points",
            ha="right",
            fontweight="bold",
        )
