"""One training of a classifier or a detector: what its epochs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from scalesearch.training.batches import steps_per_epoch
from scalesearch.training.recipe import Recipe

if TYPE_CHECKING:
    from scalesearch.interfaces import Data


@dataclass(frozen=True, kw_only=True)
class Run:
    """What stays the same over the epochs of a training (the modules' weights aside)."""

    model: nn.Module
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    data: Data
    recipe: Recipe
    device: torch.device

    @property
    def steps(self) -> int:
        """Training steps in an epoch."""
        return steps_per_epoch(len(self.data.train), self.recipe.batch_size)

    @property
    def scored(self) -> nn.Module:
        """The module whose scores count."""
        return self.model if self.average is None else self.average.module
