"""Scores a network by training it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from scalesearch.arch.backbone import Backbone
from scalesearch.cost.cost import Workload
from scalesearch.errors import UserError
from scalesearch.history.jobs import Score
from scalesearch.interfaces import ImageData
from scalesearch.training.recipe import OPTIMIZERS, Recipe

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Evaluator(Recipe):
    """Trains on the data set's images and validates after each epoch; options as in `Recipe`."""

    task: ClassVar[str] = "classification"

    @property
    def workload(self) -> Workload:
        """A training step of this batch, with what the optimizer and the average keep.

        Which precision `auto` takes only a worker's GPU can tell: float32 is counted, which takes
        more wherever activations outweigh weights.
        """
        return Workload(
            training_batch=self.batch_size,
            optimizer_copies=OPTIMIZERS[self.optimizer].copies,
            ema=self.ema is not None,
            precision="bf16" if self.precision == "bf16" else "float32",
        )

    def evaluate(
        self, model: torch.nn.Module, architecture: Backbone, data: ImageData, seed: int
    ) -> Generator[Score, None, None]:
        """Yields `accuracy` (0 to 1) and `loss` on all validation images after each epoch."""
        # Here and not above: reading a study file must not wait for torch.
        from scalesearch.training.loop import train

        for key, wanted, given in (
            ("in_channels", data.channels, architecture.in_channels),
            ("num_classes", len(data.classes), architecture.num_classes),
        ):
            if wanted != given:
                raise UserError(
                    f"the network has {given}, the data set {wanted}", key=key, allowed=str(wanted)
                )
        yield from train(model, data, architecture.resolution, self, seed)
