"""The figure of the grid: the metric over each coefficient, and what it costs."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scalesearch.report.contents import Contents
from scalesearch.report.numbers import factor, metric_label, metric_name, score
from scalesearch.report.style import ACCENT, FAINT, INK, cost_axis, new_figure, style
from scalesearch.report.triangle import KEYS, draw_triangle

RUNNERS_UP = 4
# What a coefficient of a detector does, in words of its axis.
MEANINGS = {
    "alpha": "backbone depth multiplier",
    "beta": "backbone width multiplier",
    "neck_width": "width multiplier of neck and heads",
    "neck_depth": "layers added to the neck",
    "head_depth": "layers added to the heads",
    "resolution": "pixels added to the input",
}


@style()
def draw(contents: Contents) -> Figure | None:
    """A panel for each coefficient and one for all, or None when nothing of the grid has a score.

    Triples lie in a triangle by where their growth goes, other coefficients over their FLOPs.
    """
    best = ranked(contents)
    if best.empty:
        return None
    # Then the coefficients that round to a network which others of them give too.
    rows = pd.concat([best, contents.scored("grid").drop(best.index)])
    return _of_detectors(contents, rows) if contents.task == "detection" else _of(contents, rows)


def ranked(contents: Contents) -> pd.DataFrame:
    """The coefficients of the different networks, the winner first, then as they are ranked."""
    rows, winner = contents.ranking("grid"), contents.winner()
    if not contents.coefficient_names():
        return rows.iloc[:0]
    if winner is None:
        return rows
    order = [winner.name, *(index for index in rows.index if index != winner.name)]
    return rows.loc[order]


def shown(contents: Contents) -> list[str]:
    """The coefficients worth a panel and a column: of detectors those that vary."""
    names = contents.coefficient_names()
    if contents.task != "detection":
        return names
    rows = contents.scored("grid")
    return [name for name in names if rows[name].nunique() > 1]


def summary(contents: Contents) -> str:
    """The figure in words, for those who cannot see it."""
    rows = ranked(contents)
    best = rows.iloc[0]
    names = shown(contents) or contents.coefficient_names()
    values = ", ".join(f"{name.replace('_', ' ')} {best[name]:.6g}" for name in names)
    return (
        f"{metric_name(contents.metric)} of {len(contents.scored('grid'))} {kind(contents)}s; the best is {values} "
        f"with {score(best[contents.metric], contents.metric)}."
    )


def kind(contents: Contents) -> str:
    """What one point of the grid is called."""
    return "combination" if contents.task == "detection" else "triple"


def _of(contents: Contents, rows: pd.DataFrame) -> Figure:
    """Three panels below each other, and the triangle."""
    figure = new_figure(11, 6.2)
    cells = figure.add_gridspec(3, 2, width_ratios=(4, 5))
    for place, (name, meaning) in enumerate(KEYS.items()):
        axes = figure.add_subplot(cells[place, 0])
        _draw_coefficient(axes, contents, rows, name)
        axes.set_xlabel(f"{name} ({meaning} multiplier)")
    figure.axes[1].set_ylabel(metric_label(contents.metric))
    figure.axes[0].set_title(f"{metric_name(contents.metric)} by coefficient")
    last = figure.add_subplot(cells[:, 1])
    places = draw_triangle(last, rows, contents.metric)
    if places:
        _mark_winner(last, *places[0], contents)
    for rank, point in enumerate(places[_runners_up(contents)], start=2):
        last.annotate(f"{rank}", point, color="white", fontsize=8, ha="center", va="center")
    return _with_legend(figure)


def _of_detectors(contents: Contents, rows: pd.DataFrame) -> Figure:
    """A panel for each coefficient that varies, and the metric over FLOPs."""
    names = shown(contents)
    columns = min(len(names) + 1, 3)
    lines = -(-(len(names) + 1) // columns)
    figure = new_figure(max(11 / 3 * columns, 5), 3.2 * lines + 0.6)
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(lines, columns, place)
        _draw_coefficient(axes, contents, rows, name)
        axes.set_xlabel(f"{name.replace('_', ' ')} ({MEANINGS[name]})")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    _draw_costs(figure.add_subplot(lines, columns, len(names) + 1), contents, rows)
    for axes in figure.axes[::columns]:
        axes.set_ylabel(metric_label(contents.metric))
    figure.axes[0].set_title(f"{metric_name(contents.metric)} by coefficient" if names else "")
    return _with_legend(figure)


def _with_legend(figure: Figure) -> Figure:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def _draw_coefficient(axes: Axes, contents: Contents, rows: pd.DataFrame, name: str) -> None:
    values = rows[contents.metric] * factor(contents.metric)
    _draw_points(axes, contents, rows[name], values)
    groups = values.groupby(rows[name])
    axes.plot(groups.max(), color=INK, linewidth=1.6, label="best at this value", gid="best")
    axes.plot(groups.mean(), color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="mean")
    _mark_best(axes, contents, rows[name], values)


def _draw_costs(axes: Axes, contents: Contents, rows: pd.DataFrame) -> None:
    values = rows[contents.metric] * factor(contents.metric)
    flops = rows["flops"] / cost_axis(axes, [*rows["flops"]])
    _draw_points(axes, contents, flops, values)
    _mark_best(axes, contents, flops, values)
    axes.set_title(f"{metric_name(contents.metric)} against FLOPs")
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _draw_points(axes: Axes, contents: Contents, x: pd.Series, values: pd.Series) -> None:
    label = f"a {kind(contents)}"
    axes.plot(x, values, "o", color=FAINT, markersize=4, alpha=0.6, label=label)
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _mark_best(axes: Axes, contents: Contents, x: pd.Series, values: pd.Series) -> None:
    runners_up = _runners_up(contents)
    axes.plot(
        x.iloc[runners_up],
        values.iloc[runners_up],
        color=INK,
        linestyle="none",
        marker="o",
        markersize=8,
        fillstyle="none",
        label="runners-up",
    )
    _mark_winner(axes, x.iloc[0], values.iloc[0], contents)


def _runners_up(contents: Contents) -> slice:
    """Their places among the drawn rows, of which the ranked ones come first."""
    return slice(1, min(1 + RUNNERS_UP, len(ranked(contents))))


def _mark_winner(axes: Axes, x: float, y: float, contents: Contents) -> None:
    known = contents.winner() is not None
    axes.plot(
        x,
        y,
        color=ACCENT,
        linestyle="none",
        marker="*",
        markersize=16,
        markeredgecolor=INK,
        label="winner" if known else "best so far",
        zorder=5,
        gid="winner",
    )
