"""What a factory's network gives for images: logits, while it is trained, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.arch.factory import Factory, declared
from scalesearch.errors import UserError


def cross_entropy(net: Factory, outputs: Any) -> Tensor:
    """Cross entropy of what a network gives while it is trained, if that is logits."""
    check_logits(net, outputs, "in training")
    labels = torch.zeros(len(outputs), dtype=torch.int64, device=outputs.device)
    return nn.functional.cross_entropy(outputs, labels)


def check_logits(net: Factory, outputs: Any, when: str, images: int | None = None) -> None:
    """Rejects outputs that are not a row for each image and a column for each class."""
    shape = list(outputs.shape) if isinstance(outputs, Tensor) else None
    if shape is not None and shape == [images or shape[0], net.num_classes]:
        return
    rows = "N" if images is None else images
    raise UserError(
        f"{net.factory} builds a network that gives {shape or type(outputs).__name__} {when}",
        key="factory",
        allowed=f"logits [{rows}, {net.num_classes}]: a row for each image, a column for each "
        "class",
        hint="" if "num_classes" in declared(net) else "let it take `num_classes`",
    )


@contextmanager
def training(net: Factory, model: nn.Module) -> Iterator[None]:
    """Adds to an error of training what to do about auxiliary classifiers."""
    try:
        yield
    except UserError as error:
        if not getattr(model, "aux_logits", False):
            raise
        raise UserError(
            f"{net.factory} has auxiliary classifiers while it is trained: {error.problem}",
            key="factory",
            allowed="a network that gives logits [N, K] alone",
            hint="write `options: {aux_logits: false}`",
        ) from error
