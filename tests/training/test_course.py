"""The epochs of a training of which some have less images."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.history.fidelity import Fidelity, Schedule
from scalesearch.training.batches import nested_order
from scalesearch.training.course import Course

SCHEDULE = Schedule(((1, Fidelity(data=0.25)), (2, Fidelity(data=0.5))))


def course(images=100, batch=10, epochs=4, schedule=SCHEDULE):
    return Course(epochs, images, batch, lambda: nested_order(images, 7), schedule)


def seen(one, epoch, seed=0):
    return np.concatenate(one.batches(epoch, torch.Generator().manual_seed(seed)))


def test_steps_add_up_to_those_of_all_epochs():
    # 25 images are two batches and a half; a half is enough to be one.
    one = course()
    assert [one.count(epoch) for epoch in (1, 2, 3, 4)] == [25, 50, 100, 100]
    assert [one.step(epoch) for epoch in (1, 2, 3, 4)] == [0, 3, 8, 18]
    assert one.steps == 28
    assert [len(one.batches(epoch, torch.Generator())) for epoch in (1, 2, 3)] == [3, 5, 10]


def test_the_smaller_part_lies_in_the_larger_and_stays_the_same():
    one = course()
    quarter, half = (set(seen(one, epoch).tolist()) for epoch in (1, 2))
    assert len(quarter) == 25
    assert quarter < half
    again = set(seen(course(), 1, seed=5).tolist())
    assert again == quarter
    assert not np.array_equal(seen(one, 1), seen(one, 1, seed=5))


def test_whole_epochs_are_as_without_a_schedule():
    plain = course(schedule=Schedule())
    assert np.array_equal(seen(plain, 3), seen(course(), 3))


def test_a_phase_of_less_data_has_less_in_every_epoch():
    one = course(schedule=SCHEDULE.within(Fidelity(data=0.4)))
    assert [one.count(epoch) for epoch in (1, 2, 3, 4)] == [10, 20, 40, 40]
    assert one.steps == 1 + 2 + 4 + 4
    assert {*seen(one, 1)} < {*seen(one, 4)} == {*seen(one, 3)}


def test_batch_norm_has_two_images_at_least():
    assert course(images=6, schedule=Schedule(((1, Fidelity(data=0.1)),))).count(1) == 2


@given(st.integers(2, 200), st.integers(2, 50), st.integers(1, 8), st.floats(0.01, 1))
def test_steps_are_those_of_the_batches(images, batch, epochs, share):
    schedule = Schedule(((2, Fidelity(data=share)),))
    one = course(images, batch, epochs, schedule)
    counts = [len(one.batches(e, torch.Generator())) for e in range(1, epochs + 1)]
    assert one.steps == sum(counts)
    assert [one.step(e) for e in range(1, epochs + 1)] == [sum(counts[:e]) for e in range(epochs)]
