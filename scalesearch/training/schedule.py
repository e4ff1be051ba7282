"""The learning rate over the steps of a run."""

from __future__ import annotations

import math


def factor(step: int, steps: int, warmup: float) -> float:
    """The share of the peak learning rate at `step` (from 0) of `steps`.

    It rises linearly over the first `warmup` share of the steps, reaches 1 right after, and falls
    as a half cosine that would reach 0 one step after the last (Loshchilov & Hutter 2017).
    """
    rising = min(round(steps * warmup), steps - 1)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
