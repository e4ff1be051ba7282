"""A small network of one's own, as a function of depth, width and resolution."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def build(
    depth: float, width: float, resolution: int, num_classes: int = 10, in_channels: int = 1
) -> nn.Module:
    """Four convolutions and a linear layer; depth multiplies the last two, width all channels.

    `resolution` changes nothing here: the convolutions take images of any side.
    """
    repeats = round(2 * depth)
    channels = [in_channels, *(round(number * width) for number in (8, 16, *[32] * repeats))]
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(channels)):
        stride = 2 if number in (1, 2) else 1
        layers += [nn.Conv2d(before, after, 3, stride, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], num_classes)]
    return nn.Sequential(*layers)
