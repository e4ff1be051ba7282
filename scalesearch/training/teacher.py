"""A network that another one learns from (Hinton, Vinyals & Dean 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.arch.detector import Architecture
from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture
from scalesearch.nn.build import build
from scalesearch.nn.weight_files import read_weights
from scalesearch.nn.weights import LoadReport, load_weights, matched, needed_by
from scalesearch.training.recipe import Recipe

if TYPE_CHECKING:
    from scalesearch.interfaces import ImageData


def load_teacher(recipe: Recipe, data: ImageData, device: torch.device) -> nn.Module | None:
    """The teacher of a recipe with its weights, in evaluation mode; None if it has none.

    Raises:
        UserError: there is no such network or file, or the weights are not all of the network's.
    """
    if recipe.teacher is None or recipe.teacher_weights is None:
        return None
    net, _ = _taken(recipe, len(data.classes), data.channels)
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn, and thrown away
        model = build(net)
    load_weights(model, recipe.teacher_weights)
    model.requires_grad_(False)
    return model.to(device).to(memory_format=torch.channels_last).eval()


def teacher_notes(recipe: Recipe, net: Architecture) -> tuple[str, ...]:
    """What the teacher is, for networks such as this one.

    Raises:
        UserError: as of `load_teacher`.
    """
    if recipe.teacher is None or recipe.teacher_weights is None:
        return ()
    _, report = _taken(recipe, net.num_classes, net.in_channels)
    return (f"teacher {recipe.teacher}: {report} from {recipe.teacher_weights.name}",)


def _taken(recipe: Recipe, num_classes: int, in_channels: int) -> tuple[Architecture, LoadReport]:
    """The teacher's network, and what of it the file has: all."""
    assert recipe.teacher is not None
    assert recipe.teacher_weights is not None
    try:
        net = architecture(recipe.teacher, num_classes=num_classes, in_channels=in_channels)
    except UserError as error:
        raise error.at(under="teacher") from None
    try:
        _, report = matched(needed_by(net), read_weights(recipe.teacher_weights))
        report.check()
    except UserError as error:
        raise error.at(under="teacher_weights") from None
    return net, report


def distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """How far a network's softened outputs are from its teacher's: Kullback-Leibler divergence.

    Times the square of the temperature, so that its gradient is of the size of cross entropy's.
    """
    ours = functional.log_softmax(logits / temperature, 1)
    theirs = functional.log_softmax(taught / temperature, 1)
    apart = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return apart * temperature**2
