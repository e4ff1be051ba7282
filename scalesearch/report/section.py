"""What a section of the page is made of."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure that holds photographs.

    Attributes:
        title: what it shows.
        address: the picture as a data address.
        alt: the picture in words.
        text: sentences below it.
    """

    title: str
    address: str
    alt: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it.

    Attributes:
        title: of the section.
        text: sentences.
        figure: an SVG as a data address, or empty.
        alt: the figure in words.
        pictures: of which only the first is unfolded.
        tables: those without rows are left out.
    """

    title: str
    text: Sequence[str]
    figure: str = ""
    alt: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


def address(content: bytes, kind: str = "svg+xml") -> str:
    """An image as an address that holds all of it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
