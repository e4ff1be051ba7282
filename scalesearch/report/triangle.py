"""The triangle of the grid: where the growth in FLOPs of each triple goes."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes

from scalesearch.report.numbers import factor, metric_label
from scalesearch.report.style import FAINT, LIGHTNESS

KEYS = {"alpha": "depth", "beta": "width", "gamma": "resolution"}
# Corners of the triangle in which a triple is placed by where its growth goes.
_CORNERS = {"alpha": (0.5, math.sqrt(3) / 2), "beta": (0.0, 0.0), "gamma": (1.0, 0.0)}


def draw_triangle(axes: Axes, rows: pd.DataFrame, metric: str) -> list[tuple[float, float]]:
    """Each triple at the place that says where its growth goes, darker and larger when better.

    Returns the places of those that grow, in the order of `rows`, best first.
    """
    _draw_corners(axes)
    growing = rows[rows["alpha"] * rows["beta"] ** 2 * rows["gamma"] ** 2 > 1]
    if growing.empty:
        return []
    values = growing[metric] * factor(metric)
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
    bar = axes.figure.colorbar(points, cax=axes.inset_axes((0.03, 0.55, 0.03, 0.4)))
    bar.set_label(metric_label(metric))
    bar.outline.set_visible(False)
    return places


def growth_shares(alpha: float, beta: float, gamma: float) -> tuple[float, float, float]:
    """Which shares of the growth in FLOPs go to depth, width and resolution; they sum to 1."""
    logs = [math.log(alpha), 2 * math.log(beta), 2 * math.log(gamma)]
    total = sum(logs)
    return (logs[0] / total, logs[1] / total, logs[2] / total)


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
