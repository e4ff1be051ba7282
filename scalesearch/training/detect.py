"""The task of detecting objects: focal and box loss, and average precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.arch.detector import Detector
from scalesearch.nn.anchors import AnchorBoxes
from scalesearch.nn.losses import Criterion, broken_images, detection_loss
from scalesearch.nn.matching import Match, Objects, match_batch, objects_of
from scalesearch.nn.postprocess import Detections, Selection, detect
from scalesearch.training.average_precision import average_precision, results_file
from scalesearch.training.batches import in_order, prefetch
from scalesearch.training.freezing import begin, freeze, hold_frozen
from scalesearch.training.loop import Evaluation, Loss, Task
from scalesearch.training.recipe import DetectionRecipe
from scalesearch.training.samples import Canvas, Jitter, Sample, letterbox
from scalesearch.training.voc_precision import voc_precision

if TYPE_CHECKING:
    from scalesearch.interfaces import BoxData

# What a validation counts: COCO looks at the best 100 of an image.
_SELECTION = Selection()
_NAMED = 20  # images with a broken loss


class _Batch(NamedTuple):
    """Images in the network's input, uint8 [N, C, R, R], with what is known of each and of all."""

    pixels: Tensor
    samples: Sequence[Sample]
    objects: Objects


@dataclass(frozen=True, kw_only=True)
class Detection(Task[_Batch]):
    """Images with objects in them."""

    architecture: Detector
    data: BoxData
    recipe: DetectionRecipe
    metrics: ClassVar[tuple[str, ...]] = ("ap",)

    @cached_property
    def anchors(self) -> AnchorBoxes:
        """The anchors of a batch of images."""
        return AnchorBoxes(self.architecture)

    def canvas(self, side: int) -> Canvas:
        """The network's input before an image is put into it."""
        return Canvas(side, self.data.mean)

    def prepare(self, model: nn.Module) -> None:
        """Takes weights to begin with, and freezes what is not trained."""
        begin(model, self.recipe)
        freeze(model, self.architecture, self.recipe)

    def train_mode(self, model: nn.Module) -> None:
        """What is frozen stays in evaluation mode."""
        model.train()
        hold_frozen(model, self.recipe)

    def reader(
        self, draws: torch.Generator, seed: int, side: int
    ) -> Callable[[np.ndarray], _Batch]:
        """Batches of training images, jittered by draws from `seed`."""
        images, jitter = self.data.train, Jitter(self.recipe.jitter, self.data.flip)
        random, canvas = np.random.default_rng(seed), self.canvas(side)

        def sample(index: int) -> Sample:
            image, targets = images.image(index), images.targets(index)
            if not self.recipe.augment:
                return letterbox(image, targets, index, canvas)
            return jitter(image, targets, index, canvas, random)

        return lambda indices: self._batch([sample(index) for index in indices.tolist()])

    def loss(self, model: nn.Module, batch: _Batch, normaliser: float | None = None) -> Loss:
        """Focal loss of the classes and Huber loss of the boxes."""
        images, logits, deltas = self._predicted(model, batch.pixels)
        matches = match_batch(self.anchors(images), _each(self.sent, batch.objects))
        criterion = Criterion(label_smoothing=self.recipe.label_smoothing)
        loss = detection_loss(logits, deltas, matches, criterion, normaliser)
        # What `where` keeps until losses are looked at is small: no graph, no image.
        parts, indices = loss.images, [one.index for one in batch.samples]

        def where() -> str:
            broken = broken_images(parts) or range(len(indices))  # all where the sum is too large
            ids = [str(self.data.train.ids[indices[i]]) for i in broken]
            more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
            return f", images with the ids {', '.join(ids[:_NAMED])}{more}"

        return Loss(loss.total, where)

    def normaliser(self, parts: Sequence[_Batch]) -> float:
        """How many anchors have an object, plus one; they are matched twice then."""
        every = [
            match_batch(self.anchors(self.sent(part.pixels)), _each(self.sent, part.objects))
            for part in parts
        ]
        return 1.0 + sum(len(match.anchors) for matches in every for match in matches)

    def part(self, batch: _Batch, images: slice) -> _Batch:
        """Some images with their objects."""
        samples = batch.samples[images]
        return _Batch(batch.pixels[images], samples, self._objects(samples))

    def evaluate(self, model: nn.Module, side: int) -> Evaluation:
        """COCO's average precisions and VOC's (`ap50_voc`), with the detections."""
        images, detections = self.data.validation, self.detections(model, side)
        values = average_precision(images, detections, self.data.classes)
        if values:  # else there is no object in any image
            values["ap50_voc"] = voc_precision(images, detections)
        ids = self.data.category_ids
        return Evaluation(values, lambda: results_file(images, detections, ids))

    @torch.no_grad()
    def detections(self, model: nn.Module, side: int) -> dict[int, Detections]:
        """Detections of a model in each validation image, in its own pixels, by its index.

        It sees images of a side of so many pixels.
        """
        images, canvas = self.data.validation, self.canvas(side)

        def read(indices: np.ndarray) -> _Batch:
            parts = ((images.image(i), images.targets(i), i) for i in indices.tolist())
            return self._batch([letterbox(*part, canvas) for part in parts])

        detections: dict[int, Detections] = {}
        for batch in prefetch(read, in_order(len(images), self.recipe.images_in_validation)):
            inputs, logits, deltas = self._predicted(model, batch.pixels)
            letterboxes = [one.letterbox for one in batch.samples if one.letterbox is not None]
            every = detect(logits, deltas, self.anchors(inputs), letterboxes, _SELECTION)
            for sample, one in zip(batch.samples, every, strict=True):
                detections[sample.index] = Detections(*(part.cpu() for part in one))
        return detections

    def _batch(self, samples: Sequence[Sample]) -> _Batch:
        pixels = torch.stack([one.pixels for one in samples])
        return _Batch(self.pinned(pixels), samples, self._objects(samples))

    def _objects(self, samples: Sequence[Sample]) -> Objects:
        objects = objects_of((one.boxes, one.labels, one.crowd) for one in samples)
        return _each(self.pinned, objects)

    def _predicted(self, model: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The input [N, C, R, R], class logits and box deltas in float32."""
        images = self.normalised(pixels)
        with self.autocast():
            logits, deltas = model(images)
        return images, logits.float(), deltas.float()


def _each(change: Callable[[Tensor], Tensor], objects: Objects) -> Objects:
    """Objects whose tensors were changed."""
    return replace(
        objects,
        boxes=change(objects.boxes),
        labels=change(objects.labels),
        crowds=change(objects.crowds),
    )


def loss_without_objects(outputs: tuple[Tensor, Tensor]) -> Tensor:
    """The loss of a detector's outputs for images without objects: what memory is measured with."""
    logits, deltas = outputs
    none = torch.zeros(0, dtype=torch.int64, device=logits.device)
    bare = Match(anchors=none, labels=none, deltas=deltas.new_zeros(0, 4), ignored=none)
    return detection_loss(logits, deltas, [bare] * len(logits)).total
