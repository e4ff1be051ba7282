"""The files of a report."""

from __future__ import annotations

from pathlib import Path

from scalesearch.files.write import write_bytes, write_text
from scalesearch.report import classes, family, grid, latency, predictions, search
from scalesearch.report.contents import Contents
from scalesearch.report.page import page
from scalesearch.report.style import save

_DRAW = {
    "search": search.draw,
    "latency": latency.draw,
    "grid": grid.draw,
    "family": family.draw,
    "classes": classes.draw,
}


def write_report(contents: Contents, folder: Path) -> list[Path]:
    """Writes `figures/*.png|svg` and `report.html` below a folder and returns their paths.

    A phase without a single score has no figure; the page says so. What detectors found is drawn
    on photographs, which no SVG makes better: PNG alone.
    """
    paths, figures = [], {}
    for name, draw in _DRAW.items():
        figure = draw(contents)
        if figure is not None:
            png, svg = save(figure, folder / "figures", name)
            figures[name] = svg.read_bytes()
            paths += [png, svg]
    drawn = predictions.draw_all(contents)
    paths += [write_bytes(folder / "figures" / f"{one.file}.png", one.png) for one in drawn]
    return [*paths, write_text(folder / "report.html", page(contents, figures, drawn))]
