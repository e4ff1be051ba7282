"""The torch network that is exported: with its weights, as a traced program, and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from scalesearch.arch.detector import Architecture
from scalesearch.arch.factory import Factory
from scalesearch.errors import UserError
from scalesearch.exporters._export_task import ExportTask
from scalesearch.nn.build import build
from scalesearch.nn.fold import fold
from scalesearch.nn.weight_sets import weight_set
from scalesearch.nn.weights import fit, needed_by

# Outputs on random images may differ by so much of the largest: other kernels sum in other orders.
TOLERANCE = 1e-4
_BATCHES = (1, 3)
Outputs = Tensor | Sequence[Tensor]
Network = Callable[[Tensor], Outputs]  # of images [N, C, H, W]


def fitted(architecture: Architecture, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every weight of the network under its name, on the CPU; `UserError` if some do not fit."""
    needed = needed_by(architecture)
    state, report = fit(needed, weight_set(weights).state)
    report.check()
    # Copies, as safetensors takes no tensors that share memory and none in channels_last.
    return {
        name: state.get(name, torch.zeros(like.shape))
        .detach()
        .to("cpu", like.dtype)
        .clone(memory_format=torch.contiguous_format)
        for name, like in needed.items()
    }


def network(architecture: Architecture, weights: Mapping[str, Tensor] | None) -> nn.Module:
    """The network in evaluation mode; without weights freshly drawn, the same each time."""
    state = None if weights is None else fitted(architecture, weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(architecture).eval()
    if state is not None:
        model.load_state_dict(state)
    return model


def folded(model: nn.Module, task: ExportTask) -> nn.Module:
    """The model with its batch norms folded; what a factory builds as it is.

    Which norm follows which convolution only its own code knows.
    """
    return model if isinstance(task.net, Factory) else fold(model)


def program(model: nn.Module, task: ExportTask) -> ExportedProgram:
    """The operations of a model on images [batch, C, *size], any batch >= 1."""
    model.requires_grad_(False)
    batch = Dim("batch", min=1)
    # Traced with two images, as torch takes a batch of one for a constant.
    with torch.no_grad():
        traced = torch.export.export(
            model, (random_images(task, 2),), dynamic_shapes=({0: batch},), strict=False
        )
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return traced


def check_outputs(run: Network, model: Network, task: ExportTask, path: Path) -> None:
    """Compares the outputs of `run`, which would be written to `path`, with those of the network.

    Raises:
        UserError: on random images they differ by more than `TOLERANCE` of an output's largest
            value, or are not numbers.
    """
    for batch in _BATCHES:
        images = random_images(task, batch)
        with torch.no_grad():
            pairs = zip(_parts(run(images)), _parts(model(images)), strict=True)
        for actual, expected in pairs:
            assert actual.shape == expected.shape
            largest = float(expected.abs().max()) or 1.0
            difference = float((actual - expected).abs().max()) / largest
            if not difference <= TOLERANCE:  # written so that NaN is rejected
                raise UserError(
                    f"what would be written computes something else than the network: for {batch} "
                    f"random images the outputs differ by {difference:.1e} of the largest",
                    file=str(path),
                    allowed=f"at most {TOLERANCE:.0e}",
                    hint="weights that are not finite, or a library's fault: try another version",
                )


def _parts(outputs: Outputs) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def random_images(task: ExportTask, batch: int) -> Tensor:
    """Random images [batch, C, *size], the same each time."""
    generator = torch.Generator().manual_seed(batch)
    return torch.randn((batch, *task.image_shape), generator=generator)
