"""The figure of the grid: the metric over each coefficient, and where growth or FLOPs go."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scalesearch.report.contents import Contents
from scalesearch.report.numbers import factor, metric_label, metric_name, score
from scalesearch.report.style import ACCENT, FAINT, INK, LIGHTNESS, cost_axis, new_figure, style
from scalesearch.report.triangle import draw_corners, weighted
from scalesearch.scaling.coefficients import Coefficients

RUNNERS_UP = 4
TRIPLE = ("alpha", "beta", "gamma")
_POINT: dict[str, Any] = {"color": FAINT, "marker": "o", "markersize": 4, "alpha": 0.6}
_RUNNER_UP: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 8, "zorder": 3}
_RUNNER_UP |= {"fillstyle": "none"}
_BEST: dict[str, Any] = {"color": ACCENT, "marker": "*", "markersize": 16, "zorder": 5}
_BEST |= {"markeredgecolor": INK, "gid": "winner"}
_RANK: dict[str, Any] = {"color": "white", "fontsize": 8, "ha": "center", "va": "center"}


@style()
def draw(contents: Contents) -> Figure | None:
    """A panel for each coefficient and one for all, or None when nothing of the grid has a score.

    The last panel has triples in a triangle by where their growth in FLOPs goes, coefficients of
    detectors over their FLOPs.
    """
    if contents.ranking("grid").empty or not contents.coefficient_names():
        return None
    whole = tuple(contents.coefficient_names()) == TRIPLE
    figure = _draw_triples(contents) if whole else _draw_combinations(contents)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def shown(contents: Contents) -> list[str]:
    """The coefficients worth a panel and a column: all of a triple, else those that vary.

    A factory that does not scale all dimensions has fewer.
    """
    names, rows = contents.coefficient_names(), contents.scored("grid")
    if contents.task == "classification":
        return names
    return [name for name in names if rows[name].nunique() > 1]


def summary(contents: Contents) -> str:
    """The figure in words, for those who cannot see it."""
    best = contents.ranking("grid").iloc[0]
    names = shown(contents) or contents.coefficient_names()
    values = ", ".join(f"{name.replace('_', ' ')} {best[name]:.6g}" for name in names)
    return (
        f"{metric_name(contents.metric)} of {len(contents.scored('grid'))} "
        f"{contents.wording.point}s; the best is {values} "
        f"with {score(contents.mean(best), contents.metric)}."
    )


def growth_shares(triple: Coefficients) -> list[float]:
    """Which shares of the growth in FLOPs go to depth, width and resolution; they sum to 1."""
    logs = [math.log(triple.alpha), 2 * math.log(triple.beta), 2 * math.log(triple.gamma)]
    return [log / sum(logs) for log in logs]


def _draw_triples(contents: Contents) -> Figure:
    """Three panels below each other, and the triangle."""
    figure = new_figure(11, 6.2)
    cells = figure.add_gridspec(3, 2, width_ratios=(4, 5))
    for row, name in enumerate(contents.coefficient_names()):
        _draw_coefficient(figure.add_subplot(cells[row, 0]), contents, name)
    figure.axes[1].set_ylabel(metric_label(contents.metric))
    figure.axes[0].set_title(f"{metric_name(contents.metric)} by coefficient")
    _draw_triangle(figure.add_subplot(cells[:, 1]), contents)
    return figure


def _draw_combinations(contents: Contents) -> Figure:
    """A panel for each coefficient that varies, and the metric over FLOPs."""
    names = shown(contents)
    columns = min(len(names) + 1, 3)
    lines = -(-(len(names) + 1) // columns)
    figure = new_figure(max(11 / 3 * columns, 5), 3.2 * lines + 0.6)
    for cell, name in enumerate(names, start=1):
        _draw_coefficient(figure.add_subplot(lines, columns, cell), contents, name)
    last = figure.add_subplot(lines, columns, len(names) + 1)
    scale = cost_axis(last, list(contents.scored("grid")["flops"]))
    _draw_points(last, contents, "flops", scale)
    last.set_title(f"{metric_name(contents.metric)} against FLOPs")
    for axes in figure.axes:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for axes in figure.axes[::columns]:
        axes.set_ylabel(metric_label(contents.metric))
    figure.axes[0].set_title(f"{metric_name(contents.metric)} by coefficient" if names else "")
    return figure


def _draw_coefficient(axes: Axes, contents: Contents, name: str) -> None:
    _draw_points(axes, contents, name)
    rows = contents.scored("grid")
    groups = (rows[contents.metric] * factor(contents.metric)).groupby(rows[name])
    axes.plot(groups.max(), color=INK, linewidth=1.6, label="best at this value", gid="best")
    axes.plot(groups.mean(), color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="mean")
    axes.set_xlabel(f"{name.replace('_', ' ')} ({contents.wording.coefficients[name]})")


def _draw_points(axes: Axes, contents: Contents, column: str, scale: float = 1.0) -> None:
    """The metric over a column, with the best and the runners-up marked."""
    times, ranking = factor(contents.metric), contents.ranking("grid")
    for rows, label, looks in (
        (contents.scored("grid"), f"a {contents.wording.point}", _POINT),
        (ranking.iloc[1 : 1 + RUNNERS_UP], "runners-up", _RUNNER_UP),
        (ranking.iloc[:1], "winner" if contents.coefficients else "best so far", _BEST),
    ):
        x, y = rows[column] / scale, rows[contents.metric] * times
        axes.plot(x, y, linestyle="none", label=label, **looks)
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _draw_triangle(axes: Axes, contents: Contents) -> None:
    """Each triple where its growth goes, darker and larger when better; ranks of the best."""
    words = zip(("depth", "width", "resolution"), TRIPLE, strict=True)
    draw_corners(axes, [f"{word} alone ({name})" for word, name in words])
    axes.set_title("Where the growth in FLOPs goes")
    # The best are drawn last, on top of their neighbours.
    rows = contents.scored("grid").sort_values(contents.metric, kind="stable")
    rows = rows[[has_direction(triple) for triple in _triples(rows)]]
    if rows.empty:
        return
    values = rows[contents.metric] * factor(contents.metric)
    points = axes.scatter(
        *weighted(np.array([growth_shares(triple) for triple in _triples(rows)])),
        c=values,
        cmap=LIGHTNESS,
        s=25 + 170 * values.rank(pct=True) ** 2,
        edgecolors="white",
        linewidths=0.8,
    )
    bar = axes.figure.colorbar(points, cax=axes.inset_axes((0.03, 0.55, 0.03, 0.4)))
    bar.set_label(metric_label(contents.metric))
    bar.outline.set_visible(False)
    best = contents.ranking("grid").iloc[: 1 + RUNNERS_UP]
    for rank, triple in enumerate(_triples(best), start=1):
        if has_direction(triple) and rank == 1:
            axes.plot(*_point(triple), **_BEST)
        elif has_direction(triple):
            axes.annotate(f"{rank}", _point(triple), **_RANK)


def has_direction(triple: Coefficients) -> bool:
    """Whether its growth goes somewhere: at a product of 1 it has no shares."""
    return abs(math.log(triple.product)) > 1e-9


def triple_of(row: Any) -> Coefficients:
    """The coefficients of a row, by name; one that it does not have is 1."""
    return Coefficients(*(row.get(name, 1.0) for name in TRIPLE))


def _triples(rows: pd.DataFrame) -> list[Coefficients]:
    return [triple_of(row) for row in rows.to_dict("records")]


def _point(triple: Coefficients) -> tuple[float, float]:
    """Where a triple lies in the triangle."""
    x, y = weighted(np.array([growth_shares(triple)]))
    return float(x[0]), float(y[0])
