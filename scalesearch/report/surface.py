"""The figure of a response surface: where the best coefficients lie, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from scalesearch.report.contents import Contents
from scalesearch.report.style import ACCENT, FAINT, INK, LIGHTNESS, SHADE, new_figure, style
from scalesearch.report.triangle import draw_corners, weighted
from scalesearch.scaling.coefficients import COEFFICIENTS
from scalesearch.scaling.response import FLAT, Response
from scalesearch.scaling.summary import leave_one_out

_ENDS = (0.025, 0.975)
_POINTS = 120
_CLOUD = 400  # optima of draws that are shown
_BEST: dict[str, Any] = {"color": ACCENT, "marker": "*", "markersize": 15, "zorder": 6}
_BEST |= {"markeredgecolor": INK, "linestyle": "none", "gid": "best"}
_PAPER: dict[str, Any] = {"color": "white", "marker": "D", "markersize": 7, "zorder": 5}
_PAPER |= {"markeredgecolor": INK, "linestyle": "none", "gid": "paper"}
_RESULT: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 4.5, "linestyle": "none"}
_FAILED: dict[str, Any] = {"color": ACCENT, "marker": "x", "markersize": 8, "linestyle": "none"}
_MARKERS = "osD^vXP*hd"


@style()
def draw(response: Response, base: Mapping[str, float] | None = None) -> Figure:
    """Left where the budget should go, right the results and the surface through them.

    `base` are the base's sizes, by which the results are labelled; by default their multipliers
    are.
    """
    figure = new_figure(11, 4.8)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    dimensions = len(response.evidence.dimensions)
    if dimensions == 3:
        _draw_triangle(left, response)
    elif dimensions == 2:
        _draw_line(left, response)
    else:
        _draw_errors(left, response)
    if dimensions == 3 or response.evidence.at_one_budget:
        _draw_predicted(right, response)
    else:
        _draw_results(right, response, base or dict.fromkeys(response.evidence.dimensions, 1.0))
    handles, labels = left.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def draw_contents(contents: Contents) -> Figure | None:
    """The figure of a study's grid, if there is a surface through it."""
    return None if contents.surface is None else draw(contents.surface)


def summary_of_contents(contents: Contents) -> str:
    """The same in words."""
    return "" if contents.surface is None else summary(contents.surface)


def summary(response: Response) -> str:
    """The figure in words, for those who cannot see it."""
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in response.lines)


def _draw_line(axes: Axes, response: Response) -> None:
    """Accuracy along the budget of two dimensions, with the band of draws."""
    evidence, where = response.evidence, response.budget
    shares = np.linspace(0, 1, _POINTS + 1)
    logs = where.logs(np.column_stack([1 - shares, shares]))
    x = np.exp(logs[:, 1])
    accuracies = 100 * (1 - response.surface.errors(logs))
    best = where.logs(response.shares)[None]
    differences = response.draws.errors(best) - response.draws.errors(logs)
    low, high = 100 * (response.accuracy + np.quantile(differences, _ENDS, axis=1))
    second = COEFFICIENTS[evidence.dimensions[1]]
    interval = response.intervals[second]
    axes.axvspan(interval.low, interval.high, color=SHADE, zorder=0, label="95 % interval")
    axes.fill_between(
        x,
        low,
        high,
        color="#c6dbef",
        alpha=0.7,
        linewidth=0,
        label="95 % of differences to the best",
    )
    axes.plot(x, accuracies, color="#105ba4", linewidth=2, label="surface", gid="surface")
    near = (accuracies >= 100 * response.accuracy - FLAT) & evidence.reaches(logs)
    region = np.where(near, accuracies, np.nan)
    axes.plot(x, region, color=INK, linewidth=4, label=f"within {FLAT:g} points of the best")
    if evidence.at_one_budget:
        axes.plot(np.exp(evidence.logs[:, 1]), 100 * (1 - evidence.errors), **_RESULT)
    for each in response.comparisons:
        if each.name == "paper":
            value = each.coefficients[second]
            axes.plot(
                value,
                100 * response.accuracy - each.gain,
                label="the paper's coefficients",
                **_PAPER,
            )
    axes.plot(response.best[second], 100 * response.accuracy, label="best", **_BEST)
    _label_pairs(axes, logs, evidence.dimensions)
    axes.set_title(f"Where {evidence.budget:g} times the {evidence.cost} should go")
    axes.set_ylabel("accuracy (%)")


