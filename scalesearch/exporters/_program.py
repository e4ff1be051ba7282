"""A network as a program without our code: what the ONNX and the torch.export exporter share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from scalesearch.arch.detector import Architecture
from scalesearch.arch.graph import Size
from scalesearch.errors import UserError

# Outputs on random images may differ by so much of the largest: other kernels sum in other orders.
TOLERANCE = 1e-4
_BATCHES = (1, 3)
Outputs = Tensor | Sequence[Tensor]


def program(model: nn.Module, net: Architecture, size: Size) -> ExportedProgram:
    """A network's operations on images [batch, C, *size], any batch >= 1."""
    model.requires_grad_(False)
    batch = Dim("batch", min=1)
    # Traced with two images, as torch takes a batch of one for a constant.
    with torch.no_grad():
        traced = torch.export.export(
            model, (random_images(net, size, 2),), dynamic_shapes=({0: batch},), strict=False
        )
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return traced


def check_outputs(
    run: Callable[[Tensor], Outputs],
    model: Callable[[Tensor], Outputs],
    images: Callable[[int], Tensor],
    path: Path,
) -> float:
    """The largest difference between what `run` and the model give for random images.

    It is a share of the largest value of each output, over a single image and a batch.

    Args:
        run: what would be written.
        model: the network itself.
        images: a number of images to a batch of so many.
        path: of the file, for the message.

    Raises:
        UserError: it is above `TOLERANCE`, or not a number.
    """
    worst = 0.0
    for batch in _BATCHES:
        some = images(batch)
        with torch.no_grad():
            pairs = zip(parts(run(some)), parts(model(some)), strict=True)
        for got, wanted in pairs:
            assert got.shape == wanted.shape
            difference = float((got - wanted).abs().max()) / (float(wanted.abs().max()) or 1.0)
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


def parts(outputs: Outputs) -> tuple[Tensor, ...]:
    """One output, or several, as a tuple."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def check_suffix(path: Path, suffix: str) -> None:
    """Refuses a file that is not called as its format asks."""
    if path.suffix != suffix:
        raise UserError(
            f"{path.name!r} does not end in {suffix}",
            file=str(path),
            hint=f"for example {str(path.with_suffix(suffix))!r}",
        )


def random_images(net: Architecture, size: Size, batch: int) -> Tensor:
    """Random images [batch, C, *size], the same each time."""
    generator = torch.Generator().manual_seed(batch)
    return torch.randn((batch, net.in_channels, *size), generator=generator)
