"""The figure of the grid: accuracy over alpha, beta and gamma."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scalesearch.report.contents import Contents
from scalesearch.report.numbers import is_share, metric_label, metric_name, score
from scalesearch.report.style import ACCENT, FAINT, INK, LIGHTNESS, new_figure, style

KEYS = {"alpha": "depth", "beta": "width", "gamma": "resolution"}
RUNNERS_UP = 4
# Corners of the triangle in which a triple is placed by where its growth goes.
_CORNERS = {"alpha": (0.5, math.sqrt(3) / 2), "beta": (0.0, 0.0), "gamma": (1.0, 0.0)}


@style()
def draw(contents: Contents) -> Figure | None:
    """Four panels, or None when no triple has a score."""
    rows = ranked(contents)
    if rows.empty:
        return None
    figure = new_figure(11, 6.2)
    cells = figure.add_gridspec(3, 2, width_ratios=(4, 5))
    for place, (key, meaning) in enumerate(KEYS.items()):
        axes = figure.add_subplot(cells[place, 0])
        _draw_coefficient(axes, contents, rows, key)
        axes.set_xlabel(f"{key} ({meaning} multiplier)")
        axes.margins(y=0.12)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    figure.axes[1].set_ylabel(metric_label(contents.metric))
    figure.axes[0].set_title(f"{metric_name(contents.metric)} by coefficient")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    _draw_triangle(figure.add_subplot(cells[:, 1]), contents, rows)
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def ranked(contents: Contents) -> pd.DataFrame:
    """The scored triples, the winner first, then by falling objective."""
    rows, winner = contents.ranking("grid"), contents.winner()
    if not set(KEYS) <= set(rows):
        return rows.iloc[:0]
    if winner is None:
        return rows
    order = [winner.name, *(index for index in rows.index if index != winner.name)]
    return rows.loc[order]


def growth_shares(alpha: float, beta: float, gamma: float) -> tuple[float, float, float]:
    """Which shares of the growth in FLOPs go to depth, width and resolution; they sum to 1."""
    logs = [math.log(alpha), 2 * math.log(beta), 2 * math.log(gamma)]
    total = sum(logs)
    return (logs[0] / total, logs[1] / total, logs[2] / total)


def summary(contents: Contents) -> str:
    """The figure in words, for those who cannot see it."""
    rows = ranked(contents)
    best = rows.iloc[0]
    return (
        f"{metric_name(contents.metric)} of {len(rows)} triples; the best is alpha "
        f"{best['alpha']:g}, beta {best['beta']:g}, gamma {best['gamma']:g} with "
        f"{score(best[contents.metric], contents.metric)}."
    )


def _draw_coefficient(axes: Axes, contents: Contents, rows: pd.DataFrame, key: str) -> None:
    values = rows[contents.metric] * (100 if is_share(contents.metric) else 1)
    axes.plot(rows[key], values, "o", color=FAINT, markersize=4, alpha=0.6, label="a triple")
    groups = values.groupby(rows[key])
    axes.plot(groups.max(), color=INK, linewidth=1.6, label="best at this value", gid="best")
    axes.plot(groups.mean(), color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label="mean")
    following = slice(1, 1 + RUNNERS_UP)
    axes.plot(
        rows[key].iloc[following],
        values.iloc[following],
        color=INK,
        linestyle="none",
        marker="o",
        markersize=8,
        fillstyle="none",
        label="runners-up",
    )
    _mark_winner(axes, rows[key].iloc[0], values.iloc[0], contents)


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


def _draw_triangle(axes: Axes, contents: Contents, rows: pd.DataFrame) -> None:
    """Each triple at the place that says where its growth goes, darker and larger when better."""
    _draw_corners(axes)
    growing = rows[rows["alpha"] * rows["beta"] ** 2 * rows["gamma"] ** 2 > 1]
    if growing.empty:
        return
    values = growing[contents.metric] * (100 if is_share(contents.metric) else 1)
    places = [_place(growth_shares(*t)) for t in growing[list(KEYS)].itertuples(index=False)]
    # The best are drawn last, on top of their neighbours.
    points = axes.scatter(
        [x for x, _ in reversed(places)],
        [y for _, y in reversed(places)],
        c=values.iloc[::-1],
        cmap=LIGHTNESS,
        s=25 + 170 * values.iloc[::-1].rank(pct=True) ** 2,
        edgecolors="white",
        linewidths=0.8,
    )
    _mark_winner(axes, *places[0], contents)
    for rank, place in enumerate(places[1 : 1 + RUNNERS_UP], start=2):
        axes.annotate(f"{rank}", place, color="white", fontsize=8, ha="center", va="center")
    bar = axes.figure.colorbar(points, cax=axes.inset_axes((0.03, 0.55, 0.03, 0.4)))
    bar.set_label(metric_label(contents.metric))
    bar.outline.set_visible(False)


def _place(shares: tuple[float, float, float]) -> tuple[float, float]:
    corners = list(_CORNERS.values())
    x = sum(share * corner[0] for share, corner in zip(shares, corners, strict=True))
    y = sum(share * corner[1] for share, corner in zip(shares, corners, strict=True))
    return x, y


def _draw_corners(axes: Axes) -> None:
    outline = [*_CORNERS.values(), _CORNERS["alpha"]]
    axes.plot(*zip(*outline, strict=True), color=FAINT, linewidth=1, zorder=0)
    for third in (0.25, 0.5, 0.75):
        for key in KEYS:
            ends = [_on_line(key, other, third) for other in KEYS if other != key]
            axes.plot(*zip(*ends, strict=True), color="#e4e4e4", linewidth=0.7, zorder=0)
    for key, (x, y) in _CORNERS.items():
        above = y > 0
        axes.annotate(
            f"{KEYS[key]} alone ({key})",
            (x, y),
            xytext=(0, 8 if above else -8),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
        )
    axes.set(title="Where the growth in FLOPs goes", aspect="equal")
    axes.set_axis_off()
    axes.set_anchor("N")
    axes.set_xlim(-0.22, 1.22)
    axes.set_ylim(-0.12, 1.12)


def _on_line(key: str, other: str, share: float) -> tuple[float, float]:
    """The point where the whole growth goes to two coefficients, `share` of it to `key`."""
    (x, y), (far_x, far_y) = _CORNERS[key], _CORNERS[other]
    return share * x + (1 - share) * far_x, share * y + (1 - share) * far_y
