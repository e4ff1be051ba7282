"""The checks themselves, where no record shows them."""

from __future__ import annotations

import pytest

from scalesearch.arch import check
from scalesearch.errors import UserError


def test_what_is_right_passes_in_silence():
    check.whole("depth", 1)
    check.whole("phi", 0, least=0)
    check.odd("kernel", 7)
    check.one_of("padding", "same", ("symmetric", "same"))
    check.made("depth", 3, int)
    check.yes_or_no("norm", False)


def test_a_whole_number_may_have_another_least():
    with pytest.raises(UserError) as told:
        check.whole("phi", -1, least=0)
    assert str(told.value) == "phi: -1 cannot be used\n  allowed: a whole number >= 0"


def test_a_number_is_no_yes_or_no():
    with pytest.raises(UserError) as told:
        check.yes_or_no("norm", 0)
    assert str(told.value) == "norm: 0 cannot be used\n  allowed: true or false"


def test_a_word_without_a_near_one_gets_no_hint():
    with pytest.raises(UserError) as told:
        check.one_of("padding", "zzz", ("symmetric", "same"))
    assert str(told.value) == "padding: 'zzz' is not known\n  allowed: symmetric, same"


def test_a_list_is_no_word():
    with pytest.raises(UserError, match=r"\['same'\] is not known"):
        check.one_of("padding", ["same"], ("symmetric", "same"))


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan"), True, "2", None])
def test_a_number_above_0(value):
    check.above_zero("scale", 0.5)
    check.above_zero("scale", 3)
    with pytest.raises(UserError) as told:
        check.above_zero("scale", value)
    assert str(told.value) == f"scale: {value!r} cannot be used\n  allowed: a number above 0"
