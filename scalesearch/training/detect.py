"""The task of detecting objects: focal and box loss, and average precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.arch.detector import Detector
from scalesearch.nn.anchors import AnchorBoxes
from scalesearch.nn.losses import Criterion, broken_images, detection_loss
from scalesearch.nn.matching import Match, Objects, match_batch, objects_of
from scalesearch.nn.postprocess import Detections, Selection, detect
from scalesearch.training.average_precision import average_precision, results_file
from scalesearch.training.batches import in_order
from scalesearch.training.loop import VALIDATION, Evaluation, Loss, Task
from scalesearch.training.recipe import DetectionRecipe
from scalesearch.training.samples import Canvas, Jitter, Sample, letterbox
from scalesearch.training.voc_precision import voc_precision

if TYPE_CHECKING:
    from scalesearch.interfaces import BoxData, BoxImages

# What a validation counts: COCO looks at the best 100 of an image.
_SELECTION = Selection()
_NAMED = 20  # images with a broken loss


@dataclass(frozen=True)
class BoxBatch:
    """Images in the network's input, uint8 [N, C, R, R], with what is known of each and of all."""

    pixels: Tensor
    samples: Sequence[Sample]
    objects: Objects

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.samples)

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> BoxBatch:
        """The batch of samples, whose pixels it takes."""
        pixels = torch.stack([one.pixels for one in samples])
        bare = [replace(one, pixels=pixels[:0]) for one in samples]
        return cls(pixels, bare, _objects(bare))

    def __reduce__(self) -> tuple[Any, ...]:
        """As a few arrays: a tensor on its way from another process takes an open file each."""
        empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
        boxes, labels, crowd = (
            np.concatenate([none, *(getattr(one, name).numpy() for one in self.samples)])
            for name, none in zip(("boxes", "labels", "crowd"), empty, strict=True)
        )
        places = [(len(one.labels), one.index, one.letterbox) for one in self.samples]
        return _unpacked, (self.pixels, boxes, labels, crowd, places)

    def part(self, images: slice) -> BoxBatch:
        """Some of its images with their objects."""
        samples = self.samples[images]
        return BoxBatch(self.pixels[images], samples, _objects(samples))

    def pin_memory(self) -> BoxBatch:
        """The same batch where it can be sent to a GPU without waiting."""
        objects = _each(Tensor.pin_memory, self.objects)
        return replace(self, pixels=self.pixels.pin_memory(), objects=objects)


def _unpacked(
    pixels: Tensor, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, places: list[Any]
) -> BoxBatch:
    """The batch that was pickled so."""
    ends = np.cumsum([count for count, _, _ in places]).tolist()
    objects = [torch.from_numpy(each) for each in (boxes, labels, crowd)]
    samples = []
    for end, (count, index, placed) in zip(ends, places, strict=True):
        own = (each[end - count : end] for each in objects)
        of_image = dict(zip(("boxes", "labels", "crowd"), own, strict=True))
        samples.append(Sample(pixels[:0], **of_image, index=index, letterbox=placed))
    return BoxBatch(pixels, samples, _objects(samples))


@dataclass(frozen=True)
class BoxReader:
    """Reads batches of images with their objects, in whatever process.

    Attributes:
        canvas: the network's input before an image is put into it.
        jitter: how training images are changed; None letterboxes them.
        seed: of the epoch, from which all draws follow.
    """

    canvas: Canvas
    jitter: Jitter | None = None
    seed: int = 0

    def __call__(self, images: BoxImages, indices: np.ndarray) -> BoxBatch:
        """The batch of these indices."""
        return BoxBatch.of([self._sample(images, index) for index in indices.tolist()])

    def _sample(self, images: BoxImages, index: int) -> Sample:
        image, targets = images.image(index), images.targets(index)
        if self.jitter is None:
            return letterbox(image, targets, index, self.canvas)
        draws = np.random.default_rng([self.seed, index])
        return self.jitter(image, targets, index, self.canvas, draws)


@dataclass(frozen=True, kw_only=True)
class Detection(Task[BoxBatch]):
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

    @property
    def changes_much(self) -> bool:
        """Images are always resized and laid into the input."""
        return True

    def reader(self, seed: int, side: int) -> BoxReader:
        """Batches of training images, jittered by draws from the seed."""
        augments = self.recipe.augment
        jitter = Jitter(self.recipe.jitter, self.data.flip) if augments else None
        return BoxReader(self.canvas(side), jitter, seed)

    def loss(self, model: nn.Module, batch: BoxBatch, normaliser: float | None = None) -> Loss:
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

    def normaliser(self, parts: Sequence[BoxBatch]) -> float:
        """How many anchors have an object, plus one; they are matched twice then."""
        every = [
            match_batch(self.anchors(self.sent(part.pixels)), _each(self.sent, part.objects))
            for part in parts
        ]
        return 1.0 + sum(len(match.anchors) for matches in every for match in matches)

    def part(self, batch: BoxBatch, images: slice) -> BoxBatch:
        """Some images with their objects."""
        return batch.part(images)

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
        order = in_order(len(self.data.validation), self.recipe.images_in_validation)
        detections: dict[int, Detections] = {}
        for batch in self.batches(VALIDATION, BoxReader(self.canvas(side)), order):
            inputs, logits, deltas = self._predicted(model, batch.pixels)
            letterboxes = [one.letterbox for one in batch.samples if one.letterbox is not None]
            every = detect(logits, deltas, self.anchors(inputs), letterboxes, _SELECTION)
            for sample, one in zip(batch.samples, every, strict=True):
                detections[sample.index] = Detections(*(part.cpu() for part in one))
        return detections

    def _predicted(self, model: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The input [N, C, R, R], class logits and box deltas in float32."""
        images = self.normalised(pixels)
        with self.autocast():
            logits, deltas = model(images)
        return images, logits.float(), deltas.float()


def _objects(samples: Sequence[Sample]) -> Objects:
    return objects_of((one.boxes, one.labels, one.crowd) for one in samples)


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
