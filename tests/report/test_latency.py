"""Predicted against measured latency: the figure's marks, and what the page says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.cost.limits import Limit
from scalesearch.history.agreement import agreement
from scalesearch.report import latency, tables
from scalesearch.report.page import page, write_report
from scalesearch.report.sections import Drawn, sections

# Number in the search: predicted and measured milliseconds.
TIMES = {0: (9, 10), 1: (30, None), 2: (11, 13), 4: (12, 12), 5: (14, 19), 6: (9, 10), 7: (20, 24)}


@pytest.fixture
def timed(small):
    """The small study, timed: trial 1 was infeasible by its prediction, trial 7 by its worker."""
    trials = small.trials.copy()
    trials["reused_from"] = trials["number"].where(trials["state"] == "reused")
    for column, index in (("predicted_latency", 0), ("latency", 1)):
        seconds = {n: times[index] and times[index] / 1000 for n, times in TIMES.items()}
        trials[column] = trials["number"].map(seconds).where(trials["phase"] == "search")
    pairs = [(TIMES[n][0] / 1000, TIMES[n][1] / 1000) for n in (0, 2, 4, 5, 7)]
    return replace(
        small,
        trials=trials,
        limits={"search": {"latency": Limit(max=0.02)}},
        deployment="cpu, batch 1, 1 thread",
        agreement=agreement(pairs),
    )


def test_each_network_with_both_is_a_mark(timed):
    (axes,) = latency.draw(timed).axes
    marks = {line.get_label(): line for line in axes.get_lines()}
    assert set(marks) == {"as predicted", "assessed (4)", "infeasible (1)", "limit 20.0 ms"}
    done = marks["assessed (4)"]
    assert list(done.get_xdata()) == pytest.approx([9, 11, 12, 14])
    assert list(done.get_ydata()) == pytest.approx([10, 13, 12, 19])
    assert list(marks["infeasible (1)"].get_ydata()) == pytest.approx([24])
    assert list(marks["limit 20.0 ms"].get_ydata()) == pytest.approx([20, 20])
    across, up = marks["as predicted"].get_data()
    assert list(across) == list(up)
    assert axes.get_xlabel() == "predicted latency (ms)"


def test_a_limit_far_off_is_left_out(timed):
    far = replace(timed, limits={"search": {"latency": Limit(max=5.0)}})
    (axes,) = latency.draw(far).axes
    assert not any("limit" in line.get_label() for line in axes.get_lines())


def test_the_agreement_is_by_hand(timed):
    # Ranks of 9 11 12 14 20: 1 2 3 4 5; of 10 13 12 19 24: 1 3 2 4 5. 1 - 6 * 2 / (5 * 24) = 0.9.
    # Errors 1, 2, 0, 5, 4 ms: their mean is 2.4 ms.
    assert latency.agreement_sentence(timed) == (
        "Predicted by the latency table against measured: Spearman's rank correlation 0.900 "
        "(n = 5), mean absolute error 2.40 ms."
    )


def test_what_was_not_predicted_has_no_figure(timed):
    trials = timed.trials.drop(columns="predicted_latency")
    measured = replace(timed, trials=trials, agreement=None)
    assert latency.draw(measured) is None
    assert latency.agreement_sentence(measured) == "No latency table predicted them."


def test_one_network_is_too_few(timed):
    trials = timed.trials[timed.trials["number"] == 0]
    one = replace(timed, trials=trials, agreement=None)
    assert latency.draw(one) is not None
    assert latency.agreement_sentence(one).startswith("Too few networks")


def test_a_study_without_latency_has_no_section_of_it(small, timed):
    assert "Latency" not in [section.title for section in sections(small, Drawn())]
    assert "Latency" in [section.title for section in sections(timed, Drawn())]


def test_the_page_shows_figure_and_front(timed):
    text = page(timed, Drawn(figures={"latency": b"<svg/>"}))
    for words in (
        "cpu, batch 1, 1 thread",
        "rank correlation 0.900",
        "The Pareto front in latency",
    ):
        assert words in text
    assert text.count("data:image/svg+xml") == 1


def test_the_front_in_latency_is_by_hand(timed):
    # 90 % in 10 ms, 92 % in 12, 94 % in 13 and 95 % in 19 ms: each is better and slower.
    table = tables.front(timed, "latency")
    assert [row[:3] for row in table.rows] == [
        ["5", "95.00 %", "19.0 ms"],
        ["2", "94.00 %", "13.0 ms"],
        ["4", "92.00 %", "12.0 ms"],
        ["6", "90.00 %", "10.0 ms"],
        ["0", "90.00 %", "10.0 ms"],
    ]
    assert table.marked == {0}


def test_files(timed, tmp_path):
    names = {path.name for path in write_report(timed, tmp_path)}
    assert {"latency.png", "latency.svg"} <= names
