"""What differs between an exported classifier and an exported detector, stated once for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalesearch.arch import check
from scalesearch.arch.backbone import Backbone
from scalesearch.arch.detector import Architecture, Detector
from scalesearch.arch.factory import Factory
from scalesearch.errors import UserError

Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True, kw_only=True)
class ExportTask:
    """A network to export, and what formats write of its kind.

    Attributes:
        net: the network.
        detector: the same if it detects objects; None for a classifier.
        backbone: the network that has the stages; None for what a factory builds.
        size: height and width of the images.
        outputs: name of each raw output to its shape behind the batch.
        kind: `Image classifier` or `Object detector`.
        summary: the network in a few words.
        module, constructor: the class in `nn/` that is built from `constants`.
        constants: the descriptions that it is built from, by their names in an exported file.
        functions: what an exported file offers beside `build`.
        usage: lines of code that show these.
        class_order: the outputs that follow the order of the classes.
    """

    net: Architecture
    detector: Detector | None = None
    backbone: Backbone | None
    size: Size
    outputs: dict[str, tuple[int, ...]]
    kind: str
    summary: str
    module: str
    constructor: str
    constants: dict[str, object]
    functions: tuple[str, ...] = ()
    usage: tuple[str, ...] = ()
    class_order: str = "logits"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.net.in_channels, *self.size

    @property
    def described_outputs(self) -> str:
        """The raw outputs in words."""
        return " and ".join(
            f"{name} [batch, {', '.join(map(str, shape))}]" for name, shape in self.outputs.items()
        )


def export_task(net: Architecture, size: Size | None = None) -> ExportTask:
    """The task for images of `size`, or of the network's own resolution."""
    size = size or (net.resolution, net.resolution)
    if isinstance(net, Detector):
        return _detector(net, size)
    return _of_factory(net, size) if isinstance(net, Factory) else _classifier(net, size)


def _classifier(net: Backbone, size: Size) -> ExportTask:
    return ExportTask(
        net=net,
        backbone=net,
        size=size,
        outputs={"logits": (net.num_classes,)},
        kind="Image classifier",
        summary=f"{net.depth} blocks in {len(net.stages)} stages",
        module="scalesearch.nn.backbone",
        constructor="Classifier",
        constants={"ARCHITECTURE": net},
    )


def _of_factory(net: Factory, size: Size) -> ExportTask:
    return ExportTask(
        net=net,
        backbone=None,
        size=size,
        outputs={"logits": (net.num_classes,)},
        kind="Image classifier",
        summary=net.call,
        module="torch.nn",
        constructor="Module",
        constants={},
    )


def _detector(net: Detector, size: Size) -> ExportTask:
    pixels = (math.prod(-(-side // 2**level) for side in size) for level in net.neck.levels)
    anchors = net.anchors.count * sum(pixels)
    blocks = f"{net.depth} blocks in {len(net.backbone.stages)} stages"
    return ExportTask(
        net=net,
        detector=net,
        backbone=net.backbone,
        size=size,
        outputs={"logits": (anchors, net.num_classes), "box_deltas": (anchors, 4)},
        kind="Object detector",
        summary=f"{blocks}, neck {net.neck.label}, heads d{net.heads.depth}",
        module="scalesearch.nn.detector",
        constructor="DetectorNet",
        constants={"ARCHITECTURE": net, "NODES": net.nodes},
        functions=("detect",),
        usage=(
            "# Images may have any height and width.",
            "for boxes, scores, labels in detect(model, images):  # of each image, best first",
            "    ...  # [M, 4] as x0, y0, x1, y1 in pixels, [M], [M]",
        ),
        class_order="labels",
    )


def check_size(exporter: Any) -> None:
    """Rejects a `size` of images that is neither None nor two sides; makes a tuple of a list."""
    size = exporter.size
    if size is None:
        return
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise UserError(f"{size!r} cannot be used", key="size", allowed="[height, width]")
    for side in size:
        check.whole("size", side)
    object.__setattr__(exporter, "size", tuple(size))


def check_suffix(path: Path, suffix: str) -> None:
    """Rejects a file whose name does not end as its format asks."""
    if path.suffix != suffix:
        raise UserError(
            f"{path.name!r} does not end in {suffix}",
            file=str(path),
            hint=f"for example {str(path.with_suffix(suffix))!r}",
        )
