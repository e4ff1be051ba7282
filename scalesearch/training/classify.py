"""The task of classifying images: cross entropy, accuracy, and what it hides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.training.augment import Moves, draw_moves, moved
from scalesearch.training.batches import in_order, prefetch
from scalesearch.training.loop import Evaluation, Loss, Task
from scalesearch.view import View

if TYPE_CHECKING:
    from scalesearch.interfaces import ImageData, Images


class _Batch(NamedTuple):
    """uint8 images [N, C, R, R], labels [N], and how images are still to be moved."""

    pixels: Tensor
    labels: Tensor
    moves: Moves | None = None


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

    @property
    def labels(self) -> np.ndarray:
        """The class of each training image."""
        return self.data.train.labels

    def reader(
        self, draws: torch.Generator, seed: int, side: int
    ) -> Callable[[np.ndarray], _Batch]:
        """Batches of training images, shifted and mirrored by `draws`.

        A GPU moves images itself: this thread only draws how, batch by batch.
        """

        def read(indices: np.ndarray) -> _Batch:
            batch = self._read(self.data.train, indices, side)
            if not self.recipe.augment:
                return batch
            moves = draw_moves(len(indices), batch.pixels.shape[-1], self.data.flip, draws)
            if self.device.type == "cpu":
                return batch._replace(pixels=moved(batch.pixels, moves))
            mirrored = None if moves.mirrored is None else self.pinned(moves.mirrored)
            return batch._replace(moves=Moves(self.pinned(moves.shifts), mirrored))

        return read

    def loss(self, model: nn.Module, batch: _Batch, normaliser: float | None = None) -> Loss:
        """Mean cross entropy with label smoothing."""
        pixels, labels = self.sent(batch.pixels), self.sent(batch.labels)
        if batch.moves is not None:
            shifts, mirrored = batch.moves.shifts, batch.moves.mirrored
            mirrored = None if mirrored is None else self.sent(mirrored)
            pixels = moved(pixels, Moves(self.sent(shifts), mirrored))
        smoothing = self.recipe.label_smoothing
        logits = self._logits(model, pixels)
        mean = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        return Loss(mean if normaliser is None else mean * (len(labels) / normaliser))

    def normaliser(self, parts: Sequence[_Batch]) -> float:
        """How many images there are."""
        return float(sum(len(part.labels) for part in parts))

    def part(self, batch: _Batch, images: slice) -> _Batch:
        """Some images with their labels and moves."""
        moves = batch.moves
        if moves is not None:
            mirrored = None if moves.mirrored is None else moves.mirrored[images]
            moves = Moves(moves.shifts[:, images], mirrored)
        return _Batch(batch.pixels[images], batch.labels[images], moves)

    def evaluate(self, model: nn.Module, side: int) -> Evaluation:
        """Mean cross entropy, and the scores of `class_scores`."""
        images, classes = self.data.validation, self.data.classes
        # Sums stay on the device, so that no batch waits for the one before.
        counts = torch.zeros(3, len(classes), dtype=torch.int64, device=self.device)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)

        def read(indices: np.ndarray) -> _Batch:
            return self._read(images, indices, side)

        for batch in prefetch(read, in_order(len(images), self.recipe.images_in_validation)):
            logits, labels = self._logits(model, batch.pixels), self.sent(batch.labels)
            predicted = logits.argmax(dim=1)
            one = torch.ones_like(labels)
            for row, (shown, number) in enumerate(
                ((labels, one), (predicted, one), (labels, (predicted == labels).long()))
            ):
                counts[row].scatter_add_(0, shown, number)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
        scores = class_scores(counts.cpu().numpy(), classes)
        return Evaluation({**scores, "loss": float(loss) / len(images)})

    def _read(self, images: Images, indices: np.ndarray, side: int) -> _Batch:
        pixels = images.batch(indices, View(side))
        labels = torch.from_numpy(images.labels[indices])
        return _Batch(self.pinned(pixels), self.pinned(labels))

    def _logits(self, model: nn.Module, pixels: Tensor) -> Tensor:
        """Logits [N, K] in float32."""
        images = self.normalised(pixels)
        with self.autocast():
            logits: Tensor = model(images)
        return logits.float()
