"""The page as a browser reads it."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scalesearch.errors import UserError
from scalesearch.report import page as report_page
from scalesearch.report import predictions
from scalesearch.report.contents import Contents
from scalesearch.report.page import write_report
from scalesearch.report.predictions import Predictions
from scalesearch.report.sections import Drawn

DETECTOR_FIGURES = dict.fromkeys(("search", "grid", "family", "classes"), b"<svg/>")
VOID = {"meta", "img", "br", "hr", "input", "link"}
FIGURES = {phase: f"<svg>{phase}</svg>".encode() for phase in ("search", "grid", "family")}


def page(contents, figures, drawn=()):
    return report_page.page(contents, Drawn(figures=figures, predictions=drawn))


class Reader(HTMLParser):
    """Collects the text, the tags and their attributes; every tag must be closed in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.parts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.parts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.parts).split())


def test_the_headline_and_every_table_are_there(small):
    text = Reader(page(small, FIGURES)).text
    for words in (
        "baseline accuracy 95.00 % trial 5",
        "baseline FLOPs 2.9 M 58.0 k parameters",
        "alpha / beta / gamma 1.2 / 1.1 / 1.15",
        "compound, phi = 2 97.80 % 11.6 M FLOPs",
        "networks assessed 15 of 20 trials",
        "It is trial 5 of the search.",
        "9 trials: 4 assessed, 1 reused, 2 infeasible, 1 stopped, 1 failed. Objective: accuracy.",
        "depth 2.2 96.60 % 12.2 M 105.0 %",
        "1 1.2 1.1 1.15 1.920 95.50 % 5.6 M",
        "at most 512.0 MiB",
        "export/baseline.py",
        "python 3.11.2",
    ):
        assert words in text


def test_what_users_wrote_is_shown_not_run(small):
    html = page(small, FIGURES)
    text = Reader(html).text
    assert "a <b>&'small'\" study" in text
    assert "error: loss is not a number <after> epoch 2 & 'later'" in text
    assert "The search was <interrupted> once." in text
    assert "seed: 7 # <&>" in text
    assert "<two> cores" in text
    assert not {"b", "after", "interrupted", "two", "script"} & set(Reader(html).tags)


def test_nothing_outside_is_asked_for(small):
    html = page(small, FIGURES)
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")
    assert "url(" not in html
    assert "@import" not in html
    addresses = [v for _, key, v in Reader(html).attributes if key in ("src", "href", "srcset")]
    assert len(addresses) == 3
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    assert "default-src 'none'" in html


def test_figures_are_embedded_whole_with_words_for_those_who_cannot_see_them(small):
    found = Reader(page(small, FIGURES)).attributes
    encoded = [value.split(",")[1] for _, key, value in found if key == "src"]
    assert {base64.b64decode(code) for code in encoded} == set(FIGURES.values())
    words = [value for tag, key, value in found if (tag, key) == ("img", "alt")]
    assert len(words) == 3
    assert all("FLOPs" in word or "triples" in word for word in words)


def test_nothing_recorded_yet(empty):
    text = Reader(page(empty, {})).text
    for words in (
        "networks assessed 0 of 0 trials",
        "No baseline has been chosen yet.",
        "No family has been scaled yet.",
        "There was no search.",
        "There was no grid.",
        "No trial has been recorded yet.",
        "Neither the study nor its environment was recorded.",
    ):
        assert words in text
    assert "nan" not in text.lower()


def test_everything_infeasible(infeasible):
    text = Reader(page(infeasible, {})).text
    assert "2 trials: 2 infeasible." in text
    assert "Every candidate was outside a limit, so there is nothing to draw." in text
    assert "at most 3.0 M 2" in text


def test_a_given_baseline_and_given_coefficients(small):
    rows = small.trials[small.trials["phase"] == "family"].dropna(axis=1, how="all")
    given = replace(small, trials=rows, baseline_trial=None)
    text = Reader(page(given, {"family": b"<svg/>"})).text
    assert "baseline accuracy 96.00 % given" in text
    assert "The study gave it." in text
    assert "The study gave the coefficients." in text
    assert "There was no search." in text
    unscored = replace(given, trials=rows.iloc[:0])
    assert "It has no measured cost and no score yet." in Reader(page(unscored, {})).text


