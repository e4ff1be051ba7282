import pytest
import torch
from torch import nn

from scalesearch.training.optimizers import make_optimizer, parameter_groups, set_learning_rate
from scalesearch.training.recipe import OPTIMIZERS, Recipe


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
