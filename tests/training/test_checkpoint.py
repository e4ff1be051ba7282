"""Trainings that go on from a checkpoint, to the weights of one that was never interrupted."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from scalesearch.arch.plain import digest
from scalesearch.evaluators.detection import Evaluator as DetectionEvaluator
from scalesearch.evaluators.training import Evaluator
from scalesearch.history.fidelity import WHOLE_EPOCHS, Fidelity, Schedule
from scalesearch.history.jobs import Scratch
from scalesearch.nn.build import build
from scalesearch.training import checkpoint as module
from scalesearch.training import loop
from scalesearch.training.checkpoint import TrainingCheckpoint
from scalesearch.training.classify import Classification
from scalesearch.training.loop import State
from scalesearch.training.recipe import Recipe
from tests.evaluators.test_training import data as images
from tests.evaluators.test_training import network as classifier
from tests.shapes import detector, squares

RECIPES = {
    "adamw": {},
    "sgd": {"optimizer": "sgd"},
    "rmsprop": {"optimizer": "rmsprop"},
    "average": {"ema": 0.9},
    "sgd with average": {"optimizer": "sgd", "ema": 0.99},
    "rmsprop with average": {"optimizer": "rmsprop", "ema": 0.99},
    "few validations": {"validate_every": 3},
    "micro-batches": {"micro_batch": 5},
    "the best": {"checkpoint": "best"},
    "the best of the average": {"checkpoint": "best", "ema": 0.9},
    "steps": {"rate_decay": "step", "decay_every": 0.25, "decay_factor": 0.5},
}


def started(folder, every=1):
    return Scratch("search", 7, folder, every)


def fresh(net):
    torch.manual_seed(0)
    return build(net)


def whole(evaluator, net, data, scratch=None, schedule=WHOLE_EPOCHS):
    """Scores and weights of a training to its end."""
    model = fresh(net)
    scores = list(evaluator.evaluate(model, net, data, 3, scratch, schedule))
    return scores, model.state_dict()


def cut_off(evaluator, net, data, scratch, after, schedule=WHOLE_EPOCHS):
    """A training whose process ends in the epoch behind its `after`-th score."""
    scores = evaluator.evaluate(fresh(net), net, data, 3, scratch, schedule)
    for _ in range(after):
        next(scores)
    scores.close()


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def values(scores):
    return [(score.step, dict(score.values)) for score in scores]


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("options", RECIPES.values(), ids=RECIPES)
def test_an_interrupted_classifier_ends_with_the_same_weights(tmp_path, options, after):
    net, evaluator = classifier(), Evaluator(epochs=4, batch_size=16, **options)
    scores, weights = whole(evaluator, net, images())
    if after >= len(scores):
        pytest.skip("it has no more scores")
    cut_off(evaluator, net, images(), started(tmp_path), after)
    resumed, again = whole(evaluator, net, images(), started(tmp_path))
    assert values(resumed) == values(scores), "those of the first attempt are shown again"
    assert_same(weights, again)


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd", "ema": 0.9}], ids=["adamw", "sgd"])
def test_an_interrupted_detector_ends_with_the_same_weights(tmp_path, options):
    net, data = detector(), squares(24, 8)
    evaluator = DetectionEvaluator(epochs=3, batch_size=8, **options)
    scores, weights = whole(evaluator, net, data)
    cut_off(evaluator, net, data, started(tmp_path), 2)
    resumed, again = whole(evaluator, net, data, started(tmp_path))
    assert values(resumed) == values(scores)
    assert resumed[-1].detections_json == scores[-1].detections_json
    assert_same(weights, again)


class Counting:
    """A data set's images, which count the batches that were read, and their sides."""

    def __init__(self, images):
        self.images, self.read, self.sides = images, [], []

    def __getattr__(self, name):
        return getattr(self.images, name)

    def __len__(self):
        return len(self.images)

    def batch(self, indices, view):
        self.read.append(np.array(indices))
        self.sides.append(view.size)
        return self.images.batch(indices, view)


def counted(data):
    return dataclasses.replace(data, train=Counting(data.train))


def test_what_was_trained_is_not_trained_again(tmp_path):
    net, evaluator = classifier(), Evaluator(epochs=4, batch_size=16)
    cut_off(evaluator, net, images(), started(tmp_path), 3)
    data = counted(images())
    whole(evaluator, net, data, started(tmp_path))
    assert sum(map(len, data.train.read)) == len(data.train), "the fourth epoch alone"


# Two epochs on half of the images at half of their side, one on three quarters of both.
STAGES = Schedule(
    ((2, Fidelity(data=0.5, resolution=0.5)), (3, Fidelity(data=0.75, resolution=0.75)))
)


