"""Scores of classifiers by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.training.classify import class_scores


def scores(labels, predicted, classes):
    """The same, from the labels and what was said of each image."""
    labels, predicted = np.array(labels), np.array(predicted)
    every = (labels, predicted, labels[labels == predicted])
    counts = [np.bincount(values, minlength=len(classes)) for values in every]
    return class_scores(np.stack(counts), classes)


def test_by_hand():
    # Of 6 a: 5 right; of 3 b: 1 right; of 1 c: none. Said: a 7, b 2, c 1.
    values = scores([0] * 6 + [1] * 3 + [2], [0] * 5 + [2] + [0, 0, 1] + [1], "abc")
    assert values["accuracy"] == pytest.approx(6 / 10)
    assert values["balanced_accuracy"] == pytest.approx((5 / 6 + 1 / 3 + 0) / 3)
    f1 = (2 * 5 / (6 + 7), 2 * 1 / (3 + 2), 0)
    assert values["macro_f1"] == pytest.approx(sum(f1) / 3)
    assert values["accuracy/a"] == pytest.approx(5 / 6)
    assert values["accuracy/c"] == 0


def test_always_the_largest_class_is_worth_nothing_when_balanced():
    values = scores([0] * 95 + [1] * 5, [0] * 100, ["healthy", "ill"])
    assert values["accuracy"] == 0.95
    assert values["balanced_accuracy"] == 0.5
    assert values["macro_f1"] == pytest.approx(0.5 * 2 * 95 / 195)


def test_a_class_that_is_not_shown_has_no_accuracy():
    values = scores([0, 0, 1], [0, 2, 1], "abc")
    assert "accuracy/c" not in values
    assert values["balanced_accuracy"] == pytest.approx(0.75)
    assert values["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)  # c was said once


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_as_defined_for_any_predictions(pairs):
    labels, predicted = map(np.array, zip(*pairs, strict=True))
    values = scores(labels, predicted, "abcde")
    assert values["accuracy"] == pytest.approx((labels == predicted).mean())
    recalls, f1s = [], []
    for k in range(5):
        hits = ((labels == k) & (predicted == k)).sum()
        if (labels == k).any():
            recalls.append(hits / (labels == k).sum())
            assert values[f"accuracy/{'abcde'[k]}"] == pytest.approx(recalls[-1])
        if (labels == k).any() or (predicted == k).any():
            f1s.append(2 * hits / ((labels == k).sum() + (predicted == k).sum()))
    assert values["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert values["macro_f1"] == pytest.approx(np.mean(f1s))
