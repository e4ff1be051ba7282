"""The figure of the search, read back from its artists."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scalesearch.cost.limits import Limit
from scalesearch.report import search
from scalesearch.report.style import image


def line(figure, gid):
    return next(item for axes in figure.axes for item in axes.lines if item.get_gid() == gid)


def labelled(axes, word):
    return next(item for item in axes.lines if str(item.get_label()).startswith(word))


def test_axes_have_units(small):
    left, right, bar = search.draw(small).axes
    assert left.get_xlabel() == "FLOPs (M multiply-adds)"
    assert left.get_ylabel() == "validation accuracy (%)"
    assert right.get_xlabel() == "trial number"
    assert bar.get_ylabel() == "trial number (later is darker)"


def test_front_by_hand(small):
    front = line(search.draw(small), "front")
    assert front.get_xdata() == pytest.approx([1, 1, 2, 2.9])
    assert front.get_ydata() == pytest.approx([90, 90, 94, 95])
    # Between two members the cheaper one is the best that can be had.
    assert front.get_drawstyle() == "steps-post"


def test_front_of_a_large_search_is_the_definition(large):
    rows = large.scored("search")
    flops, accuracy = rows["flops"].to_numpy(), rows["accuracy"].to_numpy()
    better = (accuracy[:, None] >= accuracy) & (flops[:, None] <= flops)
    strictly = (accuracy[:, None] > accuracy) | (flops[:, None] < flops)
    kept = ~(better & strictly).any(axis=0)
    front = line(search.draw(large), "front")
    assert front.get_xdata() == pytest.approx(np.sort(flops[kept]) / 1e6)
    assert list(front.get_ydata()) == sorted(accuracy[kept] * 100)


def test_infeasible_trials_stand_at_their_flops_and_limits_are_lines(small):
    axes = search.draw(small).axes[0]
    assert list(labelled(axes, "infeasible").get_xdata()) == [4, 9]
    assert labelled(axes, "infeasible").get_label() == "infeasible, outside a limit (2)"
    assert [text.get_text() for text in axes.texts] == ["at most 3.0 M"]
    dashed = [item for item in axes.lines if list(item.get_xdata()) == [3, 3]]
    assert len(dashed) == 1


def test_a_lower_limit_is_labelled_too(small):
    limits = {"search": {"flops": Limit(min=5e5, max=3e6)}}
    axes = search.draw(replace(small, limits=limits)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["at least 500.0 k", "at most 3.0 M"]
    assert axes.get_xlim()[0] < 0.5


def test_baseline_is_marked_with_its_numbers(small):
    star = labelled(search.draw(small).axes[0], "baseline")
    assert star.get_label() == "baseline: trial 5, 2.9 M, 95.00 %"
    assert (star.get_xdata()[0], star.get_ydata()[0]) == pytest.approx((2.9, 95))


def test_best_so_far_never_falls_and_ends_with_the_last_trial(small):
    best = line(search.draw(small), "best")
    assert list(best.get_xdata()) == [0, 2, 4, 5, 6, 8]
    assert list(best.get_ydata()) == pytest.approx([90, 94, 94, 95, 95, 95])


def test_a_reward_is_drawn_as_itself(small):
    trials = small.trials.assign(objective=small.trials["accuracy"] * 0.9)
    words = "accuracy x (FLOPs / 1.5 M)^-0.07 in $ and $$"
    figure = search.draw(replace(small, trials=trials, objective=words))
    assert figure.axes[1].get_ylabel() == f"objective: {words}"
    assert line(figure, "best").get_ydata()[-1] == pytest.approx(0.855)
    assert image(figure, "svg")


def test_a_network_at_chance_level_does_not_squeeze_the_others(large):
    trials = large.trials.copy()
    victim = trials.index[trials["state"] == "assessed"][0]
    trials.loc[victim, "accuracy"] = 0.1
    axes = search.draw(replace(large, trials=trials)).axes[0]
    assert axes.get_ylim()[0] > 50
    assert labelled(axes, "below").get_label().endswith("(1)")


def test_thousands_of_trials_stay_a_small_svg(large):
    assert len(image(search.draw(large), "svg")) < 600_000


def test_words_for_those_who_cannot_see_it(small):
    assert search.summary(small) == (
        "Accuracy against FLOPs of 5 networks; 4 on the Pareto front, "
        "the best with 95.00 % at 2.9 M FLOPs."
    )


@pytest.mark.parametrize("numbers", [[5], [0, 6], [0, 2]])
def test_few_trials_can_be_drawn(small, numbers):
    trials = small.trials[small.trials["number"].isin(numbers)]
    figure = search.draw(replace(small, trials=trials, limits={}))
    assert image(figure, "png").startswith(b"\x89PNG")


def test_nothing_scored_gives_no_figure(empty, infeasible):
    assert search.draw(empty) is None
    assert search.draw(infeasible) is None