def test_early_epochs_see_a_part_of_the_images_and_smaller_ones():
    net, evaluator = classifier(), Evaluator(epochs=4, batch_size=16)
    data = counted(images())
    data = dataclasses.replace(data, validation=Counting(data.validation))
    scores, _ = whole(evaluator, net, data, schedule=STAGES)
    # 64 images of 8 pixels: two batches, two, three and four.
    assert [len(batch) for batch in data.train.read] == [16] * (2 + 2 + 3 + 4)
    assert data.train.sides == [4] * 4 + [6] * 3 + [8] * 4
    first, second, third = (
        set(np.concatenate(data.train.read[part]).tolist())
        for part in (slice(0, 2), slice(2, 4), slice(4, 7))
    )
    assert first == second < third
    # Every image validates after every epoch, at the side of that epoch.
    assert [len(batch) for batch in data.validation.read] == [20] * 4
    assert data.validation.sides == [4, 4, 6, 8]
    assert [score.step for score in scores] == [1, 2, 3, 4]


def test_the_learning_rate_falls_over_the_steps_that_there_are(monkeypatch):
    rates = []
    monkeypatch.setattr(loop, "set_learning_rate", lambda _, rate: rates.append(rate))
    recipe = {"epochs": 4, "batch_size": 16, "warmup": 0.0, "learning_rate": 1.0}
    whole(Evaluator(**recipe), classifier(), images(), schedule=STAGES)
    # Half a cosine over 2 + 2 + 3 + 4 steps.
    assert rates == pytest.approx([(1 + np.cos(np.pi * n / 11)) / 2 for n in range(11)])


@pytest.mark.parametrize(
    ("task", "after"), [("classifier", 1), ("classifier", 2), ("classifier", 3), ("detector", 1)]
)
def test_it_goes_on_within_a_stage_and_over_its_end(tmp_path, task, after):
    if task == "classifier":
        net, data, evaluator = classifier(), images(), Evaluator(epochs=4, batch_size=16)
    else:
        net, data = detector(), squares(24, 8)
        evaluator = DetectionEvaluator(epochs=4, batch_size=8)
    scores, weights = whole(evaluator, net, data, schedule=STAGES)
    cut_off(evaluator, net, data, started(tmp_path), after, STAGES)
    resumed, again = whole(evaluator, net, data, started(tmp_path), STAGES)
    assert values(resumed) == values(scores)
    assert_same(weights, again)
    other, _ = whole(evaluator, net, data, started(tmp_path))
    assert values(other) != values(scores), "a checkpoint under another schedule is not taken"


def test_repeated_trainings_go_on_where_they_were(tmp_path, monkeypatch):
    net, evaluator = classifier(), Evaluator(epochs=2, batch_size=16, seeds=3)
    (score,), weights = whole(evaluator, net, images())
    write, calls = TrainingCheckpoint.write, []

    def dies(self, state):
        write(self, state)
        calls.append(state)
        if len(calls) == 4:  # in the third training; two for each one before
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingCheckpoint, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        whole(evaluator, net, images(), started(tmp_path))
    monkeypatch.undo()
    data = counted(images())
    (again,), resumed = whole(evaluator, net, data, started(tmp_path))
    assert dict(again.values) == dict(score.values)
    assert_same(weights, resumed)
    assert sum(map(len, data.train.read)) <= 2 * len(data.train)


def test_a_checkpoint_of_another_training_is_not_taken(tmp_path):
    net, data = classifier(), images()
    for other in (
        Evaluator(epochs=4, batch_size=8),
        Evaluator(epochs=4, batch_size=16, learning_rate=0.5),
    ):
        cut_off(other, net, data, started(tmp_path), 2)
        evaluator = Evaluator(epochs=3, batch_size=16)
        assert_same(
            whole(evaluator, net, data)[1], whole(evaluator, net, data, started(tmp_path))[1]
        )
        shutil.rmtree(tmp_path)


def test_a_checkpoint_of_other_images_is_not_read(tmp_path):
    net, evaluator = classifier(), Evaluator(epochs=3, batch_size=16)
    data = images()
    more = dataclasses.replace(data, validation=data.train, train=data.validation)
    cut_off(evaluator, net, more, started(tmp_path), 2)
    assert_same(whole(evaluator, net, data)[1], whole(evaluator, net, data, started(tmp_path))[1])


def test_a_gpu_with_another_precision_takes_up_what_one_without_a_scaler_left(tmp_path):
    task = Classification(architecture=classifier(), data=images(), recipe=Recipe(device="cpu"))
    left = State.begin(fresh(classifier()), task)
    state = State.begin(fresh(classifier()), task)
    state.scaler = torch.amp.GradScaler("cpu")
    state.restore(left.snapshot())
    assert state.scaler.get_scale() > 1
    left.restore(state.snapshot())  # and the other way round
    assert not left.scaler.is_enabled()


