"""Detections drawn on validation images beside the objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image, ImageOps

from scalesearch.report.contents import Contents, Detections
from scalesearch.report.detections import (
    NO_BOXES,
    OVERLAP,
    Boxes,
    Threshold,
    ValidationImage,
    best_threshold,
    read_detections,
    read_truth,
)
from scalesearch.report.numbers import metric_word, score
from scalesearch.report.style import FAINT, image, new_figure, style

MOST = 12  # images
_COLUMNS = 4
_SIDE = 640  # pixels that a drawn image has at most
# Everybody can distinguish yellow and blue; both have a dark rim, for light images.
_TRUE: dict[str, Any] = {"color": "#f0e442", "linewidth": 1.1, "linestyle": (0, (4, 2.5))}
_DETECTED: dict[str, Any] = {"color": "#56b4e9", "linewidth": 1.5, "linestyle": "-"}
_RIM = "#000000"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The figure of one network.

    Attributes:
        network: its name and score: `baseline: AP 34.62`.
        file: its name among the figures.
        png: of the figure.
        text: how the threshold and the images were chosen.
    """

    network: str
    file: str
    png: bytes
    text: str


def draw_all(contents: Contents) -> list[Predictions]:
    """One figure for each network with recorded detections, that of the best metric first.

    Empty where all image files are gone.

    Raises:
        UserError: a file of detections is no JSON.
    """
    if contents.truth is None or not contents.detections:
        return []
    images, names = read_truth(contents.truth)
    chosen = choose(images)
    shown = [(each, pixels) for each in chosen if (pixels := read_pixels(each)) is not None]
    if not shown:
        return []
    lost = len(chosen) - len(shown)
    without = f", without {lost} whose files are gone or unreadable" if lost else ""
    selection = (
        f"Images: {len(chosen)} at equal distances out of all {len(images):,} validation images, "
        f"sorted by number of objects, then by id{without}."
    )
    figures: list[Predictions] = []
    for network in sorted(contents.detections, key=lambda each: -_metric(contents, each)):
        detections = read_detections(network.path)
        threshold = best_threshold(images, detections)
        metric = score(_metric(contents, network), contents.metric)
        figures.append(
            Predictions(
                network=f"{network.name}: {metric_word(contents.metric)} {metric}",
                file=f"predictions_{network.name}" if figures else "predictions",
                png=image(draw(shown, detections, names, threshold), "png"),
                text=f"{_legend(threshold)} {selection}",
            )
        )
    return figures


def choose(images: Sequence[ValidationImage]) -> list[ValidationImage]:
    """A dozen images from those with the fewest objects to those with the most."""
    ordered = sorted(images, key=lambda each: (each.objects, each.number))
    indices = np.linspace(0, len(ordered) - 1, min(MOST, len(ordered))).round()
    return [ordered[int(index)] for index in indices]


def read_pixels(each: ValidationImage) -> NDArray[np.uint8] | None:
    """The upright image, reduced to at most 640 pixels; None if its file cannot be read."""
    try:
        with Image.open(each.path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):  # 16 bits
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            rgb = upright.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    rgb.thumbnail((_SIDE, _SIDE))
    return np.asarray(rgb)


def _metric(contents: Contents, network: Detections) -> float:
    """The metric of a network; below every other where it is not known."""
    rows = contents.phase(network.phase)
    values = rows.loc[rows["number"] == network.number, contents.metric]
    return float(values.iloc[0]) if len(values) and values.notna().all() else -np.inf


def _legend(threshold: Threshold | None) -> str:
    if threshold is None:
        return (
            "Dashed: the objects. No detection overlaps an object of its class by an intersection "
            f"over union of {OVERLAP:g}, so none is drawn."
        )
    return (
        f"Dashed: the objects. Solid: detections with a score of {threshold.score:.2g} or more, "
        f"the threshold of the best F1 on all validation images: {threshold.f1:.3f} at an "
        f"intersection over union of {OVERLAP:g}."
    )


@style()
def draw(
    shown: Sequence[tuple[ValidationImage, NDArray[np.uint8]]],
    detections: Mapping[int, Boxes],
    names: Mapping[int, str],
    threshold: Threshold | None,
) -> Figure:
    """A panel for each image (uint8 [H, W, 3]) with its objects, and detections above a score."""
    columns = min(_COLUMNS, len(shown))
    tall = [float(np.clip(each.size[1] / each.size[0], 0.3, 1.6)) for each, _ in shown]
    heights = [max(tall[first : first + columns]) for first in range(0, len(shown), columns)]
    width = 11 / _COLUMNS
    figure = new_figure(width * max(columns, 2), sum(width * h + 0.25 for h in heights) + 0.4)
    cells = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    least = np.inf if threshold is None else threshold.score
    for index, (each, pixels) in enumerate(shown):
        axes = figure.add_subplot(cells[index // columns, index % columns])
        right, bottom = each.size
        axes.imshow(pixels, extent=(0, right, bottom, 0))
        axes.set(xticks=[], yticks=[], anchor="N")
        axes.spines[:].set(visible=True, color=FAINT, linewidth=0.6)
        boxes = detections.get(each.number, NO_BOXES)
        above = [row for row in zip(*boxes, strict=True) if row[2] >= least]
        title = (
            f"image {each.number}: {each.objects} object{'s' * (each.objects != 1)}, "
            f"{len(above)} detection{'s' * (len(above) != 1)}"
        )
        axes.set_title(title, fontsize=8, fontweight="normal", loc="left", pad=3)
        for corners, _, _ in zip(*each.truth, strict=True):
            _outline(axes, corners, _TRUE)
        # The best come last, on top.
        for corners, label, certain in reversed(above):
            _outline(axes, corners, _DETECTED)
            _name(axes, corners, f"{names[int(label)]} {certain:.2f}", each.size)
    handles = [Line2D([], [], path_effects=_rim(looks), **looks) for looks in (_TRUE, _DETECTED)]
    figure.legend(handles, ["object", "detection"], loc="outside lower center", ncols=2)
    return figure


def _outline(axes: Axes, corners: NDArray[np.float64], looks: Mapping[str, Any]) -> None:
    x0, y0, x1, y1 = corners
    box = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, path_effects=_rim(looks), **looks)
    axes.add_patch(box)


def _rim(looks: Mapping[str, Any]) -> list[withStroke]:
    return [withStroke(linewidth=looks["linewidth"] + 1.4, foreground=_RIM)]


def _name(axes: Axes, corners: NDArray[np.float64], text: str, size: tuple[int, int]) -> None:
    """Class and score at the box's upper edge, within the image."""
    x0, y0, x1, _ = corners
    leftwards = x0 > 0.6 * size[0]
    axes.annotate(
        text,
        (min(x1, size[0]) if leftwards else max(x0, 0), max(y0, 0)),
        ha="right" if leftwards else "left",
        va="bottom" if y0 > 0.1 * size[1] else "top",
        fontsize=6.5,
        color=_RIM,
        bbox={"facecolor": _DETECTED["color"], "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
        annotation_clip=False,
    )
