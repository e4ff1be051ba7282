"""The weights that are exported, fitted to the network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from scalesearch.arch.detector import Architecture
from scalesearch.nn.backbone import Classifier
from scalesearch.nn.build import build
from scalesearch.nn.detector import DetectorNet
from scalesearch.nn.weight_files import unwrapped
from scalesearch.nn.weights import fit


def fitted(architecture: Architecture, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every weight of the network under its name, on the CPU; `UserError` if some do not fit."""
    with torch.device("meta"):  # shapes alone: no time, and no draw from the global generator
        needed = build(architecture).state_dict()
    state, report = fit(needed, unwrapped(weights))
    report.check()
    # Copies, as safetensors takes no tensors that share memory and none in channels_last.
    return {
        name: state[name]
        .detach()
        .to("cpu", shape.dtype)
        .clone(memory_format=torch.contiguous_format)
        if name in state
        else torch.zeros(shape.shape, dtype=shape.dtype)
        for name, shape in needed.items()
    }


def network(
    architecture: Architecture, weights: Mapping[str, Tensor] | None
) -> Classifier | DetectorNet:
    """The network in evaluation mode; without weights freshly drawn, the same each time."""
    state = None if weights is None else fitted(architecture, weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(architecture).eval()
    if state is not None:
        model.load_state_dict(state)
    return model
