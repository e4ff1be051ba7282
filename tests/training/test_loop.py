import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from scalesearch.datasets._array_images import ArrayImages
from scalesearch.datasets.mnist5k import Dataset
from scalesearch.errors import TrialError, UserError
from scalesearch.interfaces import ImageData
from scalesearch.nn.build import build
from scalesearch.training.classify import Classification
from scalesearch.training.detect import Detection
from scalesearch.training.loop import train as train_task
from scalesearch.training.recipe import DetectionRecipe, Recipe
from scalesearch.view import View
from tests.shapes import detector, squares


def train(model, data, side, recipe, seed):
    """The scores of a model of any kind for images of that many pixels."""
    net = SimpleNamespace(resolution=side)
    return train_task(model, Classification(architecture=net, data=data, recipe=recipe), seed)


def network(classes=3, side=8):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(32 * (side // 4) ** 2, classes),
    )


def noise(train_count=40, validation_count=11, classes=3, side=8, flip=False):
    draws = np.random.default_rng(0)

    def images(count):
        pixels = draws.integers(0, 256, (count, side, side, 1), dtype=np.uint8)
        return ArrayImages(pixels, np.arange(count) % classes)

    names = tuple(map(str, range(classes)))
    return ImageData(images(train_count), images(validation_count), names, 1, (0.5,), (0.25,), flip)


@dataclass(frozen=True)
class Watched:
    """Images that note which were asked for, at which resolution."""

    images: ArrayImages
    asked: list

    @property
    def labels(self):
        return self.images.labels

    def __len__(self):
        return len(self.images)

    def batch(self, indices, view):
        self.asked.append((indices.tolist(), view.size))
        return self.images.batch(indices, view)


def flat(asked):
    return [index for indices, _ in asked for index in indices]


def weights(model):
    return [value.clone() for value in model.state_dict().values()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_learns_digits():
    data = Dataset(limit=1200).load(0)
    model = network(10, 28)
    scores = list(train(model, data, 28, Recipe(epochs=3, batch_size=32), 0))
    assert [score.step for score in scores] == [1, 2, 3]
    assert scores[-1].values["accuracy"] > 0.8
    assert scores[-1].values["loss"] < scores[0].values["loss"]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
def test_the_same_seed_gives_bit_equal_weights_and_another_does_not(optimizer):
    data, recipe = noise(flip=True), Recipe(epochs=2, batch_size=16, optimizer=optimizer, ema=0.9)
    ends = []
    for seed in (3, 3, 4):
        model = network()
        torch.rand(seed)  # the state of the caller's random numbers has no say
        values = [score.values for score in train(model, data, 8, recipe, seed)]
        ends.append((weights(model), values))
    assert same(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    assert not same(ends[0][0], ends[2][0])


def test_the_callers_random_numbers_are_untouched_between_scores():
    before = torch.get_rng_state()
    for _ in train(network_without_draws(), noise(), 8, Recipe(epochs=2, batch_size=16), 0):
        assert torch.equal(torch.get_rng_state(), before)


def network_without_draws():
    state = torch.get_rng_state()
    model = network()
    torch.set_rng_state(state)
    return model


@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_model_ends_in_the_state_that_was_scored(ema):
    data, model = noise(), network()
    recipe = Recipe(epochs=2, batch_size=16, ema=ema)
    last = list(train(model, data, 8, recipe, 0))[-1].values
    assert not model.training
    images = data.validation.batch(np.arange(11), View(8)).float() / 255
    with torch.no_grad():
        logits = model((images - 0.5) / 0.25)
    labels = torch.from_numpy(data.validation.labels)
    assert last["accuracy"] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert last["loss"] == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_scores_do_not_depend_on_the_validation_batch():
    scores = []
    for size in (1, 4, 100):
        recipe = Recipe(epochs=1, batch_size=16, validation_batch=size)
        scores.append(next(train(network(), noise(), 8, recipe, 0)).values)
    assert scores[0]["accuracy"] == scores[1]["accuracy"] == scores[2]["accuracy"]
    assert scores[1]["loss"] == pytest.approx(scores[2]["loss"], rel=1e-5)


def test_one_step_of_sgd_equals_torchs_own():
    data = noise(train_count=6)
    model, other = (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) for _ in range(2))
    other.load_state_dict(model.state_dict())
    recipe = Recipe(
        epochs=1, batch_size=6, optimizer="sgd", learning_rate=0.1, augment=False, clip=0.01
    )
    list(train(model, data, 8, recipe, 0))

    optimizer = torch.optim.SGD(other.parameters(), 0.1, momentum=0.9, nesterov=True)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    images = (data.train.batch(np.arange(6), View(8)).float() / 255 - 0.5) / 0.25
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    criterion(other(images), torch.from_numpy(data.train.labels)).backward()
    nn.utils.clip_grad_norm_(other.parameters(), 0.01)
    other[1].weight.grad += 1e-4 * other[1].weight.detach()  # decays; the bias does not
    optimizer.step()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_each_epoch_reads_every_image_once_in_another_order_at_the_resolution():
    data = noise(train_count=32)
    trained, validated = Watched(data.train, []), Watched(data.validation, [])
    data = replace(data, train=trained, validation=validated)
    list(train(network(side=12), data, 12, Recipe(epochs=2, batch_size=8), 0))
    first, second = (flat(trained.asked[n : n + 4]) for n in (0, 4))
    assert sorted(first) == sorted(second) == list(range(32))
    assert first != second
    assert flat(validated.asked) == list(range(11)) * 2
    assert {side for _, side in trained.asked + validated.asked} == {12}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_batch_larger_than_the_data_and_batch_norm_on_single_pixels_work(count):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, 8, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3)
    )
    for size in (2, 128):
        recipe = Recipe(epochs=1, batch_size=size)
        assert list(train(model, noise(train_count=count), 8, recipe, 0))


