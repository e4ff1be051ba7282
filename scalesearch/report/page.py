"""The report as one HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

import jinja2

from scalesearch.report.contents import Contents
from scalesearch.report.predictions import Predictions
from scalesearch.report.sections import facts, sections


def page(
    contents: Contents, figures: Mapping[str, bytes], drawn: Sequence[Predictions] = ()
) -> str:
    """The page as HTML text.

    Args:
        contents: of the study.
        figures: phase to its figure as SVG; a phase without one says so in a sentence.
        drawn: what detectors found, the best of them first.
    """
    template = resources.files("scalesearch.report").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(
        contents=contents, facts=facts(contents), sections=sections(contents, figures, drawn)
    )