def test_a_phase_where_all_failed(small):
    for phase, sentence in {
        "search": "No trial has a score yet, so there is nothing to draw.",
        "grid": "No triple has a score yet.",
        "family": "No member has a score yet.",
    }.items():
        trials = small.trials.copy()
        mine = trials["phase"] == phase
        trials.loc[mine, "state"] = "failed"
        trials.loc[mine, ["accuracy", "objective"]] = float("nan")
        rest = {name: figure for name, figure in FIGURES.items() if name != phase}
        text = Reader(page(replace(small, trials=trials), rest)).text
        assert sentence in text
        assert re.search(r"Failed trials \(\d+: ", text)


def test_a_table_read_back_from_csv_gives_the_same_page(small):
    text = small.trials.to_csv(index=False)
    again = replace(small, trials=pd.read_csv(io.StringIO(text)))
    assert page(again, FIGURES) == page(small, FIGURES)


def test_all_files_of_a_study_of_detectors(detectors, tmp_path):
    names = [str(path.relative_to(tmp_path)) for path in write_report(detectors, tmp_path)]
    drawn = [
        f"figures/{p}.{e}" for p in ("search", "grid", "family", "classes") for e in ("png", "svg")
    ]
    pictures = ["figures/predictions.png", "figures/predictions_baseline.png"]
    assert names == [*drawn, *pictures, "report.html"]


def test_the_page_speaks_of_ap(detectors):
    html = page(detectors, DETECTOR_FIGURES, predictions.draw_all(detectors))
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
    reader = Reader(page(detectors, DETECTOR_FIGURES, predictions.draw_all(detectors)))
    addresses = [value for _, key, value in reader.attributes if key == "src"]
    photos = [address for address in addresses if "svg" not in address]
    assert len(photos) == 2
    for address in photos:
        content = base64.b64decode(address.split(",")[1])
        assert Image.open(io.BytesIO(content)).width == 1650
    assert reader.tags.count("details") == 1
    assert all(key != "href" for _, key, _ in reader.attributes)


def test_photographs_travel_as_jpeg_and_drawings_as_png(detectors):
    draw = np.random.default_rng(0)
    for pixels, kind in (
        (draw.integers(0, 256, (200, 200, 3), np.uint8), "jpeg"),
        (np.zeros((200, 200, 3), np.uint8), "png"),
    ):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "png")
        one = Predictions(network="n", file="predictions", png=buffer.getvalue(), text="")
        assert f"data:image/{kind};base64," in page(detectors, {}, [one])


def test_what_is_missing_becomes_a_sentence(detectors):
    nothing = Contents(name="none", task="detection", metric="ap", trials=pd.DataFrame())
    text = Reader(page(nothing, {})).text
    assert "No detector has a score yet." in text
    assert "No detections were recorded." in text
    assert "The image files are gone." in Reader(page(detectors, DETECTOR_FIGURES, [])).text
    without = {name: figure for name, figure in DETECTOR_FIGURES.items() if name != "classes"}
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


def test_all_files_of_a_whole_study(small, tmp_path):
    paths = write_report(small, tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in paths]
    figures = [f"figures/{p}.{e}" for p in ("search", "grid", "family") for e in ("png", "svg")]
    assert names == [*figures, "report.html"]
    assert all(path.stat().st_size > 1000 for path in paths)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["figures", "report.html"]  # no leftovers


def test_the_page_alone_where_nothing_has_a_score(empty, tmp_path):
    assert write_report(empty, tmp_path) == [tmp_path / "report.html"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_written_is_named(empty, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="cannot be written") as caught:
        write_report(empty, tmp_path / "file")
    assert "report.html" in str(caught.value)


def test_no_window_system_and_no_torch_is_loaded():
    code = (
        "import sys, scalesearch.report.page\n"
        "print([m for m in ('matplotlib.pyplot', 'tkinter', 'torch', 'ray', 'optuna')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
