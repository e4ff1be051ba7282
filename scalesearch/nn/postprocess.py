"""From a detector's raw outputs to detections: boxes with scores and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scalesearch.arch import check
from scalesearch.nn.boxes import decode, overlaps

_GROUP = 64  # logits of which only the largest is compared at first
_CHUNK = 200  # boxes that are suppressed at once, best first: mostly one chunk is enough


class Detections(NamedTuple):
    """The detections in one image, best first.

    Attributes:
        boxes: float32 [M, 4] as x0, y0, x1, y1 in pixels.
        scores: float32 [M] from 0 to 1.
        labels: int64 [M], 0 to K - 1.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Letterbox(NamedTuple):
    """How an image was resized and placed in the network's input.

    Attributes:
        size: height and width of the original image.
        inner: height and width of the resized image.
        top, left: pixels of the input above and left of it.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    top: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which predictions become detections.

    Attributes:
        candidates: best pairs of anchor and class that are considered in each image.
        detections: the most in each image.
        min_score: scores are above it.
        suppress: `hard` drops boxes that overlap a better one of their class by more than `overlap`
            (intersection over union); `soft` multiplies their scores by exp(-overlap^2 / sigma)
            instead (Bodla et al. 2017, equation 3).
    """

    candidates: int = 5000
    detections: int = 100
    min_score: float = 0.0
    suppress: str = "hard"
    overlap: float = 0.5
    sigma: float = 0.5

    def __post_init__(self) -> None:
        for key in ("candidates", "detections"):
            check.whole(key, getattr(self, key))
        for key in ("min_score", "overlap"):
            check.share(self, key)
        check.above_zero("sigma", self.sigma)
        check.one_of("suppress", self.suppress, ("hard", "soft"))


@torch.no_grad()
def detect(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    letterboxes: Sequence[Letterbox],
    selection: Selection = Selection(),
) -> list[Detections]:
    """The detections in each of N images, in pixels of the original image, clipped to it.

    Predictions that are not finite are never detections.

    Args:
        logits: of the classes, [N, A, K].
        deltas: of the boxes, [N, A, 4].
        anchors: [A, 4].
        letterboxes: how each image was placed in the network's input.
        selection: which predictions become detections.
    """
    return [
        detect_one(predictions, anchors, letterbox, selection)
        for *predictions, letterbox in zip(logits, deltas, letterboxes, strict=True)
    ]


def detect_one(
    predictions: Sequence[Tensor], anchors: Tensor, letterbox: Letterbox, selection: Selection
) -> Detections:
    """The detections in one image: its logits [A, K] and deltas [A, 4], as `detect` takes them."""
    logits, deltas = predictions
    flat = logits.flatten()
    position = best(flat, selection.candidates)
    anchor = position // logits.shape[1]
    scores = flat[position].float().sigmoid()
    boxes = _clipped(decode(deltas[anchor], anchors[anchor]), letterbox)
    sound = (scores > selection.min_score) & boxes.isfinite().all(1)
    boxes, scores, labels = boxes[sound], scores[sound], (position % logits.shape[1])[sound]
    kept, scores = _SUPPRESS[selection.suppress](boxes, scores, labels, selection)
    return Detections(_original(boxes[kept], letterbox), scores, labels[kept])


def best(values: Tensor, count: int) -> Tensor:
    """The indices of the `count` largest of `values` [M], largest first, equal ones in order.

    As `topk`, but much faster on a CPU for 5,000 of the 4.4 million of D0. The largest of each
    group are compared first: at least `count` values reach the least of the best `count` of them,
    and but for equal ones all that do so are in these groups.
    """
    size = min(_GROUP, len(values) // (2 * count))
    groups = len(values) // max(size, 1)
    position = torch.arange(size * groups, len(values), device=values.device)
    if size:
        # A group is a column, so that the maximum is taken of whole rows.
        table = values[: size * groups].view(size, groups)
        least, column = table.amax(0).topk(count, sorted=False)
        row, group = (table.index_select(1, column) >= least.min()).nonzero().unbind(1)
        position = torch.cat([(row * groups + column[group]).sort().values, position])
    order = values[position].sort(descending=True, stable=True).indices
    return position[order[:count]]


def _clipped(boxes: Tensor, letterbox: Letterbox) -> Tensor:
    """Boxes of the input relative to the resized image's corner, clipped to this image."""
    height, width = letterbox.inner
    boxes = boxes - boxes.new_tensor([letterbox.left, letterbox.top] * 2)
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def _original(boxes: Tensor, letterbox: Letterbox) -> Tensor:
    """Boxes relative to the resized image's corner in pixels of the original image."""
    (height, width), (rows, columns) = letterbox.size, letterbox.inner
    scales = boxes.new_tensor([width / columns, height / rows] * 2)
    return (boxes * scales).minimum(boxes.new_tensor([width, height] * 2))


def _hard(
    boxes: Tensor, scores: Tensor, labels: Tensor, selection: Selection
) -> tuple[Tensor, Tensor]:
    """The boxes that no better, kept box of their class suppresses; and their scores.

    Later boxes cannot suppress earlier ones, so it stops as soon as enough are kept.
    """
    # In float64, which rounds no overlap of float32 boxes across the limit.
    wide, kept = boxes.double(), labels.new_empty(0)
    for start in range(0, len(scores), _CHUNK):
        some = torch.arange(start, min(start + _CHUNK, len(scores)), device=scores.device)
        some = some[~_over(wide, labels, some, kept, selection.overlap).any(1)]
        kept = torch.cat(
            [kept, some[_unsuppressed(_over(wide, labels, some, some, selection.overlap))]]
        )
        if len(kept) >= selection.detections:
            break
    kept = kept[: selection.detections]
    return kept, scores[kept]


def _over(boxes: Tensor, labels: Tensor, some: Tensor, others: Tensor, overlap: float) -> Tensor:
    """Which of some boxes overlap which others of their class too much, bool [some, others]."""
    return (overlaps(boxes[some], boxes[others]) > overlap) & (labels[some, None] == labels[others])


def _unsuppressed(over: Tensor) -> Tensor:
    """Which of M boxes, best first, no better box that is kept itself suppresses; `over`: [M, M].

    The fixed point of a rule for all boxes at once. The first box is always kept, and each round
    decides at least the next one, mostly many.
    """
    better = over.tril(-1)
    kept = ~better.any(1)
    while True:
        again = ~(better & kept).any(1)
        if torch.equal(again, kept):
            return kept
        kept = again


def _soft(
    boxes: Tensor, scores: Tensor, labels: Tensor, selection: Selection
) -> tuple[Tensor, Tensor]:
    """Keeps the best box again and again, lowering the scores of those that it overlaps.

    Returns the kept boxes, and their scores at that time.
    """
    # Sorted by class, so that a box lowers the scores of one slice; a CPU is best at small steps.
    order = labels.argsort(stable=True)
    boxes, left, owner = boxes[order].cpu(), scores[order].cpu(), labels[order].tolist()
    ends = [0, *labels.bincount().cumsum(0).tolist()]
    kept: list[int] = []
    values: list[float] = []
    for _ in range(min(selection.detections, len(scores))):
        index = int(left.argmax())
        value = float(left[index])
        if value <= selection.min_score:
            break
        kept.append(index)
        values.append(value)
        same = slice(ends[owner[index]], ends[owner[index] + 1])
        overlap = overlaps(boxes[index : index + 1], boxes[same])[0]
        left[same] *= overlap.square_().div_(-selection.sigma).exp_()
        left[index] = -1.0
    return order[kept], scores.new_tensor(values)


_SUPPRESS = {"hard": _hard, "soft": _soft}
