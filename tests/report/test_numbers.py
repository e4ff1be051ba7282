from __future__ import annotations

import math

from scalesearch.cost.cost import UNITS
from scalesearch.report import numbers


def test_every_cost_has_a_name():
    assert set(numbers.NAMES) == set(UNITS)


def test_words():
    for text, expected in (
        (numbers.cost("flops", 385_814_816), "385.8 M"),
        (numbers.cost("training_bytes", 2**26), "64.0 MiB"),
        (numbers.cost("params", math.nan), "\N{EN DASH}"),
        (numbers.cost("latency", 0.0123), "12.3 ms"),
        (numbers.score(0.94314, "accuracy"), "94.31 %"),
        (numbers.score(0.5, "top5_accuracy"), "50.00 %"),
        (numbers.score(0.123456, "loss"), "0.1235"),
        (numbers.score(math.nan, "accuracy"), "\N{EN DASH}"),
        (numbers.score(0.34623, "ap"), "34.62"),
        (numbers.score(0.5, "ap/traffic light"), "50.00"),
        (numbers.metric_word("ap_small"), "AP small"),
        (numbers.metric_word("top5_accuracy"), "top5_accuracy"),
        (numbers.metric_name("ap75"), "AP75"),
        (numbers.metric_label("ap50"), "validation AP50 (%)"),
        (numbers.objective_words("ap against flops", "ap"), "AP against flops"),
        (numbers.objective_words("apricot", "ap"), "apricot"),
        (numbers.objective_words("accuracy", "accuracy"), "accuracy"),
        (numbers.percent(0.1234), "12.3 %"),
        (numbers.percent(math.nan), "\N{EN DASH}"),
        (numbers.metric_label("accuracy"), "validation accuracy (%)"),
        (numbers.metric_label("mean_precision"), "validation mean precision"),
        (numbers.metric_name("mean_precision"), "Mean precision"),
    ):
        assert text == expected


def test_prefix_suits_the_middle_of_the_values():
    for values, expected in (
        ([385e6], (1e6, "M")),
        ([300e6, 1.2e9], (1e6, "M")),  # around 600 M, not 0.6 G
        ([1.8e9, 37e9], (1e9, "G")),
        ([900.0], (1.0, "")),
        ([], (1.0, "")),
    ):
        assert numbers.prefix(values) == expected


def test_shares_and_precisions_are_printed_in_percent():
    for metric, times in (("accuracy", 100), ("ap_large", 100), ("ap/dog", 100), ("loss", 1)):
        assert numbers.factor(metric) == times
