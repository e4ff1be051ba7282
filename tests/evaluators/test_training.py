import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from scalesearch import plugins
from scalesearch.arch.backbone import Backbone, Head, Stem
from scalesearch.arch.stage import Stage
from scalesearch.cost.cost import Workload
from scalesearch.datasets._array_images import ArrayImages
from scalesearch.errors import UserError
from scalesearch.evaluators.training import Evaluator
from scalesearch.history.fidelity import Fidelity, Schedule
from scalesearch.interfaces import ImageData
from scalesearch.nn.build import build


def network(**fields):
    plain = {
        "stem": Stem(width=8, stride=1),
        "stages": (Stage(width=8, stride=2, expand=2, se=0.25),),
        "head": Head(width=16, dropout=0.1),
        "resolution": 8,
        "in_channels": 1,
        "num_classes": 2,
        "drop_path": 0.1,
    }
    return Backbone(**(plain | fields))


def bars(count):
    """Lying and standing bars, a task that a small network learns at once."""
    pixels = np.zeros((count, 8, 8, 1), dtype=np.uint8)
    pixels[::2, 4, :] = 255
    pixels[1::2, :, 4] = 255
    return ArrayImages(pixels, np.arange(count) % 2)


def data(channels=1):
    def part(count):
        images = bars(count)
        return ArrayImages(np.repeat(images.pixels, channels, axis=3), images.labels)

    mean, std = (0.1,) * channels, (0.3,) * channels
    return ImageData(part(64), part(20), ("lying", "standing"), channels, mean, std, False)


def test_a_built_network_learns_and_scores_come_epoch_by_epoch():
    net = network()
    torch.manual_seed(0)
    model = build(net)
    scores = list(Evaluator(epochs=6, batch_size=16).evaluate(model, net, data(), 0))
    assert [score.step for score in scores] == [1, 2, 3, 4, 5, 6]
    assert scores[-1].values["accuracy"] == 1.0
    overall = {"accuracy", "balanced_accuracy", "macro_f1", "loss"}
    of_classes = {f"accuracy/{name}" for name in data().classes}
    assert set(scores[-1].values) == overall | of_classes
    assert not model.training


@pytest.mark.parametrize("fields", [{}, {"ema": 0.5}, {"seeds": 2}])
def test_test_scores_are_those_of_the_kept_weights(fields):
    """On the validation images they are the last scores of the training, to the last digit."""
    net, images = network(), data()
    model, evaluator = build(net), Evaluator(epochs=2, batch_size=16, **fields)
    *_, last = evaluator.evaluate(model, net, images, 0)
    again = build(net)
    again.load_state_dict(model.state_dict())
    same = replace(images, test=images.validation)
    if "seeds" not in fields:  # whose scores are means, of weights that are not kept
        assert evaluator.score(again, net, same) == last.values
    # Without training images, and on others: none of the bars that lie is seen.
    others = images.validation.choose(np.arange(1, 20, 2))
    scores = evaluator.score(again, net, replace(images, train=others, test=others))
    assert scores["accuracy"] == scores["accuracy/standing"]
    assert "accuracy/lying" not in scores
    assert not again.training


def test_test_images_are_seen_as_large_as_at_the_end_of_the_training():
    """Of a phase that trains at half the side its validation is at half the side, too."""
    net, images, seen = network(resolution=16), data(), []
    schedule = Schedule(then=Fidelity(resolution=0.5))
    model, evaluator = build(net), Evaluator(epochs=1, batch_size=16)
    *_, last = evaluator.evaluate(model, net, images, 0, schedule=schedule)
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[-1]))
    scores = evaluator.score(model, net, replace(images, test=images.validation), schedule)
    assert scores == last.values
    assert set(seen) == {8}


def test_images_are_resized_to_the_architectures_resolution():
    net, seen = network(resolution=13), []
    model = build(net)
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1:]))
    next(Evaluator(epochs=1).evaluate(model, net, data(), 0))
    assert set(seen) == {(1, 13, 13)}


@pytest.mark.parametrize(
    ("fields", "key", "text"),
    [
        ({"in_channels": 3}, "in_channels", "the network has 3, the data set 1"),
        ({"num_classes": 10}, "num_classes", "the network has 10, the data set 2"),
    ],
)
def test_a_network_for_other_images_is_named(fields, key, text):
    net = network(**fields)
    with pytest.raises(UserError, match=text) as caught:
        next(Evaluator().evaluate(build(net), net, data(), 0))
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("options", "copies", "ema"),
    [
        ({}, 2, False),
        ({"optimizer": "sgd", "ema": 0.99}, 1, True),
        ({"optimizer": "rmsprop"}, 2, False),
    ],
)
def test_workload_counts_what_the_optimizer_and_the_average_keep(options, copies, ema):
    wanted = Workload(training_batch=48, optimizer_copies=copies, ema=ema)
    assert Evaluator(batch_size=48, **options).workload == wanted


def test_is_the_plug_in_of_that_name_with_options_read_from_yaml():
    kind = plugins.load("evaluators", "training")
    assert kind is Evaluator
    read = TypeAdapter(kind).validate_python({"epochs": 2, "optimizer": "rmsprop", "ema": 0.999})
    assert (read.epochs, read.optimizer, read.ema) == (2, "rmsprop", 0.999)
    with pytest.raises(ValidationError, match="'adamw', 'sgd' or 'rmsprop'"):
        TypeAdapter(kind).validate_python({"optimizer": "adam"})


def test_reading_a_study_does_not_wait_for_torch():
    code = "import sys, scalesearch.evaluators.training; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
