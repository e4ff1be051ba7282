"""A network as an ONNX file, for ONNX Runtime, TensorRT, OpenVINO and others."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scalesearch.arch import check
from scalesearch.arch.detector import Architecture
from scalesearch.errors import UserError
from scalesearch.exporters._export_task import check_size, check_suffix, export_task
from scalesearch.exporters._facts import facts

if TYPE_CHECKING:
    from torch import Tensor

# What writing takes beyond torch.
_NEEDED = ("onnx", "onnxscript")
_DETECTIONS = (
    "the detections in each image, best first: boxes [batch, M, 4] as x0, y0, x1, y1 in pixels, "
    "scores and labels [batch, M], and counts [batch] of the rows that hold a detection"
)
# Options that are of detections alone.
_SELECTING = ("candidates", "detections", "min_score", "overlap")


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes `NAME.onnx`: input `images` [batch, C, height, width] for any batch.

    A classifier outputs `logits` [batch, classes], a detector `logits` [batch, anchors, classes]
    and `box_deltas` [batch, anchors, 4]. With `outputs: detections` the file of a detector decodes
    and suppresses, and outputs the same number of rows for each image, best first: `boxes`
    [batch, M, 4] as x0, y0, x1, y1 in pixels of the input, `scores` and `labels` [batch, M], and in
    `counts` [batch] how many of the rows are detections; the others hold 0, and -1 as label.

    The facts about the network are the file's metadata, those that are not text as JSON. Before it
    is written ONNX's checker reads it, and ONNX Runtime, where that is installed, runs it beside
    the network on random images; otherwise there is a warning.

    Attributes:
        fold: batch norms are folded into convolutions; outputs differ by rounding. What a factory
            builds is exported as it is.
        size: height and width of the images, which the file fixes; the network's own by default.
        outputs: `raw`, or of a detector `detections`.
        candidates, detections, min_score, overlap: which predictions become detections, as in
            `nn.postprocess.Selection`: the best pairs of anchor and class that are considered in
            each image, the most detections, the score that they exceed, and the intersection over
            union with a better one of the same class above which a box is suppressed.

    Raises:
        UserError: onnx or onnxscript is not installed.
    """

    suffix: ClassVar[str] = ".onnx"

    fold: bool = True
    size: tuple[int, int] | None = None
    outputs: str = "raw"
    candidates: int = 5000
    detections: int = 100
    min_score: float = 0.0
    overlap: float = 0.5

    def __post_init__(self) -> None:
        check.yes_or_no("fold", self.fold)
        check_size(self)
        check.one_of("outputs", self.outputs, ("raw", "detections"))
        for key in ("candidates", "detections"):
            check.whole(key, getattr(self, key))
        for key in ("min_score", "overlap"):
            check.share(self, key)
        for key in _SELECTING:
            if self.outputs == "raw" and getattr(self, key) != getattr(type(self), key):
                raise UserError(
                    f"raw outputs have no {key}", key=key, hint="ask for outputs: detections"
                )
        # Checked when a study is read, not after all of its training.
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"an ONNX file cannot be written without {' and '.join(missing)}",
                hint="pip install 'scalesearch[onnx]'",
            )

    def export(
        self,
        architecture: Architecture,
        path: Path,
        weights: Mapping[str, Tensor] | None,
        about: Mapping[str, Any],
    ) -> Sequence[Path]:
        """The ONNX file, and `NAME.onnx.data` beside it for weights of 2 GB and more.

        Raises:
            UserError: another suffix, weights or facts that do not fit, outputs that differ,
                detections of a classifier.
        """
        from scalesearch.exporters._onnx_file import OnnxFile, write_onnx
        from scalesearch.nn.postprocess import Selection

        check_suffix(path, self.suffix)
        task = export_task(architecture, self.size)
        selection = None
        if self.outputs == "detections":
            if task.detector is None:
                raise UserError("a classifier has no detections", key="outputs", allowed="raw")
            selection = Selection(**{key: getattr(self, key) for key in _SELECTING})
        known = facts(task, path.stem, about, _DETECTIONS if selection else None)
        file = OnnxFile(task=task, path=path, fold=self.fold, selection=selection)
        return write_onnx(file, weights, known)
