"""Which GPUs this process may see, decided before torch looks for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from scalesearch.errors import UserError

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def hide_gpus() -> None:
    """Hides every GPU from this process for good."""
    os.environ[_VISIBLE] = ""


@contextmanager
def exactly(gpus: float) -> Iterator[None]:
    """Hides the GPUs of this process (0), or sees to it that there is one (1).

    Raises:
        UserError: torch found GPUs before they could be hidden, or there is none.
    """
    if gpus:
        import torch

        if not torch.cuda.is_available():
            raise UserError("torch sees no GPU here", key="gpus", allowed="0")
        yield
        return
    before = os.environ.get(_VISIBLE)
    hide_gpus()
    try:
        torch_here = sys.modules.get("torch")
        if torch_here is not None and torch_here.cuda.is_available():
            raise UserError(
                "this process has looked for GPUs already and cannot be kept off them",
                key="gpus",
                hint="set gpus: 1, or `executor: ray`, whose workers are processes of their own",
            )
        yield
    finally:
        del os.environ[_VISIBLE]
        if before is not None:
            os.environ[_VISIBLE] = before
