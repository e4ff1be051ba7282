"""Scores a detector by training it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from scalesearch.arch.detector import Detector
from scalesearch.errors import UserError
from scalesearch.evaluators._images import require_images
from scalesearch.evaluators._trains import Trains
from scalesearch.history.fidelity import FIDELITIES, WHOLE_EPOCHS, Schedule
from scalesearch.history.jobs import Score, Scratch
from scalesearch.interfaces import BoxData
from scalesearch.training.recipe import DetectionRecipe

if TYPE_CHECKING:
    import torch

    from scalesearch.training.detect import Detection


@dataclass(frozen=True, kw_only=True)
class Evaluator(DetectionRecipe, Trains):
    """Trains on the data set's images and validates; options as in `DetectionRecipe`."""

    fidelities: ClassVar[tuple[str, ...]] = FIDELITIES
    task: ClassVar[str] = "detection"
    metrics: ClassVar[tuple[str, ...]] = (
        *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ap50_voc"),
        "ap/CLASS",
    )

    def evaluate(
        self,
        model: torch.nn.Module,
        architecture: Detector,
        data: BoxData,
        seed: int,
        scratch: Scratch | None = None,
        schedule: Schedule = WHOLE_EPOCHS,
    ) -> Generator[Score, None, None]:
        """Yields COCO's `ap`, `ap50`, … (0 to 1) on all validation images, and the mean `loss`."""
        from scalesearch.training.loop import train

        if not isinstance(architecture, Detector) or not isinstance(data, BoxData):
            raise UserError(
                "detection needs a detector and a data set of objects",
                key="evaluator",
                hint="classifiers are scored by the evaluator `training`",
            )
        require_images(architecture, data)
        yield from train(model, self.made_task(architecture, data, schedule), seed, scratch)

    def made_task(self, architecture: Detector, data: BoxData, schedule: Schedule) -> Detection:
        """The task of training a network on these images."""
        # Here and not above: reading a study file must not wait for torch.
        from scalesearch.training.detect import Detection

        return Detection(architecture=architecture, data=data, recipe=self, schedule=schedule)
