"""The moving average of a model's weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the model that follows it, batch-norm statistics included.

    Update t (from 1) keeps min(decay, t / (9 + t)) of the average, TensorFlow's rule: a run of a
    hundred steps is not left with the average of its random start.
    """

    def step(old: torch.Tensor, new: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        if not old.is_floating_point():
            return new
        return torch.lerp(old, new, 1 - kept(decay, int(updates)))

    return AveragedModel(model, avg_fn=step, use_buffers=True)


def kept(decay: float, updates: int) -> float:
    """The share of the average that stays when `updates` were made before."""
    return min(decay, (1 + updates) / (10 + updates))
