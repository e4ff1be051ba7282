"""How weights are updated: the optimizer, its learning rate, clipping and the moving average."""

from __future__ import annotations

import math
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.training.recipe import CommonRecipe


def make_optimizer(model: nn.Module, recipe: CommonRecipe) -> torch.optim.Optimizer:
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


def gradient_scaler(
    optimizer: torch.optim.Optimizer, device: torch.device, low: torch.dtype | None
) -> torch.amp.GradScaler:
    """Scales the losses of fp16, whose small gradients would be 0 (Micikevicius et al. 2018).

    It skips steps with an overflow and halves its scale, which begins too high on purpose. In any
    other precision it does nothing.
    """
    scaler = torch.amp.GradScaler(device.type, enabled=low is torch.float16)
    if scaler.is_enabled() and isinstance(optimizer, torch.optim.SGD):
        # Fused SGD allocates momentum in the first step without filling it. If that step is
        # skipped, the next would take what lies in memory for momentum; zeros give the same step.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return scaler


def parameter_groups(model: nn.Module, decay: float) -> list[dict[str, object]]:
    """Kernels and matrices with weight decay; norms, biases and other vectors without."""
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, object]] = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def learning_rate(recipe: CommonRecipe, step: int, steps: int) -> float:
    """The learning rate at `step` (from 0) of `steps`.

    It rises linearly over the first `warmup` share of the steps, reaches the peak right after, and
    falls as a half cosine that would reach 0 one step after the last (Loshchilov & Hutter 2017),
    or is multiplied every few epochs from the start, as in EfficientNet's official code.
    """
    rising = min(round(steps * recipe.warmup), steps - 1)
    if step < rising:
        share = (step + 1) / (rising + 1)
    elif recipe.rate_decay == "step":
        share = recipe.decay_factor ** int(step / steps / recipe.decay_every)
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


class MovingAverage:
    """A copy of a model that follows it, batch-norm statistics included.

    The first update copies the model. Update t (from 1) keeps min(decay, t / (9 + t)) of the
    average, TensorFlow's rule: a run of a hundred steps is not left with the average of its random
    start. Updates are counted here and not on the device, so that no update waits for a GPU.

    Attributes:
        module: the average.
        decay: the share that stays in the long run.
        updates: how many were made.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module, self.decay, self.updates = deepcopy(model), decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Follows the model by one step; integers, as batch norms' counters, are copied."""
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        follows = [self.updates > 0 and old.is_floating_point() for old, _ in pairs]
        averaged = [pair for pair, lerps in zip(pairs, follows, strict=True) if lerps]
        copied = [pair for pair, lerps in zip(pairs, follows, strict=True) if not lerps]
        if averaged:
            old, new = ([pair[i] for pair in averaged] for i in (0, 1))
            torch._foreach_lerp_(old, new, 1 - kept(self.decay, self.updates))
        if copied:
            old, new = ([pair[i] for pair in copied] for i in (0, 1))
            torch._foreach_copy_(old, new)
        self.updates += 1

    def state(self) -> dict[str, Any]:
        """All that updates change: `module`, a state dict, and `updates`."""
        return {"module": self.module.state_dict(), "updates": self.updates}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.module.load_state_dict(state["module"])
        self.updates = int(state["updates"])


def _tensors(model: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in chain(model.parameters(), model.buffers())]


def kept(decay: float, updates: int) -> float:
    """The share of the average that stays when `updates` were made before."""
    return min(decay, (1 + updates) / (10 + updates))
