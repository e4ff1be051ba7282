"""How many images at once fit into a GPU, by the memory that is predicted for a training step."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch

from scalesearch.arch.detector import Architecture
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Precision
from scalesearch.errors import TrialError, UserError
from scalesearch.training.batches import FEWEST
from scalesearch.training.device import autocast_dtype, pick_device
from scalesearch.training.recipe import CommonRecipe

Trained = TypeVar("Trained", bound=CommonRecipe)
# Of the free memory: the rest is for cuDNN's workspaces and what the allocator cannot use.
_USED = 0.85
_COUNTED: dict[torch.dtype | None, Precision] = {
    torch.bfloat16: "bf16",
    torch.float16: "float16",
    None: "float32",
}


def with_micro_batch(recipe: Trained, architecture: Architecture) -> Trained:
    """A recipe whose `micro_batch: auto` is a number for the device of this process.

    On a CPU, whose memory is shared with other workers and its operating system, it is the whole
    batch. One that says a number, or nothing, is left as it is.

    Raises:
        TrialError: not even two images fit.
        UserError: the process is to be deterministic.
    """
    if recipe.micro_batch != "auto":
        return recipe
    device = pick_device(recipe.device)
    if device.type != "cuda":
        return replace(recipe, micro_batch=None)
    if torch.backends.cudnn.deterministic:
        raise UserError(
            "how many images fit may differ from run to run, and batch norms see so many",
            key="micro_batch",
            allowed="a number, or null, with `execution: {deterministic: true}`",
        )
    free, _ = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    precision = _COUNTED[autocast_dtype(recipe.precision, device)]
    fitting = largest_micro_batch(recipe, architecture, _USED * (free + ours), precision)
    return replace(recipe, micro_batch=None if fitting == recipe.batch_size else fitting)


def largest_micro_batch(
    recipe: CommonRecipe, architecture: Architecture, memory: float, precision: Precision
) -> int:
    """The most images at once whose training step is predicted to take at most `memory` bytes.

    It is the batch, or divides it into parts that are as few and as equal as can be.

    Raises:
        TrialError: not even two images fit.
    """
    batch = recipe.batch_size

    def needed(images: int) -> int:
        workload = replace(recipe.workload, training_batch=images, precision=precision)
        return cost(architecture, workload=workload).training_bytes

    if needed(batch) <= memory:
        return batch
    least, most = 1, batch  # fits (or is not known to), does not fit
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if needed(middle) <= memory else (least, middle)
    if least < FEWEST:
        raise TrialError(
            f"a training step of {FEWEST} images is predicted to take "
            f"{needed(FEWEST) / 2**30:.1f} GiB, of {memory / 2**30:.1f} GiB that are free"
        )
    parts = -(-batch // least)
    return -(-batch // parts)