class Exploding(nn.Module):
    """A linear layer whose loss is NaN from the `after`th training step on."""

    def __init__(self, after):
        super().__init__()
        self.linear, self.after, self.seen = nn.Linear(64, 3), after, 0

    def forward(self, images):
        self.seen += self.training
        return self.linear(images.flatten(1)) * (math.nan if self.seen >= self.after else 1.0)


@pytest.mark.parametrize(("after", "epoch", "step"), [(1, 1, 1), (21, 1, 21), (67, 2, 17)])
def test_a_loss_that_is_no_number_is_named_with_its_epoch_and_step(after, epoch, step):
    recipe = Recipe(epochs=3, batch_size=2, learning_rate=0.01, warmup=0.0)
    rate = 0.01 * 0.5 * (1 + math.cos(math.pi * (after - 1) / 150))
    with pytest.raises(TrialError) as caught:
        list(train(Exploding(after), noise(train_count=100), 8, recipe, 0))
    text = f"loss is nan in epoch {epoch}, step {step} (learning rate {rate:.3g})"
    assert str(caught.value) == text


class Blind(nn.Module):
    """Learns, but answers infinity in validation."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, images):
        logits = self.linear(images.flatten(1))
        return logits if self.training else logits * math.inf


def test_a_validation_loss_that_is_no_number_fails_the_trial():
    with pytest.raises(TrialError, match="validation loss is nan after epoch 1"):
        list(train(Blind(), noise(), 8, Recipe(epochs=1), 0))


def test_mixed_precision_on_request():
    seen = []

    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 3)

        def forward(self, images):
            logits = self.linear(images.flatten(1))
            seen.append(logits.dtype)
            return logits

    for precision in ("auto", "bf16"):
        scores = list(train(Watch(), noise(), 8, Recipe(epochs=1, precision=precision), 0))
        assert math.isfinite(scores[0].values["loss"])
    # A training step and a validation batch each; "auto" leaves a CPU at float32.
    assert seen == [torch.float32] * 2 + [torch.bfloat16] * 2


def test_modules_see_channels_last_images():
    seen = []

    class Watch(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 8)

        def forward(self, images):
            layout = torch.channels_last
            seen.append(images.is_contiguous(memory_format=layout))
            seen.append(self.conv.weight.is_contiguous(memory_format=layout))
            return self.conv(images).flatten(1)

    data = noise()
    colour = [
        ArrayImages(np.repeat(part.pixels, 3, axis=3), part.labels)
        for part in (data.train, data.validation)
    ]
    data = ImageData(*colour, data.classes, 3, (0.5,) * 3, (0.25,) * 3, True)
    for augment in (True, False):
        list(train(Watch(), data, 8, Recipe(epochs=1, augment=augment), 0))
    assert all(seen)


def classification(data, recipe, side=8):
    return Classification(architecture=SimpleNamespace(resolution=side), data=data, recipe=recipe)


def test_images_are_normalised_by_constants_that_are_made_once(monkeypatch):
    task = classification(noise(), Recipe(device="cpu"))
    pixels = task.data.train.batch(np.arange(4), View(8))
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1) * 255 for values in (task.data.mean, task.data.std)
    )
    wanted = (pixels.float() - mean) / std
    assert torch.equal(task.normalised(pixels), wanted)
    monkeypatch.setattr(torch, "tensor", lambda *_: pytest.fail("a constant is made anew"))
    assert torch.equal(task.normalised(pixels), wanted)


def test_a_batch_that_is_moved_where_it_is_trained_is_the_same(monkeypatch):
    """What a GPU gets, here on a CPU: images as read, and how they are to be moved."""
    data = noise(flip=True)
    losses = []
    for device in ("cpu", "meta"):
        task = classification(data, Recipe(device="cpu"))
        model = network().eval()
        with monkeypatch.context() as patched:
            patched.setitem(vars(task), "device", torch.device(device))
            read = task.reader(5, 8)
        batches = [read(data.train, np.arange(start, start + 8)) for start in (0, 8, 16)]
        assert all((batch.moves is None) is (device == "cpu") for batch in batches)
        losses.append([task.loss(model, batch).total.item() for batch in batches])
    assert losses[0] == losses[1]


def test_fp16_without_a_gpu_is_the_users_to_mend(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="'fp16' cannot be used on the device 'cpu'"):
        next(train(network(), noise(), 8, Recipe(precision="fp16"), 0))


@pytest.mark.parametrize("kind", ["classifier", "mixup", "cutmix", "detector"])
def test_the_losses_of_parts_and_their_gradients_add_up_to_those_of_the_batch(kind):
    """Of uneven parts, in evaluation mode, where batch norms see nothing of other images."""
    if kind != "detector":
        model, net = network(), SimpleNamespace(resolution=8)
        mixes = {} if kind == "classifier" else {kind: 1.0}
        recipe = Recipe(device="cpu", **mixes)
        task = Classification(architecture=net, data=noise(), recipe=recipe)
    else:
        net, recipe = detector(), DetectionRecipe(device="cpu")
        torch.manual_seed(0)
        model = build(net)
        task = Detection(architecture=net, data=squares(14, 2), recipe=recipe)
    model.eval()
    batch = task.reader(0, net.resolution)(task.data.train, np.arange(14))
    whole = task.loss(model, batch).total
    whole.backward()
    expected = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    parts = [task.part(batch, slice(*bounds)) for bounds in ((0, 2), (2, 9), (9, 14))]
    losses = [task.loss(model, part, task.normaliser(parts)).total for part in parts]
    total = torch.stack(losses).sum()
    total.backward()
    assert total.item() == pytest.approx(whole.item(), rel=1e-5)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_four_times_sixteen_images_have_the_gradient_of_sixty_four():
    """Of a network without batch norm, as of a batch that memory does not hold."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
    start, gradients = {n: p.clone() for n, p in model.state_dict().items()}, []
    for micro in (None, 16):
        model.load_state_dict(start)
        options = {"epochs": 1, "batch_size": 64, "warmup": 0.0, "weight_decay": 0.0, "clip": None}
        recipe = Recipe(optimizer="sgd", learning_rate=1.0, micro_batch=micro, **options)
        list(train(model, noise(64), 8, recipe, 0))
        gradients.append([p.grad.clone() for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() <= 1e-6


def normless():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_two_images_are_mixed_with_each_other(kind):
    """The loss of a batch of 2, whose parts are one image each, by hand."""
    data, model, indices = noise(), normless(), np.array([4, 8])
    task = classification(data, Recipe(device="cpu", **{kind: 1.0}))
    plain = classification(data, Recipe(device="cpu")).reader(0, 8)(data.train, indices)
    batch = task.reader(0, 8)(data.train, indices)
    images, share = task.normalised(plain.pixels), batch.mix.share
    assert len(batch) == 2
    others = images.flip(0)
    if kind == "mixup":
        mixes = share * images + (1 - share) * others
    else:
        left, top, right, bottom = batch.mix.box
        assert share == pytest.approx(1 - (right - left) * (bottom - top) / 64)
        mixes = images.clone()
        mixes[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    own = torch.from_numpy(data.train.labels[indices])
    logits = model(mixes)
    wanted = sum(
        part * functional.cross_entropy(logits, labels, label_smoothing=0.1)
        for part, labels in ((share, own), (1 - share, own.flip(0)))
    )
    assert task.loss(model, batch).total.item() == pytest.approx(wanted.item(), rel=1e-5)
    parts = [task.part(batch, slice(n, n + 1)) for n in (0, 1)]
    losses = [task.loss(model, part, task.normaliser(parts)).total for part in parts]
    assert sum(losses).item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("mixes", [{"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}])
@pytest.mark.parametrize(("count", "size"), [(6, 2), (13, 5), (12, 7)])
def test_mixed_batches_in_parts_train_as_whole_ones(mixes, count, size):
    """Batches of 2; of 5 in parts of 2 and 3, with 3 at the end; of 7 in three, with 5 at the end.

    Of a network without batch norm, whose epochs read a batch for each of these.
    """
    ends = []
    for micro in (None, 2):
        model, data = normless(), noise(count)
        watched = Watched(data.train, [])
        recipe = Recipe(
            epochs=2, batch_size=size, optimizer="sgd", micro_batch=micro, device="cpu", **mixes
        )
        scores = list(train(model, replace(data, train=watched), 8, recipe, 0))
        sizes = [len(indices) for indices, _ in watched.asked]
        assert sizes == 2 * ([size] * (count // size) + [count % size] * (count % size > 0))
        ends.append((weights(model), scores[-1].values["loss"]))
    for whole, parts in zip(ends[0][0], ends[1][0], strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-4)


class Rising(nn.Module):
    """A network whose accuracy is what its one weight says, which goes down with each epoch."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        right = torch.arange(len(images)) % 3
        far = torch.arange(len(images)) < self.weight.abs() * 40
        said = torch.where(far, (right + 1) % 3, right)
        return functional.one_hot(said, 3).float() + 0 * self.weight - self.weight


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_the_weights_that_count_are_the_last_or_the_best(checkpoint):
    model = Rising()
    recipe = Recipe(
        epochs=4,
        batch_size=40,
        checkpoint=checkpoint,
        optimizer="sgd",
        learning_rate=0.1,
        warmup=0.0,
        weight_decay=0.0,
        device="cpu",
    )
    states = []
    data = replace(noise(), validation=noise(validation_count=12).validation)
    for score in train(model, data, 8, recipe, 0):
        states.append((score.step, score.values["accuracy"], model.weight.item()))
    best = max(states[:-1], key=lambda state: state[1])
    assert [step for step, _, _ in states] == [1, 2, 3, 4]
    if checkpoint == "best":
        assert states[-1][1:] == best[1:]
    else:
        assert states[-1][2] not in [weight for _, _, weight in states[:-1]]
