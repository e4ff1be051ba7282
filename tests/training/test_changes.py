"""Changes of single images before they train."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from scalesearch.training.changes import Changes, erased
from scalesearch.training.recipe import Recipe
from tests.draws import TorchDraws


def images(count=40, side=32, channels=3):
    draws = np.random.default_rng(0)
    return torch.from_numpy(draws.integers(0, 256, (count, channels, side, side), np.uint8))


@pytest.mark.parametrize("size", [(32, 32), (20, 60)])
def test_what_is_erased_is_torchvisions_on_the_same_draws(size):
    theirs = v2.RandomErasing(p=1.0)
    for seed in range(50):
        torch.manual_seed(seed)
        wanted = theirs.make_params([torch.empty(3, *size)])
        torch.manual_seed(seed)
        assert erased(*size, TorchDraws()) == tuple(wanted[key] for key in "ijhw")


def test_a_share_of_the_images_is_erased_with_the_mean_colour():
    before = images(400)
    changes = Changes(Recipe(erase=0.25), (0.2, 0.4, 0.6), 5)
    after = changes(before.clone(), np.arange(400))
    changed = (after != before).flatten(1).any(1)
    assert int(changed.sum()) == pytest.approx(100, abs=5 * 75**0.5)
    colour = torch.tensor([51, 102, 153], dtype=torch.uint8)[:, None]
    for new, old in zip(after[changed], before[changed], strict=True):
        places = (new != old).any(0)
        assert (new[:, places] == colour).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", ["rand_augment", "auto_augment", "trivial_augment"])
def test_an_image_depends_on_its_seed_and_index_alone(policy, channels):
    recipe = Recipe(policy=policy, color_jitter=0.3, erase=0.5)
    changes, before = Changes(recipe, (0.5,) * channels, 9), torch.get_rng_state()
    whole = changes(images(12, channels=channels), np.arange(12))
    for part in (np.array([7]), np.array([3, 11, 0])):
        again = changes(images(12, channels=channels)[part], part)
        assert torch.equal(again, whole[part])
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_is_changed_where_nothing_is_asked_for():
    before = images(4)
    for recipe in (Recipe(), Recipe(augment=False)):
        assert torch.equal(Changes(recipe, (0.5,) * 3, 0)(before.clone(), np.arange(4)), before)
