"""The task of classifying images: cross entropy, and accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.training.augment import augment
from scalesearch.training.batches import in_order, prefetch
from scalesearch.training.loop import Evaluation, Loss, Task

if TYPE_CHECKING:
    from scalesearch.interfaces import ImageData, Images

_Batch = tuple[Tensor, Tensor]  # uint8 images [N, C, R, R], labels [N]


@dataclass(frozen=True, kw_only=True)
class Classification(Task[_Batch]):
    """Images with one label each."""

    data: ImageData
    metric: ClassVar[str] = "accuracy"

    def reader(self, draws: torch.Generator, seed: int) -> Callable[[np.ndarray], _Batch]:
        """Batches of training images, shifted and mirrored by `draws`."""

        def read(indices: np.ndarray) -> _Batch:
            pixels, labels = self._read(self.data.train, indices)
            if self.recipe.augment:
                pixels = augment(pixels, self.data.flip, draws)
            return self.pinned(pixels), self.pinned(labels)

        return read

    def loss(self, model: nn.Module, batch: _Batch) -> Loss:
        """Cross entropy with label smoothing."""
        pixels, labels = batch
        labels = labels.to(self.device, non_blocking=True)
        smoothing = self.recipe.label_smoothing
        logits = self._logits(model, pixels)
        return Loss(functional.cross_entropy(logits, labels, label_smoothing=smoothing))

    def evaluate(self, model: nn.Module) -> Evaluation:
        """Accuracy (0 to 1) and mean cross entropy."""
        images = self.data.validation
        right, loss = 0, 0.0

        def read(indices: np.ndarray) -> _Batch:
            pixels, labels = self._read(images, indices)
            return self.pinned(pixels), self.pinned(labels)

        for pixels, labels in prefetch(read, in_order(len(images), self.validation_batch)):
            logits, labels = self._logits(model, pixels), labels.to(self.device, non_blocking=True)
            right += int((logits.argmax(dim=1) == labels).sum())
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        return Evaluation({"accuracy": right / len(images), "loss": loss / len(images)})

    def _read(self, images: Images, indices: np.ndarray) -> _Batch:
        pixels = images.batch(indices, self.architecture.resolution)
        return pixels, torch.from_numpy(images.labels[indices])

    def _logits(self, model: nn.Module, pixels: Tensor) -> Tensor:
        """Logits [N, K] in float32."""
        images = self.normalised(pixels)
        with self.autocast():
            logits: Tensor = model(images)
        return logits.float()
