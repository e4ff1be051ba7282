"""What is frozen stays as it was, to the bit, and all else is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scalesearch.errors import UserError
from scalesearch.nn.build import build
from scalesearch.training.detect import Detection
from scalesearch.training.freezing import begin
from scalesearch.training.loop import train
from scalesearch.training.recipe import DetectionRecipe
from tests.shapes import detector, squares


def trained(folder, **options):
    """Names of the weights and statistics that one epoch changed, by whether they did."""
    net, data = detector(), squares(train=16, validation=8)
    torch.manual_seed(1)
    file = folder / "begin.safetensors"
    save_file(build(net).state_dict(), file)
    torch.manual_seed(0)
    model = build(net)
    if options:
        options["weights"] = file
        model.load_state_dict(load_file(file))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recipe = DetectionRecipe(epochs=1, batch_size=8, device="cpu", **options)
    list(train(model, Detection(architecture=net, data=data, recipe=recipe), 0))
    after = model.state_dict()
    return {name: not torch.equal(value, after[name]) for name, value in before.items()}


def test_without_freezing_every_weight_is_trained(tmp_path):
    assert all(trained(tmp_path).values())


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("stem", ("backbone.stem.",)),
        ("stage1", ("backbone.stem.", "backbone.stages.0.")),
        ("stage2", ("backbone.",)),
    ],
)
def test_the_beginning_of_the_backbone(freeze, frozen, tmp_path):
    for name, changed in trained(tmp_path, freeze=freeze).items():
        assert changed != name.startswith(frozen), name


def test_norms_of_the_backbone(tmp_path):
    kept = {name for name, changed in trained(tmp_path, frozen_norm=True).items() if not changed}
    assert kept
    assert all(name.startswith("backbone.") and ".norm." in name for name in kept)


def test_a_stage_that_is_not_there(tmp_path):
    with pytest.raises(UserError) as told:
        trained(tmp_path, freeze="stage3")
    assert (
        str(told.value) == "freeze: the backbone has no stage3\n  allowed: stem, stage1 to stage2"
    )
    with pytest.raises(UserError, match="freeze: 'neck' cannot be used"):
        DetectionRecipe(freeze="neck")


def test_small_batches_are_warned_of():
    assert DetectionRecipe(batch_size=8).notes("batch") == ()
    frozen = DetectionRecipe(batch_size=4, frozen_norm=True, weights=Path("some.pt"))
    assert frozen.notes("group") == ()
    for recipe, norm in ((frozen, "batch"), (DetectionRecipe(batch_size=4), "group")):
        (note,) = recipe.notes(norm)
        assert note.startswith("batch norms of 4 images at a time are noisy")


def test_only_what_was_trained_before_is_frozen():
    for options in ({"freeze": "stem"}, {"frozen_norm": True}):
        with pytest.raises(UserError, match="weights that were never trained would be kept"):
            DetectionRecipe(**options)


def test_weights_to_begin_with(tmp_path):
    """Those that fit are taken, of other shapes none; a file without any is a mistake."""
    net = detector()
    torch.manual_seed(1)
    given = build(net).state_dict()
    save_file(given, tmp_path / "begin.safetensors")
    model = build(detector(num_classes=5))
    begin(model, DetectionRecipe(weights=tmp_path / "begin.safetensors"))
    for name, value in model.state_dict().items():
        assert torch.equal(value, given[name]) == ("class_head.predict.pointwise" not in name), name
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"nothing in .*other.safetensors fits the network") as told:
        begin(model, DetectionRecipe(weights=tmp_path / "other.safetensors"))
    # In words, as of weights that are loaded whole.
    assert told.value.hint.startswith("missing (75): backbone.stem.conv.weight, ")
    assert told.value.hint.endswith("; not in the network (1): other")
