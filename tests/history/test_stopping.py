from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.history.fidelity import WHOLE, WHOLE_EPOCHS, Fidelity
from scalesearch.history.stopping import Stopping


def test_the_best_share_goes_on():
    """Nine peers and itself are ten; half of them go on: at most four peers may be better."""
    half, peers = Stopping(rungs=(3,), keep=0.5), [n / 10 for n in range(1, 10)]
    assert half.goes_on(3, 0.55, peers)  # four are better: .6 .7 .8 .9
    assert not half.goes_on(3, 0.45, peers)  # five are


def test_other_steps_and_too_few_peers_let_everything_go_on():
    third = Stopping(rungs=(3,), keep=0.25)
    assert third.goes_on(2, 0.0, [1.0] * 9)
    assert third.goes_on(3, 0.0, [1.0, 1.0])  # 3 * 0.25 < 1: no place to compare for
    assert not third.goes_on(3, 0.0, [1.0, 1.0, 1.0])


def test_equals_go_on():
    assert Stopping(rungs=(1,), keep=0.1).goes_on(1, 0.5, [0.5] * 99)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30, unique=True), st.floats(0.05, 1))
def test_of_all_at_a_rung_the_share_goes_on(values, keep):
    """Each compared with all others, int(n * keep) go on, or all if that is none."""
    rule = Stopping(rungs=(1,), keep=keep)
    on = sum(rule.goes_on(1, value, [v for v in values if v != value]) for value in values)
    places = int(len(values) * keep)
    assert on == (places if len(values) * keep >= 1 else len(values))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"rungs": ()}, "rungs"),
        ({"rungs": (0, 2)}, "rungs"),
        ({"rungs": (1,), "keep": 0}, "keep"),
        ({"rungs": (1,), "keep": 1.5}, "keep"),
    ],
)
def test_impossible_rules(fields, key):
    with pytest.raises(UserError, match="cannot be used") as error:
        Stopping(**fields)
    assert error.value.key == key
    assert error.value.allowed


def test_the_shares_of_rungs_are_a_schedule():
    schedule = Stopping(rungs=(1, 3), data=(0.25, 0.5)).schedule
    assert [schedule.at(epoch) for epoch in (1, 2, 3, 4)] == [
        *(Fidelity(data=0.25), Fidelity(data=0.5), Fidelity(data=0.5), WHOLE)
    ]
    both = Stopping(rungs=(2,), data=(0.5,), resolution=(0.75,)).schedule
    assert both.at(2) == Fidelity(data=0.5, resolution=0.75)
    plain = {"rungs": [2], "keep": 0.5, "data": [0.5], "resolution": [0.75]}
    assert Stopping.from_plain(plain).schedule == both
    assert Stopping.from_plain(None) is None
    assert Stopping(rungs=(1, 3)).schedule is WHOLE_EPOCHS
    assert Stopping(rungs=(3, 1), data=()).schedule is WHOLE_EPOCHS
    assert Stopping(rungs=(1, 3), data=(1.0, 1.0)).schedule is WHOLE_EPOCHS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": (0.5,)}, r"data: \[0.5\] has 1 for 2 rungs\n  allowed: one share for each rung"),
        ({"data": (0.5, 0.25)}, r"data: \[0.5, 0.25\] cannot be used\n  allowed: shares above 0"),
        ({"resolution": (0.0, 0.5)}, r"resolution: \[0.0, 0.5\] cannot be used"),
        ({"resolution": (0.5, 1.1)}, r"resolution: \[0.5, 1.1\] cannot be used"),
        ({"data": (float("nan"), 1.0)}, "data: .* cannot be used"),
        (
            {"rungs": (2, 1), "data": (0.5, 1.0)},
            r"rungs: \[2, 1\] do not ascend, and each has its share of `data`",
        ),
    ],
)
def test_impossible_shares(fields, message):
    with pytest.raises(UserError, match=message):
        Stopping(**({"rungs": (1, 2)} | fields))
