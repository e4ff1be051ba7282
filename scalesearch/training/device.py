"""Where a model is trained, in which precision, and with which random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scalesearch.errors import UserError


def pick_device(name: str) -> torch.device:
    """The torch device of a recipe's word; Ray shows a worker only the GPUs it was given.

    Raises:
        UserError: a GPU is asked for and the process sees none of that number.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    seen = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= seen:
        raise UserError(
            f"{name!r} cannot be used: this process sees {seen} GPUs",
            key="device",
            hint="give workers a GPU (execution.gpus), or set device: auto",
        )
    return device


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether forward passes run in mixed bf16 precision."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bf16"


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers that follow from `seed` inside, and the caller's own untouched outside."""
    on_gpu = device.type == "cuda"
    devices = list(range(torch.cuda.device_count())) if on_gpu else []
    was_deterministic = torch.backends.cudnn.deterministic
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = was_deterministic
