"""The task of classifying images: cross entropy, accuracy, and what it hides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def class_scores(counts: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Scores from 0 to 1, of how often each class was shown, said, and rightly said: int64 [3, K].

    `accuracy`; `balanced_accuracy`, the mean of the accuracies of single classes;
    `macro_f1`, the mean of their F1 (2 TP / (2 TP + FP + FN)); and `accuracy/CLASS` of each. A
    class that is not shown has no accuracy, and counts in F1 only if it is said.
    """
    shown, said, right = counts
    present = shown > 0
    of_class = right[present] / shown[present]
    f1 = 2 * right / np.maximum(shown + said, 1)
    names = [name for name, here in zip(classes, present, strict=True) if here]
    return {
        "accuracy": int(right.sum()) / int(shown.sum()),
        "balanced_accuracy": float(of_class.mean()),
        "macro_f1": float(f1[shown + said > 0].mean()),
        **{f"accuracy/{n}": float(value) for n, value in zip(names, of_class, strict=True)},
    }


@dataclass(frozen=True, kw_only=True)
class Classification(Task[_Batch]):
    """Images with one label each."""

    data: ImageData
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy", "macro_f1")

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

    def part(self, batch: _Batch, images: slice) -> _Batch:
        """Some images with their labels."""
        pixels, labels = batch
        return pixels[images], labels[images]

    def evaluate(self, model: nn.Module) -> Evaluation:
        """Mean cross entropy, and the scores of `class_scores`."""
        images, classes = self.data.validation, self.data.classes
        loss = 0.0
        shown, said, right = torch.zeros(3, len(classes), dtype=torch.int64, device=self.device)

        def read(indices: np.ndarray) -> _Batch:
            pixels, labels = self._read(images, indices)
            return self.pinned(pixels), self.pinned(labels)

        def count(labels: Tensor) -> Tensor:
            return torch.bincount(labels, minlength=len(classes))

        for pixels, labels in prefetch(read, in_order(len(images), self.validation_batch)):
            logits, labels = self._logits(model, pixels), labels.to(self.device, non_blocking=True)
            predicted = logits.argmax(dim=1)
            shown += count(labels)
            said += count(predicted)
            right += count(labels[predicted == labels])
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        counts = torch.stack([shown, said, right]).cpu().numpy()
        return Evaluation({**class_scores(counts, classes), "loss": loss / len(images)})

    def _read(self, images: Images, indices: np.ndarray) -> _Batch:
        pixels = images.batch(indices, self.architecture.resolution)
        return pixels, torch.from_numpy(images.labels[indices])

    def _logits(self, model: nn.Module, pixels: Tensor) -> Tensor:
        """Logits [N, K] in float32."""
        images = self.normalised(pixels)
        with self.autocast():
            logits: Tensor = model(images)
        return logits.float()
