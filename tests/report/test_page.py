"""The page as a browser reads it."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from scalesearch.report.page import page

VOID = {"meta", "img", "br", "hr", "input", "link"}
FIGURES = {phase: f"<svg>{phase}</svg>".encode() for phase in ("search", "grid", "family")}


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


def test_figures_are_embedded_whole_with_words_for_the_blind(small):
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


def test_everything_refused(infeasible):
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


@pytest.mark.parametrize("phase", ["search", "grid", "family"])
def test_a_phase_where_all_failed(small, phase):
    trials = small.trials.copy()
    mine = trials["phase"] == phase
    trials.loc[mine, "state"] = "failed"
    trials.loc[mine, ["accuracy", "objective"]] = float("nan")
    broken = replace(small, trials=trials)
    rest = {name: figure for name, figure in FIGURES.items() if name != phase}
    text = Reader(page(broken, rest)).text
    said = {
        "search": "No trial has a score yet, so there is nothing to draw.",
        "grid": "No triple has a score yet.",
        "family": "No member has a score yet.",
    }
    assert said[phase] in text
    assert re.search(r"Failed trials \(\d+\)", text)


def test_a_table_read_back_from_csv_gives_the_same_page(small):
    text = small.trials.to_csv(index=False)
    again = replace(small, trials=pd.read_csv(io.StringIO(text)))
    assert page(again, FIGURES) == page(small, FIGURES)
