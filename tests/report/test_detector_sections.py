"""The page of a study of detectors."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pandas as pd
from PIL import Image

from scalesearch.report import predictions
from scalesearch.report.contents import Contents
from scalesearch.report.detector_sections import _smallest
from scalesearch.report.page import page
from scalesearch.report.write import write_report
from tests.report.test_page import Reader

FIGURES = dict.fromkeys(("search", "grid", "family", "classes"), b"<svg/>")


def test_all_files_of_a_study_of_detectors(detectors, tmp_path):
    names = [str(path.relative_to(tmp_path)) for path in write_report(detectors, tmp_path)]
    drawn = [
        f"figures/{p}.{e}" for p in ("search", "grid", "family", "classes") for e in ("png", "svg")
    ]
    pictures = ["figures/predictions.png", "figures/predictions_baseline.png"]
    assert names == [*drawn, *pictures, "report.html"]


def test_the_page_speaks_of_ap(detectors):
    html = page(detectors, FIGURES, predictions.draw_all(detectors))
    text = Reader(html).text
    for words in (
        "baseline AP 34.00 trial 1",
        "alpha / beta / neck width 1.2 / 1.1 / 1.35",
        "per phi: neck +1, heads +0.333 layers, input +32 pixels",
        "16 blocks, 3 layers of neck and 3 of heads, for images of 512",
        "neck bifpn fast p3 to p7",
        "Objective: AP * (flops / 3,000,000) ^ -0.07.",
        "strategy phi AP FLOPs",
        "neck width 1 39.00 6.1 M",
        "rank neck width resolution AP FLOPs",
        "1 1.35 32 44.00 6.0 M",
        "The same in all combinations: alpha 1.2, beta 1.1, neck depth 1, head depth 0.3333.",
        "phase trial AP AP50 AP75 AP small AP medium",
        "best first: compound_phi1: AP 47.00, baseline: AP 34.00.",
    ):
        assert words in text
    assert "accuracy" not in text.lower()
    assert "ap/" not in text
    assert "triple" not in text.lower()


def test_pictures_are_embedded_and_all_but_the_first_folded(detectors):
    found = Reader(page(detectors, FIGURES, predictions.draw_all(detectors)))
    addresses = [value for _, key, value in found.attributes if key == "src"]
    photos = [address for address in addresses if "svg" not in address]
    assert len(photos) == 2
    for address in photos:
        content = base64.b64decode(address.split(",")[1])
        assert Image.open(io.BytesIO(content)).width == 1650
    assert found.tags.count("details") == 1
    assert all(key != "href" for _, key, _ in found.attributes)


def test_photographs_travel_as_jpeg_and_drawings_as_png():
    draw = np.random.default_rng(0)
    for pixels, kind in (
        (draw.integers(0, 256, (200, 200, 3), np.uint8), "jpeg"),
        (np.zeros((200, 200, 3), np.uint8), "png"),
    ):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "png")
        assert _smallest(buffer.getvalue()).startswith(f"data:image/{kind};base64,")


def test_what_is_missing_becomes_a_sentence(detectors):
    nothing = Contents(name="none", task="detection", metric="ap", trials=pd.DataFrame())
    text = Reader(page(nothing, {})).text
    assert "No detector has a score yet." in text
    assert "No network's detections were kept." in text
    assert "The image files are gone." in Reader(page(detectors, FIGURES, [])).text
    without = {name: figure for name, figure in FIGURES.items() if name != "classes"}
    assert "AP by class was not recorded." in Reader(page(detectors, without, [])).text
    failed = detectors.trials.assign(state="failed")
    assert (
        "No combination has a score yet."
        in Reader(page(replace(detectors, trials=failed), {})).text
    )


def test_a_page_of_classifiers_has_none_of_this(small):
    titles = Reader(page(small, {})).text
    assert "Precision" not in titles
    assert "Predictions" not in titles
