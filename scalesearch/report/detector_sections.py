"""The sections that only pages of detectors have."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image

from scalesearch.report import classes, detector_tables
from scalesearch.report.contents import Contents
from scalesearch.report.predictions import Predictions
from scalesearch.report.section import Picture, Section, address


def precision(contents: Contents, figures: Mapping[str, bytes]) -> Section:
    """AP by size of object and by class."""
    table = detector_tables.by_size(contents)
    if not table.rows:
        return Section(title="Precision", text=["No detector has a score yet."])
    if "classes" not in figures:
        text = "AP by class was not recorded."
        return Section(title="Precision", text=[text], tables=[table])
    return Section(
        title="Precision",
        text=["What the best networks find: by class, and by the size of objects."],
        figure=address(figures["classes"]),
        alt=classes.summary(contents),
        tables=[table],
    )


def predictions(contents: Contents, drawn: Sequence[Predictions]) -> Section:
    """What networks found in some validation images, or why nothing is drawn."""
    if not drawn:
        kept = contents.truth is not None and contents.found
        why = "The image files are gone." if kept else "No network's detections were kept."
        return Section(title="Predictions", text=[why])
    names = ", ".join(one.network for one in drawn)
    pictures = [
        Picture(
            title=one.network,
            address=_smallest(one.png),
            alt=f"Validation images with what is there and what was found. {one.network}.",
            text=f"{one.network}. {one.text}",
        )
        for one in drawn
    ]
    text = f"The same validation images for each network; best first: {names}."
    return Section(title="Predictions", text=[text], pictures=pictures)


def _smallest(png: bytes) -> str:
    """The address of a figure, as JPEG where that is shorter, as it is of photographs."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        # Thin coloured lines need colour at full resolution.
        image.convert("RGB").save(buffer, "jpeg", quality=85, subsampling=0, optimize=True)
    if len(buffer.getvalue()) < len(png):
        return address(buffer.getvalue(), "jpeg")
    return address(png, "png")
