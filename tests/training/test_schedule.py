import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.training.schedule import factor


def test_ten_steps_with_two_of_warm_up_by_hand():
    rates = [factor(step, 10, 0.2) for step in range(10)]
    cosine = [0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]
    assert rates == pytest.approx([1 / 3, 2 / 3, *cosine])


@pytest.mark.parametrize(("steps", "warmup", "rising"), [(40, 0.25, 10), (30, 0.1, 3)])
def test_equals_torchs_own_schedulers(steps, warmup, rising):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedulers = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (rising + 1), 1.0, total_iters=rising),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - rising),
    ]
    whole = torch.optim.lr_scheduler.SequentialLR(optimizer, schedulers, milestones=[rising])
    for step in range(steps):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(factor(step, steps, warmup))
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own use of a deprecated argument
            whole.step()


@given(st.integers(1, 200), st.floats(0, 0.99))
def test_every_step_learns_and_none_exceeds_the_peak(steps, warmup):
    rates = [factor(step, steps, warmup) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == 1
