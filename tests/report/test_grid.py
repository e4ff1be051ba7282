"""The figure of the grid, read back from its artists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scalesearch.report import grid
from scalesearch.report.style import image
from scalesearch.report.tasks import WORDINGS
from scalesearch.scaling.coefficients import Coefficients
from tests.report.conftest import rankings


def test_axes_have_meanings_and_units(small):
    alpha, beta, gamma, triangle = grid.draw(small).axes[:4]
    labels = [axes.get_xlabel() for axes in (alpha, beta, gamma)]
    assert labels == [
        "alpha (depth multiplier)",
        "beta (width multiplier)",
        "gamma (resolution multiplier)",
    ]
    assert beta.get_ylabel() == "validation accuracy (%)"
    words = [text.get_text() for text in triangle.texts]
    for corner in ("depth alone (alpha)", "width alone (beta)", "resolution alone (gamma)"):
        assert corner in words
    assert [word for word in words if word.isdigit()] == ["2", "3", "4", "5"]


def test_winner_is_starred_in_every_panel(small):
    stars = []
    for axes in grid.draw(small).axes[:3]:
        star = next(item for item in axes.lines if item.get_gid() == "winner")
        stars.append((star.get_xdata()[0], star.get_ydata()[0]))
    assert stars == [(1.2, 95.5), (1.1, 95.5), (1.15, 95.5)]


def test_best_at_each_value_of_alpha(small):
    axes = grid.draw(small).axes[0]
    best = next(item for item in axes.lines if item.get_gid() == "best")
    assert list(best.get_xdata()) == [1.0, 1.2, 1.4, 2.0]
    assert list(best.get_ydata()) == pytest.approx([94.7, 95.5, 95.3, 94.1])


def test_corner_triples_lie_in_the_corners(small):
    points = grid.draw(small).axes[3].collections[0].get_offsets().tolist()
    for corner in ((0.5, 0.8660), (0.0, 0.0), (1.0, 0.0)):
        assert any(point == pytest.approx(corner, abs=1e-3) for point in points)


def test_before_the_grid_is_over_the_best_is_no_winner(small):
    figure = grid.draw(replace(small, coefficients=None))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    assert "best so far" in labels
    assert "winner" not in labels
    assert len(handles) == len(labels)


def test_marks_follow_the_ranking_and_not_the_metric(small):
    trials = small.trials.copy()
    trials.loc[(trials["phase"] == "grid") & (trials["number"] == 4), "objective"] = 2.0
    figure = grid.draw(replace(small, trials=trials, rankings=rankings(trials)))
    star = next(item for item in figure.axes[0].lines if item.get_gid() == "winner")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (1.4, 95.3)


def test_growth_shares_of_the_paper():
    # ln 1.2 = .18232, 2 ln 1.1 = .19062, 2 ln 1.15 = .27952; their sum .65247 = ln 1.9204.
    shares = grid.growth_shares(Coefficients(1.2, 1.1, 1.15))
    assert shares == pytest.approx((0.27943, 0.29215, 0.42842), abs=1e-4)
    assert grid.growth_shares(Coefficients(2, 1, 1)) == [1, 0, 0]


def test_a_triple_without_growth_has_no_place_in_the_triangle(small):
    trials = small.trials.copy()
    trials.loc[trials["alpha"] == 2.0, "alpha"] = 1.0
    drawn = grid.draw(replace(small, trials=trials))
    assert len(drawn.axes[3].collections[0].get_offsets()) == 4
    assert image(drawn, "png").startswith(b"\x89PNG")


def test_words_for_those_who_cannot_see_it(small):
    assert grid.summary(small) == (
        "Accuracy of 5 triples; the best is alpha 1.2, beta 1.1, gamma 1.15 with 95.50 %."
    )


def test_one_triple_can_be_drawn(small):
    trials = small.trials[small.trials["number"] == 0]
    assert image(grid.draw(replace(small, trials=trials)), "svg")


def test_nothing_scored_gives_no_figure(empty, infeasible, small):
    assert grid.draw(empty) is None
    assert grid.draw(infeasible) is None
    search_only = small.trials[small.trials["phase"] == "search"].dropna(axis=1, how="all")
    assert grid.draw(replace(small, trials=search_only)) is None


def test_coefficients_of_detectors_have_a_panel_where_they_vary(detectors):
    figure = grid.draw(detectors)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == [
        "neck width (width multiplier of neck and heads)",
        "resolution (pixels added to the input)",
        "FLOPs (M multiply-adds)",
    ]
    stars = []
    for axes in figure.axes:
        star = next(item for item in axes.lines if item.get_gid() == "winner")
        stars.append((star.get_xdata()[0], star.get_ydata()[0]))
    assert stars == [(1.35, 44), (32, 44), (6, 44)]
    assert figure.axes[0].get_ylabel() == "validation AP (%)"
    assert grid.summary(detectors) == (
        "AP of 3 combinations; the best is neck width 1.35, resolution 32 with 44.00."
    )


@pytest.mark.parametrize("count", range(6))
def test_any_number_of_varying_coefficients_can_be_drawn(detectors, count):
    names = [*WORDINGS["detection"].coefficients][:count]
    trials = detectors.trials.drop(columns=["neck_width", "resolution"])
    trials = trials.assign(head_depth=1 / 3)
    for name in names:
        trials[name] = 1.1 + trials["number"] / 10
    several = replace(detectors, trials=trials)
    figure = grid.draw(several)
    assert len(figure.axes) == count + 1
    assert image(figure, "png")
    assert grid.shown(several) == names


def test_a_network_that_several_triples_give_is_ranked_once_and_drawn_for_each(small):
    grid_rows = small.trials["phase"] == "grid"
    trials = small.trials.copy()
    # Trial 4 has the result of trial 0: it is no runner-up of itself.
    trials.loc[grid_rows & (trials["number"] == 4), "state"] = "reused"
    reused = replace(small, trials=trials, rankings=rankings(trials))
    assert list(reused.ranking("grid")["number"]) == [0, 2, 3, 1]
    figure = grid.draw(reused)
    assert len(figure.axes[0].lines[0].get_xdata()) == 5
    assert len(figure.axes[3].collections[0].get_offsets()) == 5
    assert [t.get_text() for t in figure.axes[3].texts if t.get_text().isdigit()] == ["2", "3", "4"]
    assert grid.summary(reused).startswith("Accuracy of 5 triples")
