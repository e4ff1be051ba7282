"""Training detectors: they learn, the same seed gives the same weights, accidents name images."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from scalesearch.arch.backbone import Backbone, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.neck import Neck
from scalesearch.arch.stage import Stage
from scalesearch.datasets.mnist_canvas import Dataset
from scalesearch.errors import TrialError
from scalesearch.history.jobs import seed_for
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.nn.build import build
from scalesearch.training.average_precision import average_precision
from scalesearch.training.detect import Detection
from scalesearch.training.loop import train
from scalesearch.training.recipe import DetectionRecipe
from scalesearch.training.updates import kept
from scalesearch.training.voc_precision import voc_precision
from tests.shapes import Squares, detector, squares


def built(net, seed=0):
    torch.manual_seed(seed)
    return build(net)


def task_of(data, net, recipe):
    return Detection(architecture=net, data=data, recipe=recipe)


def train_detector(model, data, net, recipe, seed):
    return train(model, task_of(data, net, recipe), seed)


def trained(net, data, seed=0, **options):
    """The scores and the model."""
    model = built(net)
    recipe = DetectionRecipe(**({"device": "cpu"} | options))
    return list(train_detector(model, data, net, recipe, seed)), model


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_small_detector_learns():
    """AP50 goes where no untrained one is, and the loss falls."""
    net, data = detector(), squares(train=192)
    task = task_of(data, net, DetectionRecipe(device="cpu"))
    untrained = task.evaluate(built(net).eval(), net.resolution).values["ap50"]
    scores, model = trained(net, data, epochs=6)
    assert [one.step for one in scores] == [1, 2, 3, 4, 5, 6]
    losses = [one.values["loss"] for one in scores]
    assert losses[-1] < 0.5 * losses[0]
    last = scores[-1].values
    assert untrained < 0.1
    assert last["ap50"] > 0.7
    by_class = ("ap/full", "ap/hollow")
    assert set(last) == {"ap", "ap50", "ap75", "ap_small", "ap50_voc", *by_class, "loss"}
    # Both ask whether boxes overlap by half; COCO looks at 101 recalls.
    assert last["ap50_voc"] == pytest.approx(last["ap50"], abs=0.05)
    assert last["ap"] == pytest.approx((last["ap/full"] + last["ap/hollow"]) / 2)
    # The model is left as it was scored.
    assert not model.training
    assert task.evaluate(model, net.resolution).values == {
        n: value for n, value in last.items() if n != "loss"
    }


@pytest.mark.slow
def test_a_detector_of_8_mflops_finds_digits(tmp_path):
    """AP50 above .5 within six epochs of 600 canvases."""
    net = Detector(
        backbone=Backbone(
            stem=Stem(width=8),
            stages=(
                Stage(width=8),
                Stage(width=16, stride=2, expand=3),
                Stage(width=24, stride=2, expand=3, se=0.25),
                Stage(width=40, stride=2, expand=3, se=0.25),
            ),
            in_channels=1,
            resolution=96,
        ),
        neck=Neck(width=32, depth=1, min_level=2, max_level=4),
        heads=Heads(depth=1),
        anchors=Anchors(scale=3.0, octaves=2, ratios=(1.0, 0.6)),
        num_classes=10,
    )
    sizes = {"side": 96, "digits": 4, "smallest": 16, "largest": 48}
    data = Dataset(train=600, validation=150, **sizes, path=tmp_path).load(0)
    scores, _ = trained(net, data, epochs=6, validate_every=6)
    assert scores[-1].values["ap50"] > 0.5


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    net, data = detector(), squares(train=32, validation=4)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (_, first), (_, again), (_, other) = (
            trained(net, data, seed, epochs=2, ema=0.9) for seed in (3, 3, 4)
        )
    finally:
        torch.set_num_threads(before)
    assert equal(state(first), state(again))
    assert not equal(state(first), state(other))


def test_the_callers_random_numbers_are_left_alone():
    net, data = detector(), squares(train=16, validation=4)
    model, recipe = built(net), DetectionRecipe(epochs=1, device="cpu")
    torch.manual_seed(5)
    np.random.seed(5)
    list(train_detector(model, data, net, recipe, 0))
    drawn = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    assert torch.equal(drawn[0], torch.rand(3))
    assert np.array_equal(drawn[1], np.random.rand(3))


@pytest.mark.parametrize(
    ("epochs", "every", "steps"), [(5, 2, [2, 4, 5]), (4, 2, [2, 4]), (3, 9, [3]), (2, 1, [1, 2])]
)
def test_validates_now_and_then_and_at_the_end(epochs, every, steps):
    data = squares(train=8, validation=2)
    scores, _ = trained(detector(), data, epochs=epochs, validate_every=every, batch_size=8)
    assert [one.step for one in scores] == steps
    assert len(data.validation.read) == 2 * len(steps)


def test_every_image_is_read_once_an_epoch():
    """The last batch of a quarter is left out, as in classification."""
    data = squares(train=36, validation=2)
    trained(detector(), data, epochs=3, batch_size=16)
    assert len(data.train.read) == 3 * 32
    data = squares(train=40, validation=2)
    trained(detector(), data, epochs=2, batch_size=16)
    assert sorted(data.train.read) == sorted([*range(40), *range(40)])


def test_the_average_is_what_is_scored():
    """After each step it moves towards the weights; computed here from snapshots of them."""
    net, data = detector(), squares(train=24, validation=4)
    snapshots = []
    model = built(net)
    first = state(model)
    hook = register_optimizer_step_post_hook(lambda *_: snapshots.append(state(model)))
    try:
        recipe = DetectionRecipe(epochs=2, batch_size=8, ema=0.6, device="cpu")
        list(train_detector(model, data, net, recipe, 0))
    finally:
        hook.remove()
    assert len(snapshots) == 6
    # The first update of torch's average takes the weights as they are.
    average = {name: tensor.clone() for name, tensor in snapshots[0].items()}
    for updates, snapshot in enumerate(snapshots[1:], start=1):
        for name, tensor in average.items():
            if tensor.is_floating_point():
                tensor.lerp_(snapshot[name], 1 - kept(0.6, updates))
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, average[name], rtol=1e-4, atol=1e-6)
    assert not equal(first, state(model))


def steps(data, **options):
    """Learning rate and norm of the gradient of every step, as the optimizer takes it."""
    taken = []

    def look(optimizer, *_):
        learned = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norm = float(nn.utils.get_total_norm([grad for grad in learned if grad is not None]))
        taken.append((optimizer.param_groups[0]["lr"], norm))

    hook = register_optimizer_step_pre_hook(look)
    try:
        trained(detector(), data, **options)
    finally:
        hook.remove()
    return taken


def test_the_rate_rises_and_falls_over_all_steps_of_a_training():
    """8 steps, 2 of them to warm up: thirds, then the peak and half a cosine to 0 at step 8."""
    data = squares(train=32, validation=2)
    rates = [rate for rate, _ in steps(data, epochs=2, batch_size=8, warmup=0.25)]
    falling = [0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert rates == pytest.approx([2e-2 * share for share in (1 / 3, 2 / 3, *falling)])


def test_gradients_are_clipped():
    data = squares(train=32, validation=2)
    free = [norm for _, norm in steps(data, epochs=1, batch_size=8, clip=None)]
    assert max(free) > 0.5
    norms = [norm for _, norm in steps(data, epochs=1, batch_size=8, clip=0.5)]
    assert max(norms) == pytest.approx(0.5, rel=1e-3)
    # The first step starts from the same weights: clipped if it is longer than allowed.
    assert norms[0] == pytest.approx(min(free[0], 0.5), rel=1e-3)


@pytest.mark.parametrize("scale", [0.01, 0.1, 2.0])
def test_images_so_small_or_large_that_objects_are_lost_can_be_trained_on(scale):
    data = squares(train=16, validation=2)
    scores, _ = trained(detector(), data, epochs=1, batch_size=8, jitter=(scale, scale))
    assert math.isfinite(scores[0].values["loss"])


@pytest.mark.parametrize("side", [17, 45, 50])
def test_any_resolution_can_be_trained(side):
    """Divisible by no level's stride, the coarsest of one or two pixels."""
    plain = detector(neck=Neck(width=16, depth=1, min_level=2, max_level=5))
    net = replace(plain, backbone=replace(plain.backbone, resolution=side))
    logits, codes = built(net).eval()(torch.zeros(1, 1, side, side))
    anchors = anchor_boxes(net.anchors, net.neck.levels, (side, side))
    assert logits.shape[1] == codes.shape[1] == len(anchors)
    data = squares(train=16, validation=4)
    scores, _ = trained(net, data, epochs=1, batch_size=8)
    assert math.isfinite(scores[0].values["loss"])
    assert "ap" in scores[0].values


