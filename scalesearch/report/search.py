"""The figure of the search: the metric against FLOPs with the Pareto front, and its progress."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scalesearch.cost.limits import Limit
from scalesearch.report.contents import Contents
from scalesearch.report.numbers import (
    factor,
    is_share,
    metric_label,
    metric_name,
    objective_words,
    score,
)
from scalesearch.report.style import (
    ACCENT,
    CROWD,
    FAINT,
    INK,
    LIGHTNESS,
    RASTER_FROM,
    SHADE,
    cost_axis,
    lower_end,
    new_figure,
    style,
)
from scalesearch.units import format_count

# Marks along the lower edge: ticks for trials without a score, hollow arrows for outliers that
# would squeeze everything else into a line.
_TICKS: dict[str, Any] = {"marker": "|", "markersize": 9, "color": FAINT, "height": 0.022}
_ARROWS: dict[str, Any] = {"marker": "v", "fillstyle": "none", "color": INK, "height": 0.075}


@style()
def draw(contents: Contents) -> Figure | None:
    """Two panels, or None when no trial of the search has a score."""
    rows = contents.scored("search")
    if rows.empty:
        return None
    figure = new_figure(11, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_front(left, contents, rows)
    _draw_progress(right, contents, rows)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def summary(contents: Contents) -> str:
    """The figure in words, for those who cannot see it."""
    rows, front = contents.scored("search"), contents.front("search")
    best = front.iloc[-1]
    metric = score(best[contents.metric], contents.metric)
    return (
        f"{metric_name(contents.metric)} against FLOPs of {len(rows)} networks; "
        f"{len(front)} on the Pareto front, the best with {metric} "
        f"at {format_count(best['flops'])} FLOPs."
    )


def _draw_front(axes: Axes, contents: Contents, rows: pd.DataFrame) -> None:
    infeasible = contents.in_state("search", "infeasible")
    infeasible = infeasible[infeasible["flops"] > 0]
    limit = contents.limits.get("search", {}).get("flops")
    bounds = [bound for bound in (limit.min, limit.max) if bound] if limit else []
    compared = contents.scored("compare")["flops"]
    scale = cost_axis(axes, [*rows["flops"], *infeasible["flops"], *bounds, *compared])
    times = factor(contents.metric)
    low = lower_end(list(rows[contents.metric])) * times
    axes.set_title(f"{metric_name(contents.metric)} against FLOPs")
    axes.set_ylabel(metric_label(contents.metric))
    _draw_points(axes, rows["flops"] / scale, rows[contents.metric] * times, rows["number"])
    front = contents.front("search")
    axes.plot(
        front["flops"] / scale,
        front[contents.metric] * times,
        color=INK,
        drawstyle="steps-post",
        linewidth=1.6,
        marker="o",
        markersize=7.5 if len(rows) <= CROWD else 5,
        fillstyle="none",
        markeredgewidth=1.4,
        label=f"Pareto front ({len(front)})",
        zorder=3,
        gid="front",
    )
    outside = f"infeasible, outside a limit ({len(infeasible)})"
    _draw_at_edge(axes, infeasible["flops"] / scale, outside, _TICKS)
    below = rows["flops"][rows[contents.metric] * times < low] / scale
    label = f"below {low:.4g}{' %' * is_share(contents.metric)} ({len(below)})"
    _draw_at_edge(axes, below, label, _ARROWS)
    _draw_baseline(axes, contents, scale)
    _draw_compared(axes, contents, scale)
    if limit is not None:
        _draw_limit(axes, limit, scale)
    _fit(axes, low, max(rows[contents.metric]) * times)


def _draw_points(axes: Axes, x: pd.Series, y: pd.Series, numbers: pd.Series) -> None:
    points = axes.scatter(
        x,
        y,
        c=numbers,
        cmap=LIGHTNESS,
        s=34 if len(x) <= CROWD else 14,
        edgecolors=INK,
        linewidths=0.4,
        label=f"assessed ({len(x)})",
        zorder=2,
        rasterized=len(x) > RASTER_FROM,
    )
    if numbers.nunique() < 2:
        return
    bar = axes.figure.colorbar(points, ax=axes, pad=0.02, aspect=30)
    bar.set_label("trial number (later is darker)")
    bar.outline.set_visible(False)


def _draw_at_edge(axes: Axes, x: pd.Series, label: str, looks: dict[str, Any]) -> None:
    if x.empty:
        return
    looks = dict(looks)
    axes.plot(
        x,
        [looks.pop("height")] * len(x),
        linestyle="none",
        alpha=1 if len(x) <= CROWD else 0.35,
        transform=axes.get_xaxis_transform(),
        label=label,
        rasterized=len(x) > RASTER_FROM,
        **looks,
    )


def _draw_baseline(axes: Axes, contents: Contents, scale: float) -> None:
    row = contents.baseline_row()
    if row is None or contents.baseline_trial is None:
        return
    axes.plot(
        row["flops"] / scale,
        row[contents.metric] * factor(contents.metric),
        color=ACCENT,
        linestyle="none",
        marker="*",
        markersize=16,
        markeredgecolor=INK,
        markeredgewidth=1,
        clip_on=False,  # it may be the cheapest and stand at the edge
        label=(
            f"baseline: trial {contents.baseline_trial}, {format_count(row['flops'])}, "
            f"{score(row[contents.metric], contents.metric)}"
        ),
        zorder=5,
    )


def _draw_compared(axes: Axes, contents: Contents, scale: float) -> None:
    """The networks that the search is compared with, each with its name."""
    for row in contents.scored("compare").to_dict("records"):
        axes.plot(
            row["flops"] / scale,
            row[contents.metric] * factor(contents.metric),
            color="white",
            linestyle="none",
            marker="D",
            markersize=8,
            markeredgecolor=INK,
            markeredgewidth=1.6,
            label=(
                f"{row['network']}: {format_count(row['flops'])}, "
                f"{score(row[contents.metric], contents.metric)}"
            ),
            zorder=4,
        )


def _draw_limit(axes: Axes, limit: Limit, scale: float) -> None:
    """A dashed line at each bound; what lies outside is shaded and holds its label."""
    left, right = axes.get_xlim()
    log = axes.get_xscale() == "log"
    room = (right / left) ** 0.06 if log else 1 + 0.06 * (right - left) / right
    for bound, words, side in ((limit.min, "at least", -1), (limit.max, "at most", 1)):
        if bound is None:
            continue
        x = bound / scale
        end = max(right, x * room) if side > 0 else min(left, x / room)
        axes.axvspan(x, end, color=SHADE, zorder=0, linewidth=0)
        axes.axvline(x, color=INK, linestyle=(0, (5, 3)), linewidth=1.1)
        axes.annotate(
            f"{words} {format_count(bound)}",
            (x, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(4 * side, -4),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="top",
            rotation=90,
            fontsize=9,
        )
        left, right = min(left, end), max(right, end)
    axes.set_xlim(left, right)


def _draw_progress(axes: Axes, contents: Contents, rows: pd.DataFrame) -> None:
    """The objective of each trial, and the best so far."""
    same = rows["objective"].equals(rows[contents.metric])
    aim = objective_words(contents.objective, contents.metric)
    label = metric_label(contents.metric) if same else f"objective: {aim}"
    values = rows["objective"] * (factor(contents.metric) if same else 1)
    best = values.cummax()
    axes.set(title="Best so far", xlabel="trial number", ylabel=label)
    axes.plot(rows["number"], values, ".", color=FAINT, rasterized=len(rows) > RASTER_FROM)
    last = contents.phase("search")["number"].max()
    axes.plot(
        [*rows["number"], last],
        [*best, best.iloc[-1]],
        color=INK,
        drawstyle="steps-post",
        linewidth=1.6,
        gid="best",
    )
    infeasible = contents.in_state("search", "infeasible")["number"]
    _draw_at_edge(axes, infeasible, "infeasible", _TICKS)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    low = lower_end(list(values))
    _draw_at_edge(axes, rows["number"][values < low], "below", _ARROWS)
    _fit(axes, low, max(values))


def _fit(axes: Axes, low: float, high: float) -> None:
    """Leaves room under the points for the marks along the lower edge."""
    span = (high - low) or max(abs(high) * 0.02, 1e-3)
    axes.set_ylim(low - 0.16 * span, high + 0.08 * span)
