"""What evaluators that train have in common."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from scalesearch.arch.detector import Architecture
from scalesearch.evaluators._images import require_images
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.training.recipe import CommonRecipe

if TYPE_CHECKING:
    import torch

    from scalesearch.training.loop import Task


class Trains(CommonRecipe, abc.ABC):
    """What the core asks of an evaluator beside its scores, as far as torch is needed for it."""

    def check(self, architecture: Architecture) -> None:
        """Raises `UserError` if the options ask for what a network does not have."""
        from scalesearch.training.freezing import check_freeze

        check_freeze(architecture, self)

    def notes_on(self, architectures: Sequence[Any]) -> tuple[str, ...]:
        """What networks take of the weights to begin with; `UserError` if none can use them."""
        from scalesearch.training.freezing import weights_notes

        return weights_notes(architectures, self)

    @abc.abstractmethod
    def made_task(self, architecture: Any, data: Any, schedule: Schedule) -> Task[Any]:
        """The task of training a network on these images."""

    def score(
        self,
        model: torch.nn.Module,
        architecture: Any,
        data: Any,
        schedule: Schedule = WHOLE_EPOCHS,
    ) -> dict[str, float]:
        """What a trained network scores on all test images, seen as at the end of its training."""
        import torch

        require_images(architecture, data)
        task = self.made_task(architecture, replace(data, validation=data.test), schedule)
        model.to(task.device)
        model.to(memory_format=torch.channels_last)
        with torch.no_grad(), task.cuda_math():
            return task.evaluate(model.eval(), task.side(self.epochs)).values

    def fitted(self, architecture: Any) -> Self:
        """The same with a micro-batch that is predicted to fit into this worker's memory."""
        from scalesearch.training.memory_fit import with_micro_batch

        return with_micro_batch(self, architecture)
