from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from scalesearch.report import classes
from scalesearch.report.style import image


def test_each_class_with_the_best_network_of_each_phase(detectors):
    scores = classes.by_class(detectors)
    assert list(scores.columns) == ["search", "grid", "family"]
    assert list(scores.index) == list("9876543210")
    assert list(scores.loc["4"]) == pytest.approx([0.34, 0.44, 0.47])


def test_marks_stand_at_percent_and_name_their_trial(detectors):
    axes = classes.draw(detectors).axes[0]
    marks = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert list(marks) == [
        f"best of the {phase}: trial 1" for phase in ("search", "grid", "family")
    ]
    assert marks["best of the family: trial 1"][0] == pytest.approx(57)
    assert [label.get_text() for label in axes.get_yticklabels()] == list("9876543210")
    assert axes.get_xlabel() == "AP (%)"
    assert len({line.get_marker() for line in axes.lines}) == 3


def test_eighty_classes_stand_in_columns(detectors):
    figure = classes.draw(with_classes(detectors, 80))
    assert [len(axes.get_yticklabels()) for axes in figure.axes] == [27, 27, 26]
    assert image(figure, "png")
    extents = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(above.y0 >= below.y1 - 2 for above, below in pairwise(extents))


def test_of_very_many_classes_the_best_and_the_worst_are_drawn(detectors):
    figure = classes.draw(with_classes(detectors, 400))
    names = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert len(names) == classes.MOST
    assert figure.axes[0].get_title(loc="left") == "AP by class: the 75 best and the 75 worst"
    assert names[0] == "class 399"
    assert names[-1] == "class 000"


def with_classes(contents, count):
    columns = [name for name in contents.trials if not name.startswith("ap/")]
    extra = pd.DataFrame({f"ap/class {i:03}": [i / count] for i in range(count)})
    trials = contents.trials[columns].merge(extra, how="cross")
    return replace(contents, trials=trials)


def test_a_class_without_objects_is_left_out(detectors):
    trials = detectors.trials.assign(**{"ap/3": float("nan")})
    assert "3" not in classes.by_class(replace(detectors, trials=trials)).index


def test_words_for_those_who_cannot_see_it(detectors):
    assert classes.summary(detectors) == (
        "AP of 10 classes: from 9 with 57.00 down to 0 with 39.00."
    )


def test_nothing_by_class_gives_no_figure(small, empty, detectors):
    assert classes.draw(small) is None
    assert classes.draw(empty) is None
    columns = [name for name in detectors.trials if not name.startswith("ap/")]
    assert classes.draw(replace(detectors, trials=detectors.trials[columns])) is None
    only = detectors.trials[detectors.trials["phase"] == "family"]
    assert isinstance(classes.by_class(replace(detectors, trials=only)), pd.DataFrame)
    assert list(classes.by_class(replace(detectors, trials=only)).columns) == ["family"]
