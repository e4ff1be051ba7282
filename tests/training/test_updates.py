import copy
import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel

from scalesearch.training.recipe import OPTIMIZERS, Recipe
from scalesearch.training.updates import (
    MovingAverage,
    gradient_scaler,
    kept,
    learning_rate,
    make_optimizer,
    parameter_groups,
    set_learning_rate,
)


def recipe(warmup):
    return Recipe(learning_rate=1.0, warmup=warmup)


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_norms_and_biases_do_not_decay():
    model = network()
    decaying, others = parameter_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(p)] for p in decaying["params"]] == ["0.weight", "3.weight"]
    assert [names[id(p)] for p in others["params"]] == ["0.bias", "1.weight", "1.bias", "3.bias"]
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_frozen_parameters_are_left_out():
    model = network()
    model[0].weight.requires_grad_(False)
    listed = [p for group in parameter_groups(model, 0.1) for p in group["params"]]
    assert all(p is not model[0].weight for p in listed)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_state_holds_as_many_copies_as_memory_is_counted_for(name):
    model = network()
    optimizer = make_optimizer(model, Recipe(optimizer=name))
    model(torch.randn(2, 1, 3, 3)).sum().backward()
    optimizer.step()
    for parameter in model.parameters():
        state = optimizer.state[parameter].values()
        copies = sum(value.numel() for value in state if torch.is_tensor(value) and value.ndim)
        assert copies == OPTIMIZERS[name].copies * parameter.numel()


def test_sgd_takes_nesterov_steps_by_hand():
    weight = nn.Linear(1, 1, bias=False)
    weight.weight.data.fill_(1.0)
    optimizer = make_optimizer(weight, Recipe(optimizer="sgd", learning_rate=0.1, weight_decay=0.0))
    for _ in range(2):
        weight.weight.grad = torch.ones(1, 1)
        optimizer.step()
    # Buffers 1 and 1.9; steps 0.1 * (1 + 0.9 * 1) and 0.1 * (1 + 0.9 * 1.9).
    assert weight.weight.item() == pytest.approx(1 - 0.19 - 0.271)


def test_rmsprops_first_step_equals_tensorflows():
    weight = nn.Linear(1, 1, bias=False)
    weight.weight.data.fill_(0.0)
    optimizer = make_optimizer(
        weight, Recipe(optimizer="rmsprop", learning_rate=0.1, weight_decay=0.0)
    )
    weight.weight.grad = torch.full((1, 1), 1e-4)
    optimizer.step()
    # TensorFlow: rate * g / sqrt(mean square + 0.001), mean square = 0.1 * g^2.
    assert weight.weight.item() == pytest.approx(-0.1 * 1e-4 / (1e-9 + 1e-3) ** 0.5, rel=2e-3)


def test_every_group_gets_the_learning_rate():
    optimizer = make_optimizer(network(), Recipe())
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_ten_steps_with_two_of_warm_up_by_hand():
    rates = [learning_rate(recipe(0.2), step, 10) for step in range(10)]
    cosine = [0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]
    assert rates == pytest.approx([1 / 3, 2 / 3, *cosine])


@pytest.mark.parametrize(("steps", "warmup", "rising"), [(40, 0.25, 10), (30, 0.1, 3)])
def test_equals_torchs_own_schedulers(steps, warmup, rising):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedulers = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (rising + 1), 1.0, total_iters=rising),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - rising),
    ]
    whole = torch.optim.lr_scheduler.SequentialLR(optimizer, schedulers, milestones=[rising])
    for step in range(steps):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(
            learning_rate(recipe(warmup), step, steps)
        )
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own use of a deprecated argument
            whole.step()


@given(st.integers(1, 200), st.floats(0, 0.99))
def test_every_step_learns_and_none_exceeds_the_peak(steps, warmup):
    rates = [learning_rate(recipe(warmup), step, steps) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == 1


def test_follows_the_hand_formula():
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, 0.5)
    seen, expected = [4.0, 8.0, 16.0, 3.0], None
    for updates, value in enumerate(seen):
        model.weight.data.fill_(value)
        average.update(model)
        decay = min(0.5, (1 + updates) / (10 + updates))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected)
    # By hand: 4, then 2/11 * 4 + 9/11 * 8 = 80/11.
    assert kept(0.5, 1) == pytest.approx(2 / 11)


def test_decay_warms_up_to_its_value():
    assert kept(0.999, 0) == pytest.approx(0.1)
    assert kept(0.9, 80) == 0.9
    assert kept(0.9999, 990) == pytest.approx(991 / 1000)


