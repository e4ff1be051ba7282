"""Scores a classifier by training it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from scalesearch.arch.backbone import Backbone
from scalesearch.evaluators._images import require_images
from scalesearch.evaluators._trains import Trains
from scalesearch.history.fidelity import FIDELITIES, WHOLE_EPOCHS, Schedule
from scalesearch.history.jobs import Score, Scratch
from scalesearch.interfaces import ImageData
from scalesearch.training.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from scalesearch.training.classify import Classification


@dataclass(frozen=True, kw_only=True)
class Evaluator(Recipe, Trains):
    """Trains on the data set's images and validates; options as in `Recipe`."""

    fidelities: ClassVar[tuple[str, ...]] = FIDELITIES
    task: ClassVar[str] = "classification"
    metrics: ClassVar[tuple[str, ...]] = (
        *("accuracy", "balanced_accuracy", "macro_f1"),
        "top5_accuracy",
        "accuracy/CLASS",
    )

    def notes_on(self, architectures: Sequence[Any]) -> tuple[str, ...]:
        """What networks take of the weights to begin with, and who teaches them."""
        from scalesearch.training.teacher import teacher_notes

        return (*Trains.notes_on(self, architectures), *teacher_notes(self, architectures[0]))

    def evaluate(
        self,
        model: torch.nn.Module,
        architecture: Backbone,
        data: ImageData,
        seed: int,
        scratch: Scratch | None = None,
        schedule: Schedule = WHOLE_EPOCHS,
    ) -> Generator[Score, None, None]:
        """Yields `accuracy`, … (0 to 1) and `loss` on all validation images."""
        from scalesearch.training.loop import train

        require_images(architecture, data)
        yield from train(model, self.made_task(architecture, data, schedule), seed, scratch)

    def made_task(
        self, architecture: Backbone, data: ImageData, schedule: Schedule
    ) -> Classification:
        """The task of training a network on these images."""
        # Here and not above: reading a study file must not wait for torch.
        from scalesearch.training.classify import Classification

        return Classification(architecture=architecture, data=data, recipe=self, schedule=schedule)
