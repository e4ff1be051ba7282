"""Distillation, against the formula of its paper."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from scalesearch.errors import UserError
from scalesearch.files.architecture import save_architecture
from scalesearch.nn.build import build
from scalesearch.training.classify import Classification, ClassReader
from scalesearch.training.recipe import Recipe
from scalesearch.training.teacher import distillation, load_teacher, teacher_notes
from scalesearch.view import View
from tests.evaluators.test_training import data as images
from tests.evaluators.test_training import network as classifier


def test_the_divergence_of_softened_outputs_times_the_temperature_squared():
    ours, theirs = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    p, q = (torch.softmax(each / 4, 1) for each in (theirs, ours))
    expected = (p * (p / q).log()).sum(1).mean() * 16
    torch.testing.assert_close(distillation(ours, theirs, 4.0), expected)
    assert distillation(ours, ours, 4.0) == pytest.approx(0, abs=1e-7)


@pytest.fixture
def taught(tmp_path):
    """A recipe whose teacher is a network of the same shape with other weights."""
    net = classifier()
    save_architecture(tmp_path / "teacher.yaml", net, {})
    torch.manual_seed(9)
    teacher = build(net)
    save_file(teacher.state_dict(), tmp_path / "teacher.safetensors")
    files = {"teacher": str(tmp_path / "teacher.yaml")}
    files["teacher_weights"] = tmp_path / "teacher.safetensors"
    return Recipe(device="cpu", label_smoothing=0.0, teacher_share=0.25, **files), teacher.eval()


def test_its_share_of_the_loss_is_the_teachers(taught):
    recipe, teacher = taught
    data, net = images(), classifier()
    torch.manual_seed(0)
    model = build(net).eval()
    batch = ClassReader(View(net.resolution))(data.train, torch.arange(8).numpy())
    task = Classification(architecture=net, data=data, recipe=recipe)
    with torch.no_grad():
        pixels = task.normalised(batch.pixels)
        logits, theirs = model(pixels), teacher(pixels)
        labels = torch.nn.functional.cross_entropy(logits, batch.labels)
        expected = 0.75 * labels + 0.25 * distillation(logits, theirs, recipe.temperature)
        torch.testing.assert_close(task.loss(model, batch).total, expected)
    assert not task.teacher.training
    assert not any(parameter.requires_grad for parameter in task.teacher.parameters())


def test_a_teacher_that_cannot_be_had_is_the_users_to_mend(taught, tmp_path):
    recipe, _ = taught
    device = torch.device("cpu")
    for change, text in (
        ({"teacher": "efficientnet_b9"}, "teacher: .*efficientnet_b9"),
        ({"teacher": "efficientnet_b0"}, "teacher_weights: .*do not fit"),
        ({"teacher_weights": tmp_path / "no.safetensors"}, r"teacher_weights"),
    ):
        wrong = Recipe(
            **{"teacher": recipe.teacher, "teacher_weights": recipe.teacher_weights} | change
        )
        with pytest.raises(UserError, match=text):
            load_teacher(wrong, images(), device)
    assert load_teacher(Recipe(), images(), device) is None
    assert teacher_notes(Recipe(), classifier()) == ()
    (note,) = teacher_notes(recipe, classifier())
    assert note.startswith(f"teacher {recipe.teacher}: ")
    assert note.endswith("weights are taken from teacher.safetensors")
