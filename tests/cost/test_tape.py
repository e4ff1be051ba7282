"""Tensors followed by hand through a few operations that branch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scalesearch.cost.cost import Workload
from scalesearch.cost.measured_memory import measure_inference_bytes, measure_training_bytes
from scalesearch.cost.tape import Tape, backward_peaks, forward_peak


def test_a_tensor_is_alive_until_it_is_let_go():
    tape = Tape()
    start = tape.tensor(100, 100)
    one = tape.make((start,), 10)
    tape.free(start)
    two = tape.make((one,), 20, temp=5)
    tape.free(one)
    tape.make((two,), 30)
    # 100 + 10, then 10 + 20 + 5, then 20 + 30
    assert forward_peak(tape, [start], saving=False) == (110, 0)


def test_what_autograd_keeps_stays_and_is_counted_once():
    tape = Tape()
    start = tape.tensor(100, 100)
    one = tape.make((start,), 10, saves=(start,), extra=3)
    two = tape.make((start, one), 20, saves=(start, one))
    tape.free(start, one)
    peak, saved = forward_peak(tape, [start], saving=True)
    assert saved == 100 + 10 + 3
    assert peak == 100 + 10 + 3 + 20
    assert tape.kept == {start, one}
    assert two not in tape.kept


def test_gradients_that_meet_make_a_third():
    tape = Tape()
    start = tape.tensor(0, 7)
    left = tape.make((start,), 10)
    right = tape.make((start,), 20)
    end = tape.make((left, right), 0)
    # The end makes 10 + 20. The right's makes 7 and is let go: 10 + 7. The left's makes another 7,
    # its own 10 go, and of two times 7 a third is made.
    assert backward_peaks(tape, [end]) == (20 + 10 + 7, 0)
    tape.gradients[start] = 30
    assert backward_peaks(tape, [end]) == (3 * 30, 0)


def test_a_gradient_that_is_passed_on_is_no_new_tensor():
    tape = Tape()
    left, right = tape.tensor(0, 10), tape.tensor(0, 10)
    end = tape.make((left, right), 10, passes=True)
    assert backward_peaks(tape, [end]) == (10, 0)
    tape.work((end, right), end, passes=True)
    # The right's two are one tensor met with itself: a sum is made of it all the same.
    assert backward_peaks(tape, [end]) == (20, 0)


def test_peaks_are_told_apart_by_the_first_gradient_of_a_tap():
    tape = Tape()
    tap = tape.tensor(0, 1000)  # its bytes are counted elsewhere
    one = tape.make((tap,), 10, saves=(tap,))
    two = tape.make((one,), 20, saves=(one,), extra=4)
    # First 10 + 4 kept, 20 + 10 of gradients; then what is left is 10.
    assert backward_peaks(tape, [two], {tap}) == (44, 10)


def test_gradients_of_weights_are_negative_until_they_are_made():
    tape = Tape()
    start, weight = tape.tensor(0, 10), tape.tensor(0, 500)
    end = tape.make((start, weight), 40)
    assert backward_peaks(tape, [end], (), 500) == (40 + 10, 0)


class Branches(nn.Module):
    """Two convolutions of one map, added."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 3, 1, bias=False)
        self.right = nn.Conv2d(3, 3, 3, padding=1, bias=False)

    def forward(self, x):
        x = x * 2.0
        y = self.left(x)
        return y + self.right(x)


@pytest.mark.parametrize("side", [8, 32])
def test_a_module_that_branches(side):
    unit = 4 * 3 * side * side
    tape = Tape()
    image = tape.tensor(0, 0)
    x = tape.make((image,), unit)
    weights = tape.tensor(0, 4 * 9), tape.tensor(0, 4 * 81)
    left = tape.make((x, weights[0]), unit, saves=(x,))
    right = tape.make((x, weights[1]), unit, saves=(x,))
    out = tape.make((left, right), unit, passes=True)
    held = 4 * 90 + unit
    workload = Workload(inference_batch=1, training_batch=1, optimizer_copies=0)
    measured = measure_inference_bytes(Branches(), (1, 3, side, side), workload)
    assert measured == held + forward_peak(tape, [image], saving=False)[0]
    # The image has no gradient: neither has what was made of it alone.
    tape.gradients[x] = 0
    tape.free(left, right, x)
    total = tape.make((out,), 0)
    ahead, saved = forward_peak(tape, [image], saving=True)
    back, _ = backward_peaks(tape, [total], (), 4 * 90)
    measured = measure_training_bytes(
        Branches(), (1, 3, side, side), workload, lambda y: y.sum() * torch.ones(())
    )
    assert measured == pytest.approx(held + max(ahead, back + 4 * 90), abs=40)
    assert saved == unit
