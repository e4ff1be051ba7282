"""Draws from torch's own generator, in the order in which torchvision draws."""

from __future__ import annotations

import torch


class TorchDraws:
    """What torchvision draws from the same state, number by number."""

    def uniform(self, low, high):
        if (low, high) == (0, 1):
            return float(torch.rand(()))
        return torch.empty(1).uniform_(low, high).item()

    def integer(self, count):
        return int(torch.randint(count, ()))
