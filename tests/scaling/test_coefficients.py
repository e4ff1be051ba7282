"""Coefficients and their multipliers against the paper's arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.scaling.coefficients import Coefficients, Multipliers

PAPER = Coefficients(1.2, 1.1, 1.15)  # Tan & Le 2019, section 4, step 1


def test_the_papers_coefficients_grow_by_one_point_nine_two():
    # 1.2 * 1.21 * 1.3225 = 1.92027
    assert PAPER.growth == pytest.approx(1.92027)


def test_multipliers_are_powers():
    assert PAPER.at(0) == Multipliers(1.0, 1.0, 1.0)
    assert PAPER.at(1) == Multipliers(1.2, 1.1, 1.15)
    two = PAPER.at(2)
    assert (two.depth, two.width, two.resolution) == pytest.approx((1.44, 1.21, 1.3225))
    less = PAPER.at(-1)
    assert less.depth == pytest.approx(1 / 1.2)
    assert PAPER.at(0.5).width == pytest.approx(1.1**0.5)


@given(st.floats(-6, 6), st.floats(-6, 6))
def test_phis_add_up(one, other):
    # alpha^(a + b) = alpha^a * alpha^b for each dimension.
    a, b, both = PAPER.at(one), PAPER.at(other), PAPER.at(one + other)
    for key in ("depth", "width", "resolution"):
        assert getattr(both, key) == pytest.approx(getattr(a, key) * getattr(b, key))


@pytest.mark.parametrize("value", [0, -1.2, float("nan"), float("inf"), "1.2", None, True])
def test_a_coefficient_is_a_number_above_zero(value):
    with pytest.raises(UserError) as raised:
        Coefficients(1.2, value, 1.15)
    assert str(raised.value) == f"beta: {value!r} cannot be used\n  allowed: a number above 0"


def test_a_file_is_loaded(tmp_path):
    path = tmp_path / "coefficients.yaml"
    path.write_text("alpha: 1.2\nbeta: 1.1\ngamma: 1.15\nrunners_up: []\n")
    assert Coefficients.load(path) == PAPER
    assert Coefficients.load(str(path)) == PAPER


def test_a_file_without_a_coefficient_is_told(tmp_path):
    path = tmp_path / "coefficients.yaml"
    path.write_text("alpha: 1.2\nbeta: 1.1\n")
    with pytest.raises(UserError) as raised:
        Coefficients.load(path)
    keys = "alpha, beta, gamma, head_scaling, match, budget, budget_cost"
    assert str(raised.value) == f"{path}: 'gamma' is missing\n  allowed: {keys}"


def test_a_wrong_coefficient_in_a_file_is_told_with_the_file(tmp_path):
    path = tmp_path / "coefficients.yaml"
    path.write_text("alpha: 1.2\nbeta: -1\ngamma: 1.15\n")
    with pytest.raises(UserError) as raised:
        Coefficients.load(path)
    assert str(raised.value).startswith(f"{path}")
    assert "beta: -1 cannot be used" in str(raised.value)


def test_the_rule_of_the_head_goes_into_files_and_comes_back(tmp_path):
    assert "head_scaling" not in PAPER.file_entries()
    triple = Coefficients(1.2, 1.1, 1.15, head_scaling="grow")
    file = tmp_path / "coefficients.yaml"
    file.write_text("\n".join(f"{key}: {value}" for key, value in triple.file_entries().items()))
    assert Coefficients.load(file) == triple
    with pytest.raises(UserError) as caught:
        Coefficients(1.2, 1.1, 1.15, head_scaling="keeps")
    assert str(caught.value) == (
        "head_scaling: 'keeps' is not known\n  allowed: scale, keep, grow\n  did you mean 'keep'?"
    )
