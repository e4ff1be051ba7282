"""From a recipe to a torch optimizer over a model's parameters."""

from __future__ import annotations

import torch
from torch import nn

from scalesearch.training.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of `recipe`, at its peak learning rate.

    RMSProp divides by sqrt(mean square) + epsilon where TensorFlow's divides by
    sqrt(mean square + 0.001): the root of 0.001 here gives both the same largest step.
    """
    groups = parameter_groups(model, recipe.decay)
    rate = recipe.peak_learning_rate
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, fused=True)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            groups, lr=rate, alpha=0.9, momentum=0.9, eps=0.001**0.5, foreach=True
        )
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def parameter_groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Kernels and matrices with weight decay; norms, biases and other vectors without."""
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
