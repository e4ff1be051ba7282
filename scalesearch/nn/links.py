"""A classifier as a chain of functions, one for each block of the walk, to be timed one by one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from scalesearch.nn.backbone import Classifier

Link = Callable[[Tensor], Tensor]


def links(model: Classifier) -> tuple[Link, ...]:
    """Stem, every block, and head: called one after the other they are the model's forward pass.

    In the order of `arch.walk`, each part as often as it repeats.
    """

    def stem(images: Tensor) -> Tensor:
        return model.stem_pool(model.stem(images))

    def head(x: Tensor) -> Tensor:
        x = model.pool(model.head(x)).flatten(1)
        return model.classifier(model.dropout(x))

    blocks = (block for stage in model.stages for block in stage.children())
    return (stem, *blocks, head)
