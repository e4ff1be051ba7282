"""The style of every figure: shape and lightness distinguish first, colour second."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from scalesearch.files.write import write_bytes
from scalesearch.report.numbers import prefix

INK = "#1a1a1a"
FAINT = "#8a8a8a"
ACCENT = "#d1495b"
SHADE = "#f1f1f1"
CROWD = 250  # marks; more are drawn smaller
RASTER_FROM = 2000  # marks; more make an SVG too heavy for a browser
# Light to dark in grey as well, and never too light for white paper.
LIGHTNESS = LinearSegmentedColormap.from_list(
    "scalesearch", ["#c6dbef", "#7db8da", "#3787c0", "#105ba4", "#08306b"]
)
_SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "text.parse_math": False,  # names may hold a dollar sign
    "svg.hashsalt": "scalesearch",
    "svg.fonttype": "path",
    "figure.dpi": 100,
}


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults with our settings while a figure is drawn or saved."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches), outside of pyplot's global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def cost_axis(axes: Axes, values: Sequence[float]) -> float:
    """Labels the x axis as FLOPs of these values; returns what to divide FLOPs by.

    Logarithmic when the largest is more than 4 times the smallest.
    """
    scale, word = prefix(values)
    axes.set_xlabel(f"FLOPs ({word} multiply-adds)" if word else "FLOPs (multiply-adds)")
    spread = max(values) / min(values) if len(values) else 1.0
    if spread > 4:
        axes.set_xscale("log")
        few = (1.0, 2.0, 5.0) if spread < 1000 else (1.0,)
        ticks = (1.0, 2.0, 3.0, 5.0, 7.0) if spread < 20 else few
        axes.xaxis.set_major_locator(LogLocator(subs=ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return scale


def lower_end(values: Sequence[float]) -> float:
    """Where a y axis may start: at the smallest value that is not an outlier far below the rest."""
    ordered = sorted(values)
    low, high = (ordered[math.floor(share * (len(ordered) - 1))] for share in (0.25, 0.75))
    return min(value for value in ordered if value >= low - 3 * (high - low))


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes `name.png` and `name.svg`: the same figure gives the same bytes."""
    with style():  # once: to place everything takes as long as to draw it
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    endings = ("png", "svg")
    return [write_bytes(folder / f"{name}.{end}", image(figure, end)) for end in endings]


def image(figure: Figure, ending: str) -> bytes:
    """The figure as `png` (150 dots an inch) or `svg`, without a date."""
    buffer = io.BytesIO()
    with style():
        dated = {"Date": None} if ending == "svg" else None
        figure.savefig(buffer, format=ending, dpi=150, facecolor="white", metadata=dated)
    return buffer.getvalue()
