"""What the page says of test scores, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from scalesearch.report import sections, tables, tested
from scalesearch.report.sections import Drawn


def with_test(contents, scores, images=None, phase="family"):
    """The contents with a digest for each network, and test scores by position in a phase."""
    trials = contents.trials.assign(digest=[f"net{n}" for n in range(len(contents.trials))])
    rows = trials[trials["phase"] == phase]
    if phase == "search":
        rows = rows[rows["number"] == contents.baseline_trial]
    scored = rows.iloc[: len(scores)].assign(
        phase="test", **{contents.metric: scores}, number=range(len(scores))
    )
    every = pd.concat([trials, scored], ignore_index=True)
    return replace(contents, trials=every, test_images=images)


@pytest.fixture
def family(small):
    return with_test(small, [0.95, 0.96, 0.97, 0.96, 0.95, 0.97], images=900)


def test_each_member_with_both_scores(family):
    table = tested.table(family)
    assert table.head == [
        *("network", "validation accuracy", "test accuracy", "difference", "standard error"),
    ]
    assert table.rows[0] == [
        *("compound, phi = 0", "96.00 %", "95.00 %", "-1.00 points"),
        "0.73 points",  # sqrt(.95 * .05 / 900) = .00726
    ]
    assert table.rows[5][3] == "+0.40 points"
    assert len(table.rows) == 6


def test_what_selection_cost_is_said_of_the_largest_compound_member(family):
    count, found = tested.sentences(family)
    assert count == (
        "900 test images were read once, after everything was chosen, to score the networks that "
        "are reported."
    )
    # .978 - .970; sqrt(.97 * .03 / 900) = .005686
    assert found == (
        "Compound, phi = 2 has accuracy 97.80 % on the validation images and 97.00 % on the test "
        "images: 0.80 points less, which is what selection cost, with the chance of both samples. "
        "The standard error of the test score is 0.57 points."
    )
    assert math.isclose(tested.standard_error(family, 0.97), 0.005686, rel_tol=1e-3)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (0.96, "1.80 points less, which is what selection cost, with"),
        (0.99, "1.20 points more, so that selection cost nothing that shows, with"),
        (0.978, "no difference, so that selection cost nothing that shows, with"),
    ],
)
def test_selection_cost_something_only_where_the_test_score_is_smaller(small, test, said):
    _, found = tested.sentences(with_test(small, [0.95, 0.96, test]))  # the third has phi 2
    assert said in found


def test_the_familys_table_has_both_scores_side_by_side(family, small):
    table = tables.family(family)
    assert table.head[:5] == ["strategy", "phi", "accuracy", "test accuracy", "FLOPs"]
    row = next(row for row in table.rows if row[:2] == ["compound", "2"])
    assert row[2:4] == ["97.80 %", "97.00 %"]
    assert table.words == {0, len(table.head) - 1}
    assert "test accuracy" not in tables.family(small).head


def test_a_baseline_alone(small):
    trials = small.trials[small.trials["phase"] == "search"]
    contents = with_test(replace(small, trials=trials), [0.96], 100, phase="search")
    assert [row[:3] for row in tested.table(contents).rows] == [["baseline", "95.00 %", "96.00 %"]]
    assert "Baseline has accuracy 95.00 % on the validation images" in tested.sentences(contents)[1]
    assert "1.00 points more" in tested.sentences(contents)[1]


def test_average_precision_has_no_standard_error_of_ours(detectors):
    contents = with_test(detectors, [0.30, 0.45, 0.38], images=50)
    table = tested.table(contents)
    assert table.rows[1] == ["compound, phi = 1", "47.00", "45.00", "-2.00", "\N{EN DASH}"]
    assert "standard error" not in tested.sentences(contents)[1]


def test_the_section_stands_where_there_are_test_scores(family, small, detectors):
    def titles(contents):
        return [section.title for section in sections.sections(contents, Drawn())]

    assert titles(family)[:3] == ["Baseline", "Family", "Test"]
    assert "Test" not in titles(small)
    assert "Test" in titles(with_test(detectors, [0.30, 0.45, 0.38]))
    facts = {fact.label: fact for fact in sections.facts(family)}
    assert facts["test accuracy"].value == "97.00 %"
    assert facts["test accuracy"].detail == "compound, phi = 2, 900 images"
    # The networks of the test were assessed before.
    assert (
        facts["networks assessed"].value
        == {fact.label: fact for fact in sections.facts(small)}["networks assessed"].value
    )


def test_the_mean_of_several_trainings_is_called_that(family):
    spread = family.trials.assign(accuracy_spread=0.01)
    note = tested.table(replace(family, trials=spread)).note
    assert "validation scores the mean of several trainings" in note
    assert "several trainings" not in tested.table(family).note
