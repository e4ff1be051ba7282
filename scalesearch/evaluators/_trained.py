"""The scores of a network that was trained before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from scalesearch.training.loop import Task


def scores_of_trained(model: torch.nn.Module, task: Task[Any]) -> dict[str, float]:
    """What a model scores on a task's validation images, as at the end of a training."""
    import torch

    model.to(task.device)
    model.to(memory_format=torch.channels_last)
    with torch.no_grad(), task.cuda_math():
        return task.evaluate(model.eval(), task.side(task.recipe.epochs)).values
