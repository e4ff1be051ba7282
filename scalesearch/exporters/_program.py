"""A network as a program without our code: what the ONNX and the torch.export exporter share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from scalesearch.arch.backbone import Backbone
from scalesearch.errors import UserError
from scalesearch.nn.backbone import Classifier

# Outputs on random images may differ by so much of the largest: other kernels sum in other orders.
TOLERANCE = 1e-4
_BATCHES = (1, 3)


def program(model: Classifier, net: Backbone) -> ExportedProgram:
    """A network's operations on images [batch, C, resolution, resolution], any batch >= 1."""
    model.requires_grad_(False)
    batch = Dim("batch", min=1)
    # Traced with two images, as torch takes a batch of one for a constant.
    with torch.no_grad():
        traced = torch.export.export(
            model, (_images(net, 2),), dynamic_shapes={"images": {0: batch}}, strict=False
        )
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return traced


def check_outputs(
    run: Callable[[Tensor], Tensor], model: Classifier, net: Backbone, path: Path
) -> float:
    """The largest difference between what `run` and the model give for random images.

    It is a share of the largest output, over a single image and a batch.

    Raises:
        UserError: it is above `TOLERANCE`, or not a number.
    """
    worst = 0.0
    for batch in _BATCHES:
        images = _images(net, batch)
        with torch.no_grad():
            wanted = model(images)
        got = run(images)
        assert got.shape == wanted.shape
        scale = float(wanted.abs().max()) or 1.0
        difference = float((got - wanted).abs().max()) / scale
        if not difference <= TOLERANCE:  # written so that NaN is refused
            raise UserError(
                f"what would be written computes something else than the network: for {batch} "
                f"random images the outputs differ by {difference:.1e} of the largest",
                file=str(path),
                allowed=f"at most {TOLERANCE:.0e}",
                hint="weights that are not finite, or a library's fault: try another version",
            )
        worst = max(worst, difference)
    return worst


def check_suffix(path: Path, suffix: str) -> None:
    """Refuses a file that is not called as its format asks."""
    if path.suffix != suffix:
        raise UserError(
            f"{path.name!r} does not end in {suffix}",
            file=str(path),
            hint=f"for example {str(path.with_suffix(suffix))!r}",
        )


def _images(net: Backbone, batch: int) -> Tensor:
    """Random images [batch, C, resolution, resolution], the same each time."""
    generator = torch.Generator().manual_seed(batch)
    size = (batch, net.in_channels, net.resolution, net.resolution)
    return torch.randn(size, generator=generator)
