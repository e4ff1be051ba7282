"""Mixup and CutMix against torchvision's, on the same draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.transforms import v2

from scalesearch.training.mixing import Mix, draw_mix, mixed, pasted
from tests.draws import TorchDraws

CLASSES = 5


def batch(count=6, side=12):
    draws = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, side, side, generator=draws)
    return images, torch.randint(CLASSES, (count,), generator=draws)


def labels_of(labels, mix):
    """What our loss takes as targets: a share of each image's label, the rest of its partner's."""
    own = functional.one_hot(labels, CLASSES).float()
    return torch.lerp(own.roll(1, 0), own, mix.share)


def test_mixup_is_torchvisions():
    images, labels = batch()
    torch.manual_seed(3)
    theirs, targets = v2.MixUp(alpha=0.4, num_classes=CLASSES)(images, labels)
    torch.manual_seed(3)
    mix = Mix(float(torch.distributions.Beta(*(torch.tensor([0.4]),) * 2).sample(())))
    torch.testing.assert_close(mixed(images, images.roll(1, 0), mix), theirs)
    torch.testing.assert_close(labels_of(labels, mix), targets)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_is_torchvisions(seed):
    images, labels = batch()
    torch.manual_seed(seed)
    theirs, targets = v2.CutMix(alpha=1.0, num_classes=CLASSES)(images, labels)
    torch.manual_seed(seed)
    share = float(torch.distributions.Beta(*(torch.tensor([1.0]),) * 2).sample(()))
    mix = pasted(share, 12, TorchDraws())
    torch.testing.assert_close(mixed(images, images.roll(1, 0), mix), theirs)
    torch.testing.assert_close(labels_of(labels, mix), targets)


def test_either_is_taken_half_of_the_time_with_its_own_alpha():
    draws = np.random.default_rng(0)
    mixes = [draw_mix(16, 0.2, 1.0, draws) for _ in range(2000)]
    blends = [mix.share for mix in mixes if mix.box is None]
    assert len(blends) == pytest.approx(1000, abs=5 * 500**0.5)
    # Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
    assert np.mean(blends) == pytest.approx(0.5, abs=0.06)
    assert np.var(blends) == pytest.approx(1 / (4 * 1.4), abs=0.02)
    assert all(draw_mix(16, 0.2, 0.0, draws).box is None for _ in range(20))
    assert all(draw_mix(16, 0.0, 1.0, draws).box is not None for _ in range(20))