def test_one_class_is_enough():
    data = replace(squares(), train=One(96, 0), validation=One(16, 1))
    one = replace(data, classes=("square",), category_ids=(0,))
    scores, _ = trained(detector(num_classes=1), one, epochs=4, batch_size=8, validate_every=4)
    assert scores[0].values["ap50"] > 0.3
    assert scores[0].values["ap"] == pytest.approx(scores[0].values["ap/square"])
    assert {row["category_id"] for row in json.loads(scores[0].detections_json)} == {0}


@dataclass(frozen=True)
class One(Squares):
    def targets(self, index):
        given = super().targets(index)
        return replace(given, labels=np.zeros_like(given.labels))


def test_where_nothing_is_to_be_found_there_is_no_precision():
    data = squares(train=16, validation=2)
    bare = replace(data, validation=Bare(2, 1))
    for seeds in (1, 2):
        scores, _ = trained(detector(), bare, epochs=1, batch_size=8, seeds=seeds)
        assert list(scores[0].values) == ["loss"]


class Stub(nn.Module):
    """Puts out what `of` makes of each image: one logit for each anchor, and boxes as anchors."""

    def __init__(self, net, of):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.net, self.of = net, of
        side = net.resolution
        self.anchors = len(anchor_boxes(net.anchors, net.neck.levels, (side, side)))

    def forward(self, images):
        shape = (len(images), self.anchors)
        logits = torch.full((*shape, self.net.num_classes), -5.0) * self.scale
        codes = torch.zeros(*shape, 4) * self.scale
        return self.of(images, logits, codes)


