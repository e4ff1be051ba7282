"""What each epoch of a training takes: its images, and its share of all steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.training.batches import FEWEST, shuffled, steps_per_epoch


@dataclass(frozen=True)
class Course:
    """The epochs of one training, each with its own fidelity.

    Attributes:
        epochs: of the training.
        images: training images that there are.
        batch_size: images in a step.
        order: makes the order of the images whose beginnings are the parts of the data; it is
            made if an epoch has less than all.
        schedule: the fidelity of each epoch.
    """

    epochs: int
    images: int
    batch_size: int
    order: Callable[[], np.ndarray]
    schedule: Schedule = WHOLE_EPOCHS

    def batches(self, epoch: int, draws: torch.Generator) -> list[np.ndarray]:
        """The indices of the images in each step of an epoch (from 1), in random order."""
        count = self.count(epoch)
        batches = shuffled(count, self.batch_size, draws)
        return batches if count == self.images else [self._order[batch] for batch in batches]

    def count(self, epoch: int) -> int:
        """How many images an epoch has."""
        share = self.schedule.at(epoch).data
        return min(self.images, max(FEWEST, round(share * self.images)))

    def step(self, epoch: int) -> int:
        """How many steps are done before an epoch."""
        return sum(self._steps[: epoch - 1])

    @cached_property
    def steps(self) -> int:
        """All steps of the training."""
        return sum(self._steps)

    @cached_property
    def _steps(self) -> list[int]:
        counts = [self.count(epoch) for epoch in range(1, self.epochs + 1)]
        return [steps_per_epoch(count, self.batch_size) for count in counts]

    @cached_property
    def _order(self) -> np.ndarray:
        return self.order()
