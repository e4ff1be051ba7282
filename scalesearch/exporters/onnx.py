"""A network as an ONNX file, for ONNX Runtime, TensorRT, OpenVINO and others."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from scalesearch.arch import check
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.errors import UserError
from scalesearch.exporters._about import check_size, facts, raw_outputs, square

if TYPE_CHECKING:
    from torch import Tensor

# What writing takes beyond torch.
_NEEDED = ("onnx", "onnxscript")
_DETECTIONS = (
    "what is found in each image, best first: boxes [batch, M, 4] as x0, y0, x1, y1 in pixels, "
    "scores and labels [batch, M], and counts [batch] of the rows that hold a detection"
)
# Options that are of detections alone.
_SELECTING = ("candidates", "detections", "min_score", "overlap")


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes `NAME.onnx`: input `images` [batch, C, height, width] for any batch.

    A classifier puts out `logits` [batch, classes], a detector `logits` [batch, anchors, classes]
    and `codes` [batch, anchors, 4]. With `outputs: detections` a detector decodes and suppresses
    in the file, and puts out as many rows for each image, best first: `boxes` [batch, M, 4] as
    x0, y0, x1, y1 in pixels of the input, `scores` and `labels` [batch, M], and in `counts` [batch]
    how many of the rows are detections; the others hold 0, and -1 as label.

    What is known of the network are the file's metadata, whatever is no text as JSON. Before it is
    written ONNX's checker reads it, and ONNX Runtime, where that is installed, runs it beside the
    network on random images; where not, a warning says so.

    Attributes:
        fold: batch norms are folded into convolutions; outputs differ by rounding.
        size: height and width of the images, which the file fixes; the network's own by default.
        outputs: `raw`, or of a detector `detections`.
        candidates, detections, min_score, overlap: which predictions are taken as detections:
            how many best pairs of anchor and class are looked at in each image, how many are put
            out at most, what their scores are above, and by how much (intersection over union) they
            may overlap a better one of their class.

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
        # Asked when a study is read: its end, after all the training, is a bad time to hear it.
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
        from scalesearch.exporters._onnx import Job, written
        from scalesearch.exporters._program import check_suffix
        from scalesearch.nn.postprocess import Selection

        check_suffix(path, self.suffix)
        size, selection = self.size or square(architecture), None
        described = raw_outputs(architecture, size)
        if self.outputs == "detections":
            if not isinstance(architecture, Detector):
                raise UserError("a classifier has no detections", key="outputs", allowed="raw")
            selection = Selection(**{key: getattr(self, key) for key in _SELECTING})
            described = _DETECTIONS
        known = facts(architecture, path.stem, about, size, described)
        return written(Job(architecture, size, self.fold, selection, path), weights, known)
