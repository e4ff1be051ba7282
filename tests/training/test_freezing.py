"""What is frozen stays as it was, to the bit, and all else is trained."""

from __future__ import annotations

import pytest
import torch

from scalesearch.errors import UserError
from scalesearch.nn.build import build
from scalesearch.training.detect import train_detector
from scalesearch.training.recipe import DetectionRecipe
from tests.shapes import detector, squares


def trained(**options):
    """Names of the weights and statistics that one epoch changed, by whether they did."""
    torch.manual_seed(0)
    net, data = detector(), squares(train=16, validation=8)
    model = build(net)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recipe = DetectionRecipe(epochs=1, batch_size=8, device="cpu", **options)
    list(train_detector(model, data, net, recipe, 0))
    after = model.state_dict()
    return {name: not torch.equal(value, after[name]) for name, value in before.items()}


def test_without_freezing_every_weight_is_trained():
    assert all(trained().values())


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("stem", ("backbone.stem.",)),
        ("stage1", ("backbone.stem.", "backbone.stages.0.")),
        ("stage2", ("backbone.",)),
    ],
)
def test_the_beginning_of_the_backbone(freeze, frozen):
    for name, changed in trained(freeze=freeze).items():
        assert changed != name.startswith(frozen), name


def test_norms_of_the_backbone():
    kept = {name for name, changed in trained(frozen_norm=True).items() if not changed}
    assert kept
    assert all(name.startswith("backbone.") and ".norm." in name for name in kept)


def test_a_stage_that_is_not_there():
    with pytest.raises(UserError) as told:
        trained(freeze="stage3")
    assert (
        str(told.value) == "freeze: the backbone has no stage3\n  allowed: stem, stage1 to stage2"
    )
    with pytest.raises(UserError, match="freeze: 'neck' cannot be used"):
        DetectionRecipe(freeze="neck")


def test_small_batches_are_warned_of():
    assert DetectionRecipe(batch_size=8).notes == ()
    assert DetectionRecipe(batch_size=4, frozen_norm=True).notes == ()
    (note,) = DetectionRecipe(batch_size=4).notes
    assert note.startswith("batch norms of 4 images at a time are noisy")
