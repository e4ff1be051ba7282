"""The figure of the family, read back from its artists."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from scalesearch.report import family
from scalesearch.report.style import image

PHI = "\N{GREEK SMALL LETTER PHI}"


def lines(figure):
    found = (item for item in figure.axes[0].lines if item.get_gid())
    return {item.get_label(): (list(item.get_xdata()), list(item.get_ydata())) for item in found}


def test_one_line_per_strategy_all_from_the_baseline(small):
    found = lines(family.draw(small))
    assert list(found) == ["compound", "depth", "width"]
    assert found["compound"][0] == pytest.approx([2.9, 5.8, 11.6])
    assert found["compound"][1] == pytest.approx([96, 97, 97.8])
    assert found["depth"][0] == pytest.approx([2.9, 5.8, 12.18])
    assert found["width"][1] == pytest.approx([96, 96.6])


def test_axes_have_units_and_phi_is_written_at_the_compound_points(small):
    figure = family.draw(small)
    axes = figure.axes[0]
    assert axes.get_xlabel() == "FLOPs (M multiply-adds)"
    assert axes.get_ylabel() == "validation accuracy (%)"
    assert [text.get_text() for text in axes.texts] == [f"{PHI} = {phi}" for phi in (0, 1, 2)]
    assert axes.texts[2].xy == pytest.approx((11.6, 97.8))


def test_compound_is_the_boldest(small):
    widths = {item.get_gid(): item.get_linewidth() for item in family.draw(small).axes[0].lines}
    assert widths["line-compound"] > 1.5 * widths["line-depth"]


def test_a_baseline_scored_for_every_strategy_is_not_doubled(small):
    rows = small.phase("family")
    again = rows[rows["phi"] == 0].assign(strategy="depth", number=9)
    both = replace(small, trials=pd.concat([rows, again], ignore_index=True))
    assert list(family.members(both)["depth"]["phi"]) == [0, 1.1, 2.2]


def test_a_listed_line_has_its_own_members_alone(small):
    rows = small.phase("family")
    trials = pd.concat([rows, rows[rows["phi"] > 0].assign(strategy="d2_r1.3")], ignore_index=True)
    found = family.members(replace(small, trials=trials))
    assert 0 in list(found["depth"]["phi"])
    assert 0 not in list(found["d2_r1.3"]["phi"])


def test_phi_is_not_written_along_a_listed_line(small):
    trials = small.trials.assign(strategy="d2_r1.3")
    assert not family.draw(replace(small, trials=trials)).axes[0].texts


def test_bars_are_the_spread_over_seeds(small):
    assert not family.draw(small).axes[0].collections
    trials = small.trials.assign(accuracy_spread=0.01)
    figure = family.draw(replace(small, trials=trials))
    bars = figure.axes[0].collections[0].get_segments()  # of the compound line: 96, 97, 97.8
    assert bars[0][:, 1] == pytest.approx([95, 97])


def test_without_compound_another_line_carries_phi(small):
    trials = small.trials[small.trials["strategy"] != "compound"]
    figure = family.draw(replace(small, trials=trials))
    assert [text.get_text() for text in figure.axes[0].texts] == [f"{PHI} = 1.1", f"{PHI} = 2.2"]


def test_more_strategies_than_looks_can_be_drawn(small):
    rows = small.phase("family").iloc[[0] * 12].copy()
    rows["strategy"] = [f"own {i}" for i in range(12)]
    figure = family.draw(replace(small, trials=rows))
    assert len(lines(figure)) == 12
    assert image(figure, "png")


def test_words_for_those_who_cannot_see_it(small):
    assert family.summary(small) == (
        "Accuracy against FLOPs: compound reaches 97.80 %, depth reaches 96.60 %, "
        "width reaches 96.60 %."
    )


def test_nothing_scored_gives_no_figure(empty, infeasible):
    assert family.draw(empty) is None
    assert family.draw(infeasible) is None
