"""The micro-batch that fits, by the predicted memory of a training step."""

from __future__ import annotations

from dataclasses import replace

import pytest

import scalesearch as ss
from scalesearch.cost.cost import Workload
from scalesearch.errors import TrialError, UserError
from scalesearch.training.memory_fit import largest_micro_batch, with_micro_batch
from scalesearch.training.recipe import DetectionRecipe, Recipe

GIB = 2**30
B0 = ss.architecture("efficientnet_b0", resolution=64)


def needed(net, recipe, images):
    return ss.cost(net, workload=replace(recipe.workload, training_batch=images)).training_bytes


@pytest.mark.parametrize("memory", [0.4, 0.7, 1.5, 3.0])
def test_it_fits_and_one_part_fewer_does_not(memory):
    recipe = Recipe(batch_size=512, micro_batch="auto", ema=0.99)
    micro = largest_micro_batch(recipe, B0, memory * GIB, "float32")
    assert needed(B0, recipe, micro) <= memory * GIB
    parts = -(-512 // micro)
    assert micro == -(-512 // parts)
    if parts > 1:
        assert needed(B0, recipe, -(-512 // (parts - 1))) > memory * GIB


def test_a_batch_that_fits_is_left_whole():
    assert largest_micro_batch(Recipe(batch_size=8), B0, 8 * GIB, "float32") == 8


def test_a_network_too_large_for_two_images_says_what_it_would_take():
    with pytest.raises(TrialError, match=r"a training step of 2 images .* 0\.1 GiB that are free"):
        largest_micro_batch(Recipe(), ss.architecture("efficientnet_b0"), 0.1 * GIB, "float32")


def test_the_large_networks_of_the_papers_train_on_one_card_of_24_gib():
    b7 = largest_micro_batch(
        Recipe.named("efficientnet_imagenet"), ss.architecture("efficientnet_b7"), 20 * GIB, "bf16"
    )
    d4 = largest_micro_batch(
        DetectionRecipe.named("efficientdet_coco"),
        ss.architecture("efficientdet_d4"),
        20 * GIB,
        "bf16",
    )
    assert b7 >= 4
    assert d4 >= 2


def test_on_a_cpu_and_where_a_number_is_given_nothing_is_fitted():
    assert with_micro_batch(Recipe(device="cpu", micro_batch="auto"), B0).micro_batch is None
    given = Recipe(micro_batch=16)
    assert with_micro_batch(given, B0) is given
    # What a limit on memory is held against: as few as batch norms are fit for.
    assert Recipe(micro_batch="auto").workload == Workload(
        training_batch=8, optimizer_copies=2, ema=False
    )


def test_on_a_gpu_it_follows_its_free_memory(monkeypatch):
    import torch

    recipe = Recipe(batch_size=512, micro_batch="auto", precision="float32", device="cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 * GIB, 80 * GIB))
    fitted = with_micro_batch(recipe, B0)
    assert fitted.micro_batch == largest_micro_batch(recipe, B0, 0.85 * 2 * GIB, "float32")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 * GIB, 80 * GIB))
    assert with_micro_batch(recipe, B0).micro_batch is None
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    with pytest.raises(UserError, match="how many images fit may differ from run to run"):
        with_micro_batch(recipe, B0)
