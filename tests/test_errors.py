"""The one shape of every message to a user."""

from __future__ import annotations

import pickle

import pytest

from scalesearch.errors import TrialError, UserError, nearest

FULL = UserError(
    "'kernle' is not known",
    key="stages[2].kernle",
    allowed="kernel, depth",
    hint="did you mean 'kernel'?",
    file="space.yaml",
    line=12,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UserError("nothing fits"), "nothing fits"),
        (UserError("4 is even", key="kernel"), "kernel: 4 is even"),
        (UserError("4 is even", file="a.yaml"), "a.yaml: 4 is even"),
        (UserError("4 is even", file="a.yaml", line=3), "a.yaml:3: 4 is even"),
        (UserError("4 is even", line=3), "4 is even"),
        (UserError("4 is even", hint="take 5"), "4 is even\n  take 5"),
        (UserError("4 is even", allowed="3, 5"), "4 is even\n  allowed: 3, 5"),
        (
            FULL,
            "space.yaml:12: stages[2].kernle: 'kernle' is not known\n"
            "  allowed: kernel, depth\n  did you mean 'kernel'?",
        ),
    ],
)
def test_layout(error, text):
    assert str(error) == text


def test_it_is_a_value_error_and_a_failed_trial_is_not():
    assert isinstance(FULL, ValueError)
    assert not isinstance(TrialError("nan"), ValueError)
    assert FULL.args == (str(FULL),)


def test_it_survives_the_way_to_another_process():
    back = pickle.loads(pickle.dumps(FULL))
    assert type(back) is UserError
    assert vars(back) == vars(FULL)
    assert str(back) == str(FULL)


@pytest.mark.parametrize(
    ("key", "under", "joined"),
    [
        ("kernel", "stages[2]", "stages[2].kernel"),
        ("[2].kernel", "stages", "stages[2].kernel"),
        ("", "stages", "stages"),
        ("kernel", "", "kernel"),
        ("", "", ""),
    ],
)
def test_a_mistake_is_placed_below_a_key(key, under, joined):
    assert UserError("wrong", key=key).at(under=under).key == joined


def test_a_mistake_is_placed_in_a_file_unless_it_knows_its_own():
    placed = UserError("wrong", allowed="a", hint="b").at(file="study.yaml", line=4)
    assert str(placed) == "study.yaml:4: wrong\n  allowed: a\n  b"
    assert (FULL.at(file="study.yaml", line=4).file, FULL.at(line=4).line) == ("space.yaml", 12)


def test_the_nearest_word():
    assert nearest("kernle", ["width", "kernel"]) == "did you mean 'kernel'?"
    assert nearest("zzz", ["width", "kernel"]) == ""
    assert nearest("x", []) == ""
