import pytest
import torch
from torch import nn

from scalesearch.training.average import kept, moving_average


def test_follows_the_hand_formula():
    model = nn.Linear(1, 1, bias=False)
    average = moving_average(model, 0.5)
    seen, expected = [4.0, 8.0, 16.0, 3.0], None
    for updates, value in enumerate(seen):
        model.weight.data.fill_(value)
        average.update_parameters(model)
        decay = min(0.5, (1 + updates) / (10 + updates))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected)
    # By hand: 4, then 2/11 * 4 + 9/11 * 8 = 80/11.
    assert kept(0.5, 1) == pytest.approx(2 / 11)


def test_decay_warms_up_to_its_value():
    assert kept(0.999, 0) == pytest.approx(0.1)
    assert kept(0.9, 80) == 0.9
    assert kept(0.9999, 990) == pytest.approx(991 / 1000)


def test_batch_norm_statistics_are_averaged_and_counters_copied():
    model = nn.BatchNorm2d(2)
    average = moving_average(model, 0.9)
    for _ in range(3):
        model(torch.randn(4, 2, 3, 3) + 5)
        average.update_parameters(model)
    assert average.module.num_batches_tracked == 3
    assert not torch.equal(average.module.running_mean, torch.zeros(2))
    assert not torch.equal(average.module.running_mean, model.running_mean)
