"""The files of a report."""

from __future__ import annotations

from pathlib import Path

from scalesearch.files.write import write_text
from scalesearch.report import family, grid, latency, search
from scalesearch.report.contents import Contents
from scalesearch.report.page import page
from scalesearch.report.style import save

_DRAW = {
    "search": search.draw,
    "latency": latency.draw,
    "grid": grid.draw,
    "family": family.draw,
}


def write_report(contents: Contents, folder: Path) -> list[Path]:
    """Writes `figures/*.png|svg` and `report.html` below a folder and returns their paths.

    A phase without a single score has no figure; the page says so.
    """
    paths, figures = [], {}
    for name, draw in _DRAW.items():
        figure = draw(contents)
        if figure is not None:
            png, svg = save(figure, folder / "figures", name)
            figures[name] = svg.read_bytes()
            paths += [png, svg]
    return [*paths, write_text(folder / "report.html", page(contents, figures))]
