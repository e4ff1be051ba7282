"""A detector that decodes, selects and suppresses in its own graph, as an ONNX file can hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.exporters._export_task import ExportTask
from scalesearch.nn.anchors import anchor_boxes
from scalesearch.nn.boxes import decode
from scalesearch.nn.postprocess import Detections, Letterbox, Selection, detect


class PaddedDetections(NamedTuple):
    """The detections in N images, each padded to M of them: [N, M, 4], [N, M], [N, M], [N]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    counts: Tensor


DETECTIONS = PaddedDetections._fields
_OVERLAP_SLACK = 1e-5  # rounding of an overlap in float32
_BOX_SLACK = 1e-5  # as a share of the image's longer side


class WithDetections(nn.Module):
    """Images of one size to their detections, padded to the same number for every image."""

    def __init__(self, model: nn.Module, task: ExportTask, selection: Selection) -> None:
        super().__init__()
        self.model, self.selection = model, selection
        anchors = _anchors(task)
        self.register_buffer("anchors", anchors, persistent=False)
        corner = torch.tensor(task.size[::-1] * 2, dtype=torch.float32)
        self.register_buffer("corner", corner, persistent=False)
        self.candidates = min(selection.candidates, len(anchors) * task.net.num_classes)
        self.most = min(selection.detections, self.candidates)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [N, C, H, W] to `DETECTIONS`, then the raw outputs."""
        logits, deltas = self.model(images)
        classes, count = logits.shape[-1], self.candidates
        best, position = logits.flatten(1).topk(count, 1)
        scores, labels, anchor = best.sigmoid(), position % classes, position // classes
        boxes = decode(_rows(deltas, anchor), self.anchors[anchor])  # type: ignore[index]
        boxes = boxes.clamp(min=0).minimum(self.corner)  # type: ignore[arg-type]
        # By ranks, which no runtime's sigmoid can round into another order, as it can scores.
        ranks = torch.arange(count, 0, -1).float() * (scores > self.selection.min_score)
        kept = torch.ops.scalesearch.suppress(
            boxes, ranks, labels, classes, self.most, self.selection.overlap
        )
        left, index = (ranks * kept).topk(self.most, 1)
        real = left > 0
        detections = PaddedDetections(
            boxes=_rows(boxes, index) * real.unsqueeze(-1),
            scores=scores.gather(1, index) * real,
            labels=torch.where(real, labels.gather(1, index), -1),
            counts=real.sum(1),
        )
        return *detections, logits, deltas


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Of [N, A, 4] the rows [N, M, 4] that `index` [N, M] names."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


@torch.library.custom_op("scalesearch::suppress", mutates_args=())
def suppress(
    boxes: Tensor, ranks: Tensor, labels: Tensor, classes: int, most: int, overlap: float
) -> Tensor:
    """Which of the boxes [N, M, 4] are not suppressed by a better one of their class, bool [N, M].

    `ranks` are larger for better ones and 0 for those that do not count; of each of `classes` only
    the best `most` are kept. It is traced and never run: `translated` is what it does.
    """
    raise NotImplementedError("it is written into an ONNX graph, and has no kernel of its own")


@suppress.register_fake
def _(
    boxes: Tensor, ranks: Tensor, labels: Tensor, classes: int, most: int, overlap: float
) -> Tensor:
    return torch.empty_like(ranks, dtype=torch.bool)


def translations() -> dict[Any, Callable[..., Any]]:
    """Our operation to what it is in ONNX's."""
    return {torch.ops.scalesearch.suppress.default: translated}


def translated(boxes: Any, ranks: Any, labels: Any, classes: int, most: int, overlap: float) -> Any:
    """`suppress` as ONNX's NonMaxSuppression, which has a row of scores for each class.

    So boxes need not be shifted to separate classes, which would round them.
    """
    from onnxscript import opset18

    op: Any = opset18  # its own types know no constants
    rows = op.Unsqueeze(op.Constant(value_ints=list(range(classes))), [0, 2])
    own = op.Equal(op.Unsqueeze(labels, [1]), rows)
    table = op.Where(own, op.Unsqueeze(ranks, [1]), op.Constant(value_float=0.0))
    limits = (
        op.Constant(value_ints=[most]),
        op.Constant(value_floats=[overlap]),
        op.Constant(value_floats=[0.0]),
    )
    taken = op.NonMaxSuppression(boxes, table, *limits)  # image, class, box
    position = op.Gather(taken, op.Constant(value_ints=[0, 2]), axis=1)
    ones = op.Expand(op.Constant(value_float=1.0), op.Shape(taken, start=0, end=1))
    marked = op.ScatterND(op.Mul(ranks, op.Constant(value_float=0.0)), position, ones)
    return op.Greater(marked, op.Constant(value_float=0.0))


def check_detections(
    outputs: tuple[Tensor, ...], task: ExportTask, selection: Selection, path: Path
) -> None:
    """Rejects detections that do not follow from the raw outputs beside them as `detect` has it.

    An overlap that is the limit but for rounding may fall on either side.
    """
    named = dict(zip((*DETECTIONS, *task.outputs), outputs, strict=True))
    raw = named["logits"], named["box_deltas"]
    letterboxes = [Letterbox(task.size, task.size)] * len(outputs[0])
    limits = [selection.overlap + by for by in (0.0, -_OVERLAP_SLACK, _OVERLAP_SLACK)]
    allowed = [
        detect(*raw, _anchors(task), letterboxes, replace(selection, overlap=overlap))
        for overlap in (min(max(limit, 0.0), 1.0) for limit in limits)
    ]
    slack = _BOX_SLACK * max(task.size)
    for image, count in enumerate(named["counts"].tolist()):
        given = Detections(*(named[key][image, :count] for key in Detections._fields))
        if not any(_same(given, detections[image], slack) for detections in allowed):
            raise UserError(
                f"what would be written has other detections in a random image: {count}, "
                f"not the {len(allowed[0][image].scores)} that follow from the raw outputs",
                file=str(path),
                hint="a library's fault: try another version, or export with outputs: raw",
            )


def _anchors(task: ExportTask) -> Tensor:
    assert task.detector is not None
    return anchor_boxes(task.detector.anchors, task.detector.neck.levels, task.size)


def _same(one: Detections, other: Detections, slack: float) -> bool:
    return (
        torch.equal(one.labels, other.labels)
        and torch.allclose(one.scores, other.scores, rtol=0, atol=1e-5)
        and torch.allclose(one.boxes, other.boxes, rtol=0, atol=slack)
    )