def test_batch_norm_statistics_are_averaged_and_counters_copied():
    model = nn.BatchNorm2d(2)
    average = MovingAverage(model, 0.9)
    for _ in range(3):
        model(torch.randn(4, 2, 3, 3) + 5)
        average.update(model)
    assert average.module.num_batches_tracked == 3
    assert not torch.equal(average.module.running_mean, torch.zeros(2))
    assert not torch.equal(average.module.running_mean, model.running_mean)


def stepped(model):
    """A step that changes every parameter, buffer and counter."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    model(torch.randn(4, 1, 3, 3) + 2).square().sum().backward()
    optimizer.step()


def test_the_average_is_to_the_bit_that_of_torchs_own_averaged_model():
    def rule(old, new, updates):
        if not old.is_floating_point():
            return new
        return torch.lerp(old, new, 1 - kept(0.9, int(updates)))

    torch.manual_seed(0)
    model = network()
    own, peer = MovingAverage(model, 0.9), AveragedModel(model, avg_fn=rule, use_buffers=True)
    for _ in range(100):  # past the end of the warm-up of the decay
        stepped(model)
        own.update(model)
        peer.update_parameters(model)
        theirs = peer.module.state_dict()
        for name, value in own.module.state_dict().items():
            assert torch.equal(value, theirs[name]), name
    assert kept(0.9, own.updates) == 0.9


def test_the_average_follows_frozen_weights_and_models_without_any():
    model = network().requires_grad_(False)
    average = MovingAverage(model, 0.9)
    average.update(model)
    assert not any(p.requires_grad for p in average.module.parameters())
    empty = MovingAverage(nn.Flatten(), 0.9)
    empty.update(nn.Flatten())
    assert empty.updates == 1


def test_the_average_goes_on_from_its_state():
    torch.manual_seed(0)
    model = network()
    average = MovingAverage(model, 0.9)
    for _ in range(3):
        stepped(model)
        average.update(model)
    state = copy.deepcopy(average.state())
    assert set(state) == {"module", "updates"}
    assert state["updates"] == 3
    again = MovingAverage(network(), 0.9)
    again.load(state)
    stepped(model)
    for one in (average, again):
        one.update(model)
    expected = average.module.state_dict()
    assert all(torch.equal(v, expected[n]) for n, v in again.module.state_dict().items())


def test_losses_are_scaled_for_fp16_alone():
    optimizer = make_optimizer(network(), Recipe(optimizer="sgd"))
    for dtype in (None, torch.bfloat16):
        scaler = gradient_scaler(optimizer, torch.device("cpu"), dtype)
        assert not scaler.is_enabled()
        assert scaler.state_dict() == {}
    assert not optimizer.state


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_skipped_first_step_leaves_no_trace(name):
    """A CPU has a scaler, too: its first step overflows, the second is the first without one."""
    models = [network() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    images, ends = torch.randn(2, 1, 3, 3), []
    for model, skips in zip(models, (True, False), strict=True):
        model.eval()  # so that no statistics change
        optimizer = make_optimizer(model, Recipe(optimizer=name))
        scaler = gradient_scaler(optimizer, torch.device("cpu"), torch.float16)
        assert scaler.is_enabled()
        for factor in (math.inf, 1.0) if skips else (1.0,):
            optimizer.zero_grad()
            scaler.scale(model(images).square().sum() * factor).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        ends.append([p.detach() for p in model.parameters()])
        assert scaler.get_scale() == 2.0 ** (15 if skips else 16)
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other)


def test_a_rate_that_falls_in_steps_is_efficientnets():
    """Times .97 every 2.4 epochs from the start, warm-up of 5 counted in (its official code)."""
    recipe = Recipe.named("efficientnet_imagenet")
    per_epoch = 10
    steps = recipe.epochs * per_epoch
    for epoch in (6, 8, 25, 100, 349):
        rate = learning_rate(recipe, epoch * per_epoch, steps)
        assert rate == pytest.approx(0.256 * 0.97 ** math.floor(epoch / 2.4))
    assert learning_rate(recipe, 24, steps) == pytest.approx(0.256 * 25 / 51)
    # A shortened one ends as low: 145 times .97.
    short = Recipe.named("efficientnet_imagenet", epochs=90)
    assert learning_rate(short, 899, 900) == pytest.approx(0.256 * 0.97**145)
