"""How much work the epochs of a schedule are, by hand arithmetic and epoch by epoch."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.history.fidelity import WHOLE, WHOLE_EPOCHS, Fidelity, Schedule

QUARTER = Fidelity(data=0.25, resolution=0.5)
HALF = Fidelity(data=0.5, resolution=0.75)
SCHEDULE = Schedule(((1, QUARTER), (3, HALF)))


def test_a_schedule_says_what_each_epoch_has():
    assert [SCHEDULE.at(epoch) for epoch in (1, 2, 3, 4, 9)] == [QUARTER, HALF, HALF, WHOLE, WHOLE]
    assert SCHEDULE
    assert not WHOLE_EPOCHS
    assert not Schedule(((2, WHOLE),))
    assert SCHEDULE.lessens("data")
    assert not Schedule(((1, Fidelity(resolution=0.5)),)).lessens("data")
    assert pickle.loads(pickle.dumps(SCHEDULE)) == SCHEDULE


def test_a_schedule_in_words():
    assert SCHEDULE.words == (
        "25 % of the images at 50 % of the side to epoch 1, "
        "50 % of the images at 75 % of the side to epoch 3, then all images"
    )
    assert WHOLE_EPOCHS.words == "all images"


def test_a_phase_that_takes_less_takes_less_in_every_epoch():
    less = SCHEDULE.within(Fidelity(data=0.5, resolution=0.5))
    assert [less.at(epoch) for epoch in (1, 2, 4)] == [
        Fidelity(data=0.125, resolution=0.25),
        Fidelity(data=0.25, resolution=0.375),
        Fidelity(data=0.5, resolution=0.5),
    ]
    assert less.words == (
        "12.5 % of the images at 25 % of the side to epoch 1, "
        "25 % of the images at 37.5 % of the side to epoch 3, "
        "then 50 % of the images at 50 % of the side"
    )
    alone = WHOLE_EPOCHS.within(QUARTER)
    assert alone == Schedule(then=QUARTER)
    assert alone.words == "25 % of the images at 50 % of the side"
    assert alone
    assert alone.lessens("resolution")
    assert SCHEDULE.within(WHOLE) == SCHEDULE


def test_work_counts_in_epochs_of_the_phase():
    """A budget of trainings buys as many rungs, whatever the phase's own trainings take."""
    less = SCHEDULE.within(Fidelity(data=0.5, resolution=0.5))
    assert less.work(4) == pytest.approx(SCHEDULE.work(4))
    assert Schedule(then=QUARTER).work(7, after=3) == 4
    assert less.spans(5) == [(1, less.at(1)), (2, less.at(2)), (2, less.then)]
    assert less.spans(2) == [(1, less.at(1)), (1, less.at(2)), (0, less.then)]


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["data", "resolution"])
def test_impossible_shares(key, share):
    with pytest.raises(UserError, match=f"{key}: .* cannot be used\n  allowed: a share above 0"):
        Fidelity(**{key: share})


def test_work_is_images_times_pixels():
    assert QUARTER.work == 0.25 * 0.5 * 0.5
    # One epoch of 1/16, two of 9/32, the rest whole.
    assert SCHEDULE.work(4) == 1 / 16 + 2 * 9 / 32 + 1
    assert SCHEDULE.work(3, after=1) == 2 * 9 / 32
    assert SCHEDULE.work(2, after=0) == 1 / 16 + 9 / 32
    assert WHOLE_EPOCHS.work(7, after=3) == 4


@pytest.mark.parametrize(
    ("fidelity", "words"),
    [
        (QUARTER, "25 % of the images at 50 % of the side"),
        (Fidelity(data=0.125), "12.5 % of the images"),
        (Fidelity(resolution=0.5), "all images at 50 % of the side"),
        (WHOLE, "all images"),
    ],
)
def test_words(fidelity, words):
    assert str(fidelity) == words


@st.composite
def schedules(draw):
    rungs = sorted(draw(st.sets(st.integers(1, 20), max_size=4)))
    shares = st.floats(0.05, 1)
    return Schedule(tuple((r, Fidelity(data=draw(shares), resolution=draw(shares))) for r in rungs))


@given(schedules(), st.integers(0, 25), st.integers(0, 25))
def test_work_is_the_sum_over_epochs(schedule, first, second):
    after, until = sorted((first, second))
    epochs = range(after + 1, until + 1)
    expected = sum(schedule.at(epoch).work for epoch in epochs)
    assert schedule.work(until, after=after) == pytest.approx(expected)
    assert schedule.work(until, after=after) <= until - after + 1e-9