def _label_pairs(axes: Axes, logs: np.ndarray, dimensions: tuple[str, ...]) -> None:
    """Ticks with both coefficients, as one follows from the other."""
    places = np.linspace(0, len(logs) - 1, 6).round().astype(int)
    first, second = np.exp(logs[places]).T
    axes.xaxis.set_major_locator(FixedLocator(second.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{b:.2f}\n{a:.2f}" for a, b in zip(first, second, strict=True)])
    names = [f"{COEFFICIENTS[name]} ({name})" for name in dimensions]
    axes.set_xlabel(f"{names[1]}, below it {names[0]}")


def _draw_triangle(axes: Axes, response: Response) -> None:
    """Where growth goes among three dimensions: contours of the loss against the best."""
    words = [f"{name} alone" for name in response.evidence.dimensions]
    draw_corners(axes, words)
    points = _triangle_shares()
    logs = response.budget.logs(points)
    near = response.evidence.reaches(logs)
    loss = 100 * (response.accuracy - (1 - response.surface.errors(logs)))
    x, y = weighted(points[near])
    loss = np.maximum(loss[near], 0.0)
    levels = np.array([0.0, FLAT, 0.25, 0.5, 1.0, 2.0, 4.0])
    levels = np.append(levels[levels < loss.max()], max(float(loss.max()), FLAT) * 1.001)
    colours = LIGHTNESS.reversed()
    norm = BoundaryNorm(levels, colours.N)
    filled = axes.tricontourf(x, y, loss, levels=levels, cmap=colours, norm=norm)
    bar = axes.figure.colorbar(filled, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label("points below the best")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    bar.outline.set_visible(False)
    tops = _tops(response)
    axes.scatter(
        *weighted(tops),
        s=9,
        color="white",
        edgecolors=FAINT,
        linewidths=0.4,
        label="best of a draw",
    )
    for each in response.comparisons:
        if each.name == "paper":
            shares = np.log(list(each.coefficients.values())) * response.budget.exponents
            place = weighted((shares / response.budget.log_growth)[None])
            axes.plot(*place, label="the paper's coefficients", **_PAPER)
    axes.plot(*weighted(response.shares[None]), label="best", **_BEST)
    axes.set_title(f"Where {response.evidence.budget:g} times the {response.evidence.cost} go")


def _tops(response: Response) -> np.ndarray:
    """Shares of the best point on some of the draws, float [draws, 3]."""
    points = response.budget.points()
    logs = response.budget.logs(points)
    kept = response.evidence.reaches(logs)
    best = response.draws.best(logs[kept])
    return points[kept][best[:: max(1, len(best) // _CLOUD)]]


def _triangle_shares(steps: int = 40) -> np.ndarray:
    """All shares of three in steps, float [points, 3]."""
    pairs = [(i, j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    first = np.array(pairs) / steps
    return np.column_stack([first, 1 - first.sum(axis=1)])


def _draw_errors(axes: Axes, response: Response) -> None:
    """One dimension: leave-one-out errors over it."""
    evidence = response.evidence
    left_out = sum(each.share * each.left_out for each in response.surface.candidates)
    kept = _kept(response)
    x = np.exp(evidence.logs[:, 0])
    axes.axhline(0, color=FAINT, linewidth=1)
    axes.plot(x[kept], 100 * np.asarray(left_out)[kept], **_RESULT)
    axes.set_title("Errors of the surface without each result")
    axes.set_xlabel(f"times the base's {evidence.dimensions[0]}")
    axes.set_ylabel("points")


def _draw_predicted(axes: Axes, response: Response) -> None:
    """Each result against what the surface of all others says of it."""
    evidence = response.evidence
    measured = 100 * (1 - evidence.errors)
    checked = leave_one_out(response) is not None
    left_out = sum(each.share * each.left_out for each in response.surface.candidates)
    surface = 1 - response.surface.errors(evidence.logs)
    predicted = measured + 100 * np.asarray(left_out) if checked else 100 * surface
    kept = _kept(response)
    ends = [measured[kept].min(), measured[kept].max()]
    axes.plot(ends, ends, color=FAINT, linewidth=1)
    axes.plot(predicted[kept], measured[kept], **_RESULT)
    axes.set_title(f"Results against the surface{' of the others' if checked else ''}")
    without = "predicted without it" if checked else "of the surface, which meets every result"
    axes.set_xlabel(f"accuracy {without} (%)")
    axes.set_ylabel("accuracy (%)")


def _draw_results(axes: Axes, response: Response, base: Mapping[str, float]) -> None:
    """Results over the last dimension, a line of the surface for each value of the first."""
    evidence = response.evidence
    names = evidence.dimensions
    over = names[-1]
    sizes = {name: np.exp(evidence.logs[:, i]) * base[name] for i, name in enumerate(names)}
    groups = np.unique(sizes[names[0]].round(6)) if len(names) == 2 else np.array([0.0])
    shown = groups[np.linspace(0, len(groups) - 1, min(len(groups), 8)).round().astype(int)]
    kept = _kept(response)
    for number, group in enumerate(shown):
        rows = np.isclose(sizes[names[0]], group) if len(names) == 2 else np.full(len(kept), True)
        colour = LIGHTNESS(0.15 + 0.85 * number / max(1, len(shown) - 1))
        column = sizes[over][rows]
        x = np.geomspace(column.min() / 1.05, column.max() * 1.05, 50)
        parts = [np.log(x / base[over])]
        if len(names) == 2:
            parts.insert(0, np.full(len(x), np.log(group / base[names[0]])))
        axes.plot(
            x,
            100 * (1 - response.surface.errors(np.column_stack(parts))),
            color=colour,
            linewidth=1.5,
        )
        sound, marker = rows & kept, _MARKERS[number]
        accuracies = 100 * (1 - evidence.errors)
        label = f"{names[0]} {group:g}" if len(names) == 2 else "result"
        looks = _RESULT | {"color": colour, "marker": marker}
        axes.plot(sizes[over][sound], accuracies[sound], label=label, **looks)
        axes.plot(sizes[over][rows & ~kept], accuracies[rows & ~kept], **_FAILED)
    axes.set_xlabel(over if base[over] != 1 else f"times the base's {over}")
    axes.set_ylabel("accuracy (%)")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_title("Results and the surface")
    axes.legend(loc="lower right", fontsize=8)


def _kept(response: Response) -> np.ndarray:
    """Rows that are no failed trainings, bool [rows]."""
    kept = np.full(len(response.evidence.errors), True)
    kept[list(response.surface.failed)] = False
    return kept
