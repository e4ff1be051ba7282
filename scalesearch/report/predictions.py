"""What detectors found, drawn on validation images beside what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image, ImageOps

from scalesearch.report.coco_files import Boxes, Picture, read_found, read_truth
from scalesearch.report.contents import Contents, Found
from scalesearch.report.numbers import metric_word, score
from scalesearch.report.style import FAINT, image, new_figure, style
from scalesearch.report.threshold import NOTHING, OVERLAP, Threshold, best_threshold

MOST = 12  # images
_COLUMNS = 4
_SIDE = 640  # pixels that a drawn image has at most
# Yellow and blue are told apart by everybody; both have a dark rim, for light images.
_TRUE: dict[str, Any] = {"color": "#f0e442", "linewidth": 1.1, "linestyle": (0, (4, 2.5))}
_FOUND: dict[str, Any] = {"color": "#56b4e9", "linewidth": 1.5, "linestyle": "-"}
_RIM = "#000000"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The figure of one network.

    Attributes:
        network: its name and score: `baseline: AP 34.62`.
        file: its name among the figures.
        png: of the figure.
        text: what is drawn, how the threshold and the images were chosen.
    """

    network: str
    file: str
    png: bytes
    text: str


class _Shown(NamedTuple):
    """An image that is drawn, and its pixels, uint8 [H, W, 3]."""

    picture: Picture
    pixels: NDArray[np.uint8]


def draw_all(contents: Contents) -> list[Predictions]:
    """One figure for each network whose detections were kept, that of the best metric first.

    Nothing where the images' files are all gone.

    Raises:
        UserError: a file of detections is no JSON.
    """
    if contents.truth is None or not contents.found:
        return []
    pictures, names = read_truth(contents.truth)
    chosen = choose(pictures)
    shown = [_Shown(each, pixels) for each in chosen if (pixels := read_pixels(each)) is not None]
    if not shown:
        return []
    lost = len(chosen) - len(shown)
    gone = f", but for {lost} whose files are gone or unreadable" if lost else ""
    how = (
        f"Images: all {len(pictures):,} for validation, sorted by their number of objects, then by "
        f"id; of that list {len(chosen)} at equal distances{gone}."
    )
    drawn: list[Predictions] = []
    for network in sorted(contents.found, key=lambda each: -_reached(contents, each)):
        boxes = read_found(network.file)
        threshold = best_threshold(pictures, boxes)
        drawn.append(
            Predictions(
                network=f"{network.name}: {_words(contents, network)}",
                file="_".join(["predictions", *([network.name] if drawn else [])]),
                png=image(_draw(shown, boxes, names, threshold), "png"),
                text=f"{_said(threshold)} {how}",
            )
        )
    return drawn


def choose(pictures: Sequence[Picture]) -> list[Picture]:
    """A dozen images from those with the fewest to those with the most objects, whatever found."""
    ordered = sorted(pictures, key=lambda picture: (picture.objects, picture.number))
    places = np.linspace(0, len(ordered) - 1, min(MOST, len(ordered))).round()
    return [ordered[int(place)] for place in places]


def read_pixels(picture: Picture) -> NDArray[np.uint8] | None:
    """An image as its camera was held, made smaller where it is large; None if it is gone."""
    try:
        with Image.open(picture.file) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):  # 16 bits
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            plain = upright.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    plain.thumbnail((_SIDE, _SIDE))
    return np.asarray(plain)


def _reached(contents: Contents, network: Found) -> float:
    """The metric of a network; below every other where it is not known."""
    rows = contents.phase(network.phase)
    values = rows.loc[rows["number"] == network.number, contents.metric]
    return float(values.iloc[0]) if len(values) and values.notna().all() else -np.inf


def _words(contents: Contents, network: Found) -> str:
    reached = score(_reached(contents, network), contents.metric)
    return f"{metric_word(contents.metric)} {reached}"


def _said(threshold: Threshold | None) -> str:
    if threshold is None:
        return (
            "Dashed: the objects. No detection overlaps one of its class by an intersection over "
            f"union of {OVERLAP:g}, so none is drawn."
        )
    return (
        f"Dashed: the objects. Solid: what was found with a score of {threshold.score:.2g} or "
        f"more, the threshold of the best F1 on all validation images: {threshold.f1:.3f} at an "
        f"intersection over union of {OVERLAP:g}."
    )


@style()
def _draw(
    shown: Sequence[_Shown],
    found: Mapping[int, Boxes],
    names: Mapping[int, str],
    threshold: Threshold | None,
) -> Figure:
    columns = min(_COLUMNS, len(shown))
    tall = [float(np.clip(each.picture.size[1] / each.picture.size[0], 0.3, 1.6)) for each in shown]
    heights = [max(tall[first : first + columns]) for first in range(0, len(shown), columns)]
    width = 11 / _COLUMNS
    figure = new_figure(width * max(columns, 2), sum(width * h + 0.25 for h in heights) + 0.4)
    cells = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    least = np.inf if threshold is None else threshold.score
    for place, (picture, pixels) in enumerate(shown):
        axes = figure.add_subplot(cells[place // columns, place % columns])
        right, bottom = picture.size
        axes.imshow(pixels, extent=(0, right, bottom, 0))
        axes.set(xticks=[], yticks=[], anchor="N")
        axes.spines[:].set(visible=True, color=FAINT, linewidth=0.6)
        boxes = found.get(picture.number, NOTHING)
        above = [row for row in zip(*boxes, strict=True) if row[2] >= least]
        there = f"{picture.objects} object{'s' * (picture.objects != 1)}"
        title = f"image {picture.number}: {there}, {len(above)} found"
        axes.set_title(title, fontsize=8, fontweight="normal", loc="left", pad=3)
        for corners, _, _ in zip(*picture.true, strict=True):
            _outline(axes, corners, _TRUE)
        # The best come last, on top.
        for corners, label, certain in reversed(above):
            _outline(axes, corners, _FOUND)
            _name(axes, corners, f"{names[int(label)]} {certain:.2f}", picture.size)
    handles = [Line2D([], [], path_effects=_rim(looks), **looks) for looks in (_TRUE, _FOUND)]
    figure.legend(handles, ["object", "found"], loc="outside lower center", ncols=2)
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
        bbox={"facecolor": _FOUND["color"], "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
        annotation_clip=False,
    )
