"""The task of classifying images: cross entropy, accuracy, and what it hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.history.jobs import seed_for
from scalesearch.training.augment import Moves, draw_moves, moved
from scalesearch.training.batches import in_order
from scalesearch.training.changes import Changes
from scalesearch.training.loop import VALIDATION, Evaluation, Loss, Task
from scalesearch.training.mixing import Mix, draw_mix, mixed
from scalesearch.training.recipe import FEW_CLASSES, Recipe
from scalesearch.training.teacher import distillation, load_teacher
from scalesearch.view import RandomCrop, View

if TYPE_CHECKING:
    from scalesearch.interfaces import ImageData, Images


@dataclass(frozen=True)
class ClassBatch:
    """Images with labels, and what is still to be done with them.

    Attributes:
        pixels: uint8 [N, C, R, R]; of a batch that is mixed [N + 1, …], the first of which is what
            the second is mixed with, and so on.
        labels: int64 [N] or [N + 1].
        moves: how images are to be moved.
        mix: how each image is mixed with the one before it.
    """

    pixels: Tensor
    labels: Tensor
    moves: Moves | None = None
    mix: Mix | None = None

    def __len__(self) -> int:
        """How many images it trains with."""
        return len(self.labels) - (self.mix is not None)

    def part(self, images: slice) -> ClassBatch:
        """Some of its images, with all that they need."""
        kept = slice(images.start, images.stop + (self.mix is not None))
        moves = self.moves
        if moves is not None:
            shifts = None if moves.shifts is None else moves.shifts[:, kept]
            moves = Moves(shifts, None if moves.mirrored is None else moves.mirrored[kept])
        return replace(self, pixels=self.pixels[kept], labels=self.labels[kept], moves=moves)

    def pin_memory(self) -> ClassBatch:
        """The same batch where it can be sent to a GPU without waiting."""
        moves = self.moves
        if moves is not None:
            moves = Moves(*(None if each is None else each.pin_memory() for each in moves))
        pixels, labels = self.pixels.pin_memory(), self.labels.pin_memory()
        return replace(self, pixels=pixels, labels=labels, moves=moves)


@dataclass(frozen=True)
class ClassReader:
    """Reads batches of images with their labels, in whatever process.

    Attributes:
        view: what is seen of each image.
        recipe: how training images are changed; None for validation.
        mean: of each channel on the scale 0 to 1.
        flip: labels allow images to be mirrored.
        seed: of the epoch, from which all draws follow.
        moves_later: the device moves images, not this process.
    """

    view: View
    recipe: Recipe | None = None
    mean: Sequence[float] = ()
    flip: bool = False
    seed: int = 0
    moves_later: bool = False

    def __call__(self, images: Images, indices: np.ndarray) -> ClassBatch:
        """The batch of these indices."""
        pixels, labels = images.batch(indices, self.view), torch.from_numpy(images.labels[indices])
        recipe = self.recipe
        if recipe is None or not recipe.augment:
            return ClassBatch(pixels, labels)
        side, shift = pixels.shape[-1], recipe.crop == "shift"
        moves: Moves | None = draw_moves(
            indices, side, self._seed("move"), shift=shift, flip=self.flip
        )
        changes = Changes(recipe, self.mean, self._seed("change"))
        if moves is not None and not (self.moves_later and not changes.any):
            pixels, moves = moved(pixels, moves), None
        pixels = changes(pixels, indices)
        mix = None
        if (recipe.mixup > 0 or recipe.cutmix > 0) and len(indices) > 1:
            draws = np.random.default_rng([self._seed("mix"), int(indices[0])])
            mix = draw_mix(side, recipe.mixup, recipe.cutmix, draws)
            order = torch.arange(-1, len(indices)) % len(indices)
            pixels, labels = pixels[order], labels[order]
            if moves is not None:
                shifts = None if moves.shifts is None else moves.shifts[:, order]
                mirrored = None if moves.mirrored is None else moves.mirrored[order]
                moves = Moves(shifts, mirrored)
        return ClassBatch(pixels, labels, moves, mix)

    def _seed(self, purpose: str) -> int:
        return seed_for(self.seed, purpose, 0)


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
class Classification(Task[ClassBatch]):
    """Images with one label each."""

    data: ImageData
    recipe: Recipe
    metrics: ClassVar[tuple[str, ...]] = (
        *("accuracy", "balanced_accuracy", "macro_f1"),
        "top5_accuracy",
    )

    @property
    def labels(self) -> np.ndarray:
        """The class of each training image."""
        return self.data.train.labels

    @property
    def changes_much(self) -> bool:
        """Whether images are cut at random or changed one by one."""
        recipe = self.recipe
        cut = recipe.augment and recipe.crop == "random_resized"
        return cut or Changes(recipe, self.data.mean, 0).any

    def reader(self, seed: int, side: int) -> ClassReader:
        """Batches of training images, changed by draws from the seed.

        A GPU moves images itself: a reader only draws how.
        """
        recipe, random = self.recipe, self.recipe.augment and self.recipe.crop == "random_resized"
        crop = RandomCrop(recipe.crop_scale, recipe.crop_ratio) if random else None
        view = View(side, crop, interpolation=recipe.interpolation, seed=seed_for(seed, "crop", 0))
        later = self.device.type != "cpu"
        return ClassReader(view, recipe, self.data.mean, self.data.flip, seed, later)

    def loss(self, model: nn.Module, batch: ClassBatch, normaliser: float | None = None) -> Loss:
        """Mean cross entropy with label smoothing, of mixed labels where images are mixed.

        Of what a teacher says, too, if there is one.
        """
        pixels, labels = self.sent(batch.pixels), self.sent(batch.labels)
        if batch.moves is not None:
            shifts, mirrored = (None if each is None else self.sent(each) for each in batch.moves)
            pixels = moved(pixels, Moves(shifts, mirrored))
        images = self.normalised(pixels)
        if batch.mix is not None:
            images = mixed(images[1:], images[:-1], batch.mix)
            images = images.contiguous(memory_format=torch.channels_last)
        logits = self._logits(model, images)
        if batch.mix is None:
            mean = self._cross_entropy(logits, labels)
        else:
            own = self._cross_entropy(logits, labels[1:])
            mean = torch.lerp(self._cross_entropy(logits, labels[:-1]), own, batch.mix.share)
        if self.teacher is not None:
            with torch.no_grad():
                taught = self._logits(self.teacher, images)
            share = self.recipe.teacher_share
            mean = torch.lerp(mean, distillation(logits, taught, self.recipe.temperature), share)
        return Loss(mean if normaliser is None else mean * (len(batch) / normaliser))

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.recipe.label_smoothing
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)

    def normaliser(self, parts: Sequence[ClassBatch]) -> float:
        """How many images there are."""
        return float(sum(map(len, parts)))

    def part(self, batch: ClassBatch, images: slice) -> ClassBatch:
        """Some images with their labels and moves."""
        return batch.part(images)

    def evaluate(self, model: nn.Module, side: int) -> Evaluation:
        """Mean cross entropy, and the scores of `class_scores`."""
        classes, recipe = self.data.classes, self.recipe
        count = len(self.data.validation)
        # Sums stay on the device, so that no batch waits for the one before.
        counts = torch.zeros(3, len(classes), dtype=torch.int64, device=self.device)
        among = torch.zeros((), dtype=torch.int64, device=self.device)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        view = View(side, centre=recipe.validation_crop, interpolation=recipe.interpolation)
        order = in_order(count, recipe.images_in_validation)
        for batch in self.batches(VALIDATION, ClassReader(view), order):
            logits = self._logits(model, self.normalised(self.sent(batch.pixels)))
            labels = self.sent(batch.labels)
            predicted = logits.argmax(dim=1)
            one = torch.ones_like(labels)
            for row, (shown, number) in enumerate(
                ((labels, one), (predicted, one), (labels, (predicted == labels).long()))
            ):
                counts[row].scatter_add_(0, shown, number)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            if len(classes) > FEW_CLASSES:
                among += (logits.topk(5).indices == labels[:, None]).sum()
        scores = class_scores(counts.cpu().numpy(), classes)
        if len(classes) > FEW_CLASSES:
            scores["top5_accuracy"] = int(among) / count
        return Evaluation({**scores, "loss": float(loss) / count})

    @cached_property
    def teacher(self) -> nn.Module | None:
        """The network that is learned from, in evaluation mode on the device."""
        return load_teacher(self.recipe, self.data, self.device)

    def _logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits [N, K] in float32 of normalised images."""
        with self.autocast():
            logits: Tensor = model(images)
        return logits.float()
