"""What is frozen stays as it was, to the bit, and all else is trained."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scalesearch.arch.factory import Factory
from scalesearch.errors import TrialError, UserError
from scalesearch.evaluators.training import Evaluator
from scalesearch.nn.build import build
from scalesearch.training.classify import Classification
from scalesearch.training.detect import Detection
from scalesearch.training.freezing import begin, check_freeze, weights_notes
from scalesearch.training.loop import train
from scalesearch.training.recipe import DetectionRecipe, Recipe
from tests.evaluators.test_training import data as pictures
from tests.evaluators.test_training import network as classifier
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


def saved(folder, net, name="w.pth"):
    torch.manual_seed(1)
    torch.save({"state_dict": build(net).state_dict()}, folder / name)
    return folder / name


def test_weights_of_the_backbone_alone(tmp_path):
    """A detector begins with the weights of the classifier that its backbone is."""
    net = detector()
    recipe = DetectionRecipe(weights=saved(tmp_path, net.backbone))
    (note,) = weights_notes([net], recipe)
    assert re.fullmatch(
        r"w.pth: \d+ of \d+ weights are taken; new are the neck, class head, box head(; .*)?", note
    )
    model, given = build(net), torch.load(recipe.weights)["state_dict"]
    begin(model, recipe)
    assert torch.equal(model.backbone.stem.conv.weight, given["stem.conv.weight"])


def test_networks_that_cannot_begin_with_the_weights(tmp_path):
    """Of all it is a mistake of the study; of some it is told before, and their trials fail."""
    net = detector()
    wide = replace(
        net,
        backbone=replace(
            net.backbone,
            stem=replace(net.backbone.stem, width=24),
            stages=tuple(replace(s, width=2 * s.width + 8) for s in net.backbone.stages),
        ),
    )
    recipe = DetectionRecipe(weights=saved(tmp_path, net.backbone))
    notes = weights_notes([net, wide], recipe)
    assert notes[1].startswith(
        "1 of 2 networks of this phase cannot begin with w.pth, and their trials fail: nothing in "
    )
    assert "`evaluator: {weights: null}`" in notes[1]
    with pytest.raises(UserError, match=r"weights: nothing in .*w.pth fits the network") as told:
        weights_notes([wide], recipe)
    assert len(str(told.value)) < 1000
    with pytest.raises(TrialError, match=r"nothing in .*w.pth fits the network; of another shape"):
        begin(build(wide), recipe)


@pytest.mark.parametrize("frozen", [{"freeze": "stage2"}, {"frozen_norm": True}])
def test_what_is_frozen_must_be_in_the_file(frozen, tmp_path):
    net = detector()
    state = {k: v for k, v in build(net).state_dict().items() if "backbone.stages.1" not in k}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"weights that are not in .* would be frozen") as told:
        weights_notes([net], DetectionRecipe(weights=tmp_path / "w.pth", **frozen))
    assert "such as backbone.stages.1." in str(told.value)
    assert weights_notes([net], DetectionRecipe(weights=tmp_path / "w.pth", freeze="stage1"))


def test_a_file_that_cannot_be_read_is_told_under_its_setting(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"")
    recipe = DetectionRecipe(weights=tmp_path / "w.pth")
    for act in (
        lambda: weights_notes([detector()], recipe),
        lambda: begin(build(detector()), recipe),
    ):
        with pytest.raises(UserError) as told:
            act()
        assert (told.value.key, told.value.problem) == ("weights", "is empty")
    recipe = DetectionRecipe(weights=Path("timm:resnet18"))
    with pytest.raises(UserError, match="'timm:resnet18' is read by load_weights and by"):
        weights_notes([detector()], recipe)


@pytest.fixture
def published(tmp_path):
    """Weights of a classifier of 10 classes and three channels, as timm names and saves them."""
    net = classifier(num_classes=10, in_channels=3)
    torch.manual_seed(1)
    model = build(net)
    file = tmp_path / "ten.safetensors"
    save_file(model.state_dict(), file)
    return file, model.state_dict()


def test_a_classifier_begins_with_weights_of_other_classes_and_three_channels(published):
    file, given = published
    net = classifier(num_classes=3, in_channels=1)
    torch.manual_seed(0)
    model = build(net)
    drawn = model.classifier.weight.clone()
    begin(model, Recipe(weights=file))
    after = model.state_dict()
    stem = "stem.conv.weight"
    assert torch.equal(after[stem], given[stem].sum(1, keepdim=True))
    assert torch.equal(after["classifier.weight"], drawn)
    same = [n for n in after if n not in (stem, "classifier.weight", "classifier.bias")]
    assert all(torch.equal(after[name], given[name]) for name in same)
    (note,) = weights_notes([net], Recipe(weights=file))
    assert note.startswith(f"{file.name}: ")
    assert "new is the classifier" in note
    assert "summed over three channels" in note


def test_the_beginning_of_a_classifier_is_frozen(published, tmp_path):
    file, _ = published
    net = classifier(num_classes=10, in_channels=3)
    recipe = Recipe(
        epochs=1, batch_size=8, device="cpu", weights=file, freeze="stage1", frozen_norm=True
    )
    data = replace(pictures(3), classes=tuple("0123456789"))
    torch.manual_seed(0)
    model = build(net)
    begin(model, recipe)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    list(train(model, Classification(architecture=net, data=data, recipe=recipe), 0))
    for name, value in model.state_dict().items():
        frozen = name.startswith(("stem.", "stages.0.")) or ".norm." in name
        assert torch.equal(value, before[name]) == frozen, name


def test_what_is_frozen_is_the_files_after_each_of_several_trainings(published):
    """The second training begins with drawn weights, and with those of the file over them."""
    file, given = published
    net = classifier(num_classes=10, in_channels=3)
    evaluator = Evaluator(
        epochs=1, batch_size=8, seeds=2, weights=file, freeze="stage1", frozen_norm=True
    )
    data = replace(pictures(3), classes=tuple("0123456789"))
    torch.manual_seed(0)
    model = build(net)
    (score,) = evaluator.evaluate(model, net, data, 0)
    assert "accuracy_spread" in score.values
    for name, value in model.state_dict().items():
        frozen = name.startswith(("stem.", "stages.0.")) or ".norm." in name
        assert torch.equal(value, given[name]) == frozen, name


def test_stages_that_a_classifier_does_not_have(published):
    recipe = Recipe(weights=published[0], freeze="stage9")
    with pytest.raises(UserError, match="the backbone has no stage9"):
        check_freeze(classifier(), recipe)
    with pytest.raises(UserError, match="a network that a factory builds has no stages"):
        check_freeze(Factory(factory="tests.factories:wide"), replace(recipe, freeze="stem"))
