"""A triangle in which a point is placed by three shares that sum to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from scalesearch.report.style import FAINT

# Of depth, width and resolution.
_CORNERS = np.array([(0.5, math.sqrt(3) / 2), (0.0, 0.0), (1.0, 0.0)])


def weighted(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of shares [points, 3], x and y."""
    x, y = (shares @ _CORNERS).T
    return x, y


def draw_corners(axes: Axes, words: Sequence[str]) -> None:
    """The outline, lines at each quarter, and a word at each corner: top, left, right."""
    outline = np.vstack([_CORNERS, _CORNERS[:1]])
    axes.plot(*outline.T, color=FAINT, linewidth=1, zorder=0)
    for share in (0.25, 0.5, 0.75):
        for corner in range(3):
            # `corner` has this share along a line parallel to the opposite side.
            ends = np.full((2, 3), 0.0)
            ends[:, corner] = share
            for row, other in enumerate(i for i in range(3) if i != corner):
                ends[row, other] = 1 - share
            axes.plot(*weighted(ends), color="#e4e4e4", linewidth=0.7, zorder=0)
    for (x, y), word in zip(_CORNERS, words, strict=True):
        axes.annotate(
            word,
            (x, y),
            xytext=(0, 8 if y > 0 else -8),
            textcoords="offset points",
            ha="center",
            va="bottom" if y > 0 else "top",
        )
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_anchor("N")
    axes.set_xlim(-0.22, 1.22)
    axes.set_ylim(-0.12, 1.12)
