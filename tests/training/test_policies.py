"""Policies against torchvision's, on the same draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as pictures
from torchvision.transforms import v2

from scalesearch.training.policies import jittered, policy
from scalesearch.view import IndexDraws
from tests.draws import TorchDraws

PHOTO = Image.fromarray(pictures.astronaut()).resize((96, 64))
THEIRS = {
    "rand_augment": v2.RandAugment,
    "auto_augment": v2.AutoAugment,
    "trivial_augment": v2.TrivialAugmentWide,
}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", THEIRS)
def test_equals_torchvisions(name, mode):
    image, wrong = PHOTO.convert(mode), []
    ours, theirs = policy(name, 2, 9, 0), THEIRS[name](fill=0)
    for seed in range(150):
        torch.manual_seed(seed)
        wanted = theirs(image)
        torch.manual_seed(seed)
        if not np.array_equal(np.asarray(ours(image, TorchDraws())), np.asarray(wanted)):
            wrong.append(seed)
    assert not wrong


@pytest.mark.parametrize(("operations", "magnitude"), [(1, 0), (3, 30), (2, 15)])
def test_rand_augment_has_torchvisions_strengths(operations, magnitude):
    ours, theirs = (
        policy("rand_augment", operations, magnitude, 7),
        v2.RandAugment(operations, magnitude, fill=7),
    )
    for seed in range(40):
        torch.manual_seed(seed)
        wanted = np.asarray(theirs(PHOTO))
        torch.manual_seed(seed)
        assert np.array_equal(np.asarray(ours(PHOTO, TorchDraws())), wanted), seed


def test_colours_are_jittered_within_their_strength():
    grey = Image.new("RGB", (4, 4), (100, 100, 100))
    values = {int(np.asarray(jittered(grey, 0.2, IndexDraws(0, n))).max()) for n in range(200)}
    # Contrast and saturation leave an even grey as it is: brightness alone is seen.
    assert min(values) in range(79, 82)
    assert max(values) in range(118, 121)
    assert np.array_equal(np.asarray(jittered(PHOTO, 0.0, IndexDraws(0, 0))), np.asarray(PHOTO))
