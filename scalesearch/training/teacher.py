"""A network that another one learns from (Hinton, Vinyals & Dean 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.errors import UserError
from scalesearch.files.architecture import architecture
from scalesearch.nn.build import build
from scalesearch.nn.weights import load_weights
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
    images = {"num_classes": len(data.classes), "in_channels": data.channels}
    try:
        network = architecture(recipe.teacher, **images)
    except UserError as error:
        raise error.at(under="teacher") from None
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn, and thrown away
        model = build(network)
    try:
        load_weights(model, recipe.teacher_weights)
    except UserError as error:
        raise error.at(under="teacher_weights") from None
    model.requires_grad_(False)
    return model.to(device).to(memory_format=torch.channels_last).eval()


def distillation(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """How far a network's softened outputs are from its teacher's: Kullback-Leibler divergence.

    Times the square of the temperature, so that its gradient is of the size of cross entropy's.
    """
    ours = functional.log_softmax(logits / temperature, 1)
    theirs = functional.log_softmax(taught / temperature, 1)
    apart = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return apart * temperature**2
