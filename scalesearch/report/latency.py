"""The figure of latency: predictions of the table against measurements of workers."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalesearch.report.contents import Contents
from scalesearch.report.style import ACCENT, CROWD, FAINT, INK, RASTER_FROM, new_figure, style
from scalesearch.units import format_latency

_COLUMNS = ("predicted_latency", "latency")
# State, marker, fill.
_MARKS = (("assessed", "o", "full"), ("infeasible", "X", "none"))


@style()
def draw(contents: Contents) -> Figure | None:
    """Measured over predicted milliseconds, or None where no network has both."""
    rows = predicted(contents)
    if rows.empty:
        return None
    figure = new_figure(6.4, 5.6)
    axes = figure.subplots()
    values = rows[list(_COLUMNS)] * 1000
    low, high = values.to_numpy().min(), values.to_numpy().max()
    room = 0.06 * (high - low) or 0.06 * high
    ends = (low - room, high + room)
    axes.plot(ends, ends, color=FAINT, linewidth=1, label="as predicted", zorder=1)
    for state, marker, fill in _MARKS:
        _draw_state(axes, values[rows["state"] == state], state, marker, fill)
    axes.set(xlim=ends, xlabel="predicted latency (ms)", ylabel="measured latency (ms)")
    _draw_limit(axes, contents, (0.7 * low, 1.4 * high))
    axes.set_title(f"Latency: {contents.deployment}")
    axes.legend(loc="upper left")
    return figure


def summary(contents: Contents) -> str:
    """The figure in words, for those who cannot see it."""
    return f"Measured against predicted latency. {agreement_sentence(contents)}"


def agreement_sentence(contents: Contents) -> str:
    """How predictions and measurements agree, or why that is unknown."""
    if contents.agreement is not None:
        return f"Predicted by the latency table against measured: {contents.agreement}."
    if predicted(contents).empty:
        return "No latency table predicted them."
    return "Too few networks were measured to compare the latency table with them."


def predicted(contents: Contents) -> pd.DataFrame:
    """The networks of the search with a predicted and a measured latency, each once."""
    rows = contents.phase("search")
    if not set(_COLUMNS) <= set(rows):
        return rows.iloc[:0]
    own = rows["reused_from"].isna() if "reused_from" in rows else True
    return rows[own & rows[list(_COLUMNS)].notna().all(axis=1)]


def _draw_state(axes: Axes, values: pd.DataFrame, state: str, marker: str, fill: str) -> None:
    if values.empty:
        return
    axes.plot(
        values["predicted_latency"],
        values["latency"],
        color=INK,
        linestyle="none",
        marker=marker,
        fillstyle=fill,
        markersize=6 if len(values) <= CROWD else 3,
        label=f"{state} ({len(values)})",
        rasterized=len(values) > RASTER_FROM,
        zorder=2,
    )


def _draw_limit(axes: Axes, contents: Contents, near: tuple[float, float]) -> None:
    """A dashed line at each bound; one far off would squeeze the points and is left out."""
    limit = contents.limits.get("search", {}).get("latency")
    for bound in (limit.min, limit.max) if limit else ():
        if bound is not None and near[0] <= 1000 * bound <= near[1]:
            axes.axhline(
                1000 * bound,
                color=ACCENT,
                linestyle=(0, (5, 3)),
                linewidth=1.1,
                label=f"limit {format_latency(bound)}",
            )
