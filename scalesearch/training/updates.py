"""How weights are updated: the optimizer, its learning rate, clipping and the moving average."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

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


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate at `step` (from 0) of `steps`.

    It rises linearly over the first `warmup` share of the steps, reaches the peak right after, and
    falls as a half cosine that would reach 0 one step after the last (Loshchilov & Hutter 2017).
    """
    rising = min(round(steps * recipe.warmup), steps - 1)
    if step < rising:
        share = (step + 1) / (rising + 1)
    else:
        share = 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
    return recipe.peak_learning_rate * share


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradients(model: nn.Module, clip: float, device: torch.device) -> None:
    """Scales the gradients down to a norm of `clip` if theirs is larger."""
    parameters = list(model.parameters())
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    # Scaling by 1 reads and writes every gradient; only a CPU can look without waiting for a queue.
    if device.type != "cpu" or not norm <= clip:
        nn.utils.clip_grads_with_norm_(parameters, clip, norm, foreach=True)


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the model that follows it, batch-norm statistics included.

    Update t (from 1) keeps min(decay, t / (9 + t)) of the average, TensorFlow's rule: a run of a
    hundred steps is not left with the average of its random start.
    """

    def step(old: Tensor, new: Tensor, updates: Tensor | int) -> Tensor:
        if not old.is_floating_point():
            return new
        return torch.lerp(old, new, 1 - kept(decay, int(updates)))

    return AveragedModel(model, avg_fn=step, use_buffers=True)


def kept(decay: float, updates: int) -> float:
    """The share of the average that stays when `updates` were made before."""
    return min(decay, (1 + updates) / (10 + updates))
