"""What makes a figure readable without colour and equal from run to run."""

from __future__ import annotations

from itertools import pairwise

import matplotlib
import pytest
from matplotlib.colors import to_rgb

from scalesearch.report import family, search
from scalesearch.report.style import LIGHTNESS, cost_axis, lower_end, new_figure, save, style


def grey(colour):
    """Luma as in ITU-R BT.601, what a grey printer makes of a colour."""
    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_lightness_falls_steadily_in_grey():
    shades = [grey(LIGHTNESS(i / 20)) for i in range(21)]
    assert all(a - b > 0.01 for a, b in pairwise(shades))
    assert shades[0] < 0.9  # visible on white


def test_lines_of_the_family_differ_without_colour():
    looks = [(line["marker"], str(line["linestyle"])) for line in family._LINES]
    markers, dashes = zip(*looks, strict=True)
    assert len(set(markers)) == len(set(dashes)) == len(looks)
    shades = sorted(grey(line["color"]) for line in family._LINES[:3])
    assert all(b - a > 0.05 for a, b in pairwise(shades))
    assert all(grey(line["color"]) < 0.65 for line in family._LINES)


@pytest.mark.parametrize(
    ("flops", "label", "kind", "scale"),
    [
        ([1e6, 3e6], "FLOPs (M multiply-adds)", "linear", 1e6),
        ([1e6, 5e6], "FLOPs (M multiply-adds)", "log", 1e6),
        ([390e6, 37e9], "FLOPs (G multiply-adds)", "log", 1e9),
        ([500.0], "FLOPs (multiply-adds)", "linear", 1),
    ],
)
def test_cost_axis_names_its_unit_and_is_logarithmic_when_wide(flops, label, kind, scale):
    axes = new_figure(4, 3).subplots()
    assert cost_axis(axes, flops) == scale
    assert axes.get_xlabel() == label
    assert axes.get_xscale() == kind


@pytest.mark.parametrize("end", [4.2e6, 2e7, 5e8, 9e9])
def test_a_logarithmic_axis_has_ticks_in_plain_numbers(end):
    figure = new_figure(5, 3)
    axes = figure.subplots()
    scale = cost_axis(axes, [1e6, end])
    axes.plot([1e6 / scale, end / scale], [0, 1])
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    ticks = axes.get_xticklabels()
    words = [t.get_text() for t in ticks if low <= t.get_position()[0] <= high]
    assert 3 <= len(words) <= 10
    assert not any("$" in word or "e" in word for word in words)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.9, 0.91, 0.92, 0.93, 0.94], 0.9),
        ([0.1, 0.9, 0.91, 0.92, 0.93, 0.94], 0.9),  # one network at chance level
        ([0.5], 0.5),
        ([0.1, 0.9], 0.1),
        ([0.8, 0.8, 0.8, 0.8], 0.8),
    ],
)
def test_lower_end_passes_over_outliers_only(values, expected):
    assert lower_end(values) == expected


def test_same_trials_give_the_same_bytes_whatever_the_user_has_set(small, tmp_path):
    first = [path.read_bytes() for path in save(search.draw(small), tmp_path / "a", "search")]
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        again = [path.read_bytes() for path in save(search.draw(small), tmp_path / "b", "search")]
    assert first == again
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["search.png", "search.svg"]
    assert first[0].startswith(b"\x89PNG")
    assert b"<svg" in first[1]
    assert b"dc:date" not in first[1]


def test_nothing_of_our_settings_is_left_behind():
    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["svg.hashsalt"] == "scalesearch"
    assert dict(matplotlib.rcParams) == before


def test_settings_of_the_user_do_not_reach_a_figure_that_is_saved(tmp_path):
    with matplotlib.rc_context({"figure.autolayout": True}):
        with style():
            figure = new_figure(4, 3)
            axes = figure.subplots()
            figure.colorbar(axes.imshow([[0, 1], [2, 3]]), ax=axes)
        assert [path.suffix for path in save(figure, tmp_path, "map")] == [".png", ".svg"]
