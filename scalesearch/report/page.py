"""Writes the report: figures, and one HTML page that needs no network, script or other file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from scalesearch.files.write import write_bytes, write_text
from scalesearch.report import classes, family, grid, latency, learned, predictions, search, surface
from scalesearch.report.contents import Contents
from scalesearch.report.sections import Drawn, facts, sections
from scalesearch.report.style import save

_FIGURES: Mapping[str, Callable[[Contents], Figure | None]] = {
    "search": search.draw,
    "learned": learned.draw,
    "latency": latency.draw,
    "grid": grid.draw,
    "surface": surface.draw_contents,
    "family": family.draw,
    "classes": classes.draw,
}


def write_report(contents: Contents, folder: Path) -> list[Path]:
    """Writes `figures/*.png|svg` and `report.html` below a folder and returns their paths.

    A phase without a single score has no figure; the page says so. Predictions are photographs,
    which no SVG improves: PNG alone.
    """
    paths, figures = [], {}
    for name, draw in _FIGURES.items():
        figure = draw(contents)
        if figure is not None:
            png, svg = save(figure, folder / "figures", name)
            figures[name] = svg.read_bytes()
            paths += [png, svg]
    pictures = predictions.draw_all(contents)
    paths += [write_bytes(folder / "figures" / f"{one.file}.png", one.png) for one in pictures]
    html = page(contents, Drawn(figures=figures, predictions=pictures))
    return [*paths, write_text(folder / "report.html", html)]


def page(contents: Contents, drawn: Drawn) -> str:
    """The page as HTML text; a phase without a figure has a sentence in its place."""
    template = resources.files("scalesearch.report").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(
        contents=contents, facts=facts(contents), sections=sections(contents, drawn)
    )