def broken_for(bad):
    """Predictions that are not numbers for images that are brighter than `bad`."""

    def of(images, logits, codes):
        mask = (images.mean((1, 2, 3)) > bad)[:, None, None]
        return torch.where(mask, torch.nan, logits), codes

    return of


def test_a_loss_that_is_no_number_names_its_images():
    net, data = detector(), squares(train=16, validation=2)
    levels = [float(data.train.image(i).float().mean()) for i in range(16)]
    third = sorted(levels)[-3]
    bad = (third - 1e-3 - 0.2 * 255) / (0.4 * 255)  # as normalised
    recipe = DetectionRecipe(epochs=1, batch_size=16, augment=False, device="cpu")
    run = train_detector(Stub(net, broken_for(bad)), data, net, recipe, 0)
    with pytest.raises(TrialError) as told:
        next(run)
    ids = sorted(1000 + 7 * i for i in range(16) if levels[i] >= third)
    text = str(told.value)
    assert text.startswith("loss is nan in epoch 1, step 1 (learning rate ")
    assert "), images with the ids " in text
    assert sorted(map(int, text.rpartition("ids ")[2].split(", "))) == ids


def test_many_broken_images_are_named_in_part():
    net, data = detector(), squares(train=24, validation=2)
    recipe = DetectionRecipe(epochs=1, batch_size=24, augment=False, device="cpu")
    with pytest.raises(TrialError, match=r"and 4 more$"):
        next(train_detector(Stub(net, broken_for(-9.0)), data, net, recipe, 0))