def test_half_of_the_micro_batch_goes_on_from_the_checkpoint(tmp_path):
    net, evaluator = classifier(), Evaluator(epochs=3, batch_size=16)
    cut_off(evaluator, net, images(), started(tmp_path), 2)
    data = counted(images())
    whole(evaluator.smaller(), net, data, started(tmp_path))
    assert sum(map(len, data.train.read)) == len(data.train)


@pytest.mark.parametrize("damage", [b"", b"PK", b"no checkpoint at all" * 100])
def test_a_damaged_checkpoint_is_as_none(tmp_path, damage):
    net, evaluator = classifier(), Evaluator(epochs=2, batch_size=16)
    cut_off(evaluator, net, images(), started(tmp_path), 1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage or file.read_bytes()[:1000])
    assert_same(
        whole(evaluator, net, images())[1],
        whole(evaluator, net, images(), started(tmp_path))[1],
    )


def test_a_folder_that_cannot_be_written_is_said_and_the_training_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    net, evaluator = classifier(), Evaluator(epochs=2, batch_size=16)
    scores, weights = whole(evaluator, net, images(), started(tmp_path / "file" / "folder"))
    assert_same(weights, whole(evaluator, net, images())[1])
    assert "no checkpoint of a training could be written" in scores[-1].notes[0]


def test_none_is_kept_where_none_is_asked_for(tmp_path):
    net, evaluator = classifier(), Evaluator(epochs=3, batch_size=16)
    whole(evaluator, net, images(), started(tmp_path, every=0))
    whole(evaluator, net, images(), Scratch("search", 0))
    assert not list(tmp_path.iterdir())


def test_writing_takes_its_share_of_the_time_and_no_more(tmp_path, monkeypatch):
    """A clock by hand: writing takes a second, an epoch ten; so one in five is written."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    written = []

    def save(content, path):
        written.append(content["state"]["epoch"])
        path.write_bytes(b"")
        now[0] += 1.0

    monkeypatch.setattr(module.torch, "save", save)
    kept = TrainingCheckpoint(tmp_path / "training.pt", "")
    for epoch in range(1, 17):
        kept.after_epoch(epoch, 10.0, lambda epoch=epoch: {"epoch": epoch})
    assert written == [1, 6, 11, 16]
    often = TrainingCheckpoint(tmp_path / "training.pt", "", every=2)
    written.clear()
    for epoch in range(1, 7):
        often.after_epoch(epoch, 10.0, lambda epoch=epoch: {"epoch": epoch})
    assert written == [2, 4, 6]
    paused = TrainingCheckpoint(tmp_path / "training.pt", "", pauses=(3, 5))
    written.clear()
    for epoch in range(1, 7):
        paused.after_epoch(epoch, 10.0, lambda epoch=epoch: {"epoch": epoch})
    assert written == [1, 3, 5]


def test_the_identity_is_of_network_recipe_and_seed(tmp_path):
    net = classifier()
    evaluator = Evaluator(epochs=2, batch_size=16)
    cut_off(evaluator, net, images(), started(tmp_path), 1)
    (file,) = tmp_path.iterdir()
    content = torch.load(file, weights_only=True)
    assert content["identity"].startswith(f"{digest(net)}/3/")
    assert content["state"]["training"]["epoch"] == 1


def test_the_best_of_a_repeated_training_is_kept_over_an_interruption(tmp_path, monkeypatch):
    """Of an average, in the second training, whose best epoch comes before the cut."""
    recipe = {"epochs": 4, "batch_size": 16, "seeds": 2, "ema": 0.5, "learning_rate": 0.3}
    net, evaluator = classifier(), Evaluator(checkpoint="best", **recipe)
    (score,), weights = whole(evaluator, net, images())
    _, last = whole(Evaluator(**recipe), net, images())
    assert any(not torch.equal(value, last[name]) for name, value in weights.items())
    write, calls = TrainingCheckpoint.write, []

    def dies(self, state):
        write(self, state)
        calls.append(state)
        if len(calls) == 4 + 3:  # four for the first training
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingCheckpoint, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        whole(evaluator, net, images(), started(tmp_path))
    monkeypatch.undo()
    data = counted(images())
    (again,), resumed = whole(evaluator, net, data, started(tmp_path))
    assert sum(map(len, data.train.read)) == len(data.train), "the last epoch alone"
    assert dict(again.values) == dict(score.values)
    assert_same(weights, resumed)