@dataclass(frozen=True)
class Unreadable(Squares):
    def image(self, index):
        if index == 5:
            raise TrialError("cannot decode 5.png: truncated")
        return super().image(index)


def test_an_image_that_cannot_be_decoded_fails_the_trial():
    data = replace(squares(), train=Unreadable(16, 0))
    with pytest.raises(TrialError, match=r"cannot decode 5\.png: truncated"):
        trained(detector(), data, epochs=1)


def test_detections_are_in_pixels_of_the_image_itself():
    """An image twice as wide as high, seen at half its size: its anchors are twice as large."""
    net = detector()
    data = squares(validation=3, height=32, width=64)
    anchors = anchor_boxes(net.anchors, net.neck.levels, (32, 32))
    inside = ((anchors[:, :2] >= 0) & (anchors[:, 2:] <= 32)).all(1) & (anchors[:, 3] <= 16)
    chosen = int(inside.nonzero()[7])

    def of(images, logits, codes):
        logits = logits.clone()
        logits[:, chosen, 1] = 3.0
        return logits, codes

    task = task_of(data, net, DetectionRecipe(device="cpu"))
    found = task.detections(Stub(net, of).eval(), net.resolution)
    assert sorted(found) == [0, 1, 2]
    for one in found.values():
        assert one.labels[0] == 1
        assert float(one.scores[0]) == pytest.approx(1 / (1 + math.exp(-3)))
        torch.testing.assert_close(one.boxes[0], 2 * anchors[chosen])


def test_scores_are_those_of_the_detections():
    net, data = detector(), squares(train=16, validation=8)
    task, model = task_of(data, net, DetectionRecipe(device="cpu", validation_batch=3)), built(net)
    found = task.detections(model.eval(), net.resolution)
    assert task.evaluate(model, net.resolution).values == average_precision(
        data.validation, found, data.classes
    ) | {"ap50_voc": voc_precision(data.validation, found)}


def test_nothing_found_is_0_and_no_error():
    """Boxes that are all beside the image."""
    net, data = detector(), squares(train=16, validation=4)

    def of(images, logits, codes):
        return logits, codes + 1000.0

    model = Stub(net, of)
    task = task_of(data, net, DetectionRecipe(device="cpu"))
    assert task.evaluate(model.eval(), net.resolution).values["ap"] == 0.0


def test_images_without_any_box_can_be_trained_on():
    data = squares(train=16, validation=2)
    bare = replace(data, train=Bare(16, 0))
    scores, _ = trained(detector(), bare, epochs=1)
    assert math.isfinite(scores[0].values["loss"])


@dataclass(frozen=True)
class Bare(Squares):
    def targets(self, index):
        given = super().targets(index)
        return replace(
            given,
            boxes=given.boxes[:0],
            labels=given.labels[:0],
            crowd=given.crowd[:0],
            areas=given.areas[:0],
        )


def test_several_seeds_give_the_mean_and_its_spread():
    net, data = detector(), squares(train=16, validation=8)
    recipe = DetectionRecipe(epochs=1, batch_size=8, device="cpu", seeds=3)
    (score,) = train_detector(build(net), data, net, recipe, 5)
    alone = replace(recipe, seeds=1)
    aps, model = [], build(net)
    for number in range(3):
        seed = seed_for(5, "repeat", number)
        torch.manual_seed(seed)
        model.load_state_dict(build(net).state_dict())
        (one,) = train_detector(model, data, net, alone, seed)
        aps.append(one.values["ap"])
    assert score.values["ap"] == pytest.approx(sum(aps) / 3)
    assert score.values["ap_spread"] == pytest.approx(np.std(aps, ddof=1))
    assert score.detections_json == one.detections_json
    assert "step_seconds" not in score.values


def test_steps_can_be_timed():
    net, data = detector(), squares(train=16, validation=8)
    recipe = DetectionRecipe(epochs=1, batch_size=8, device="cpu", timed=True)
    (score,) = train_detector(build(net), data, net, recipe, 5)
    assert 0 < score.values["step_seconds"] < 60
