"""Factories as people write them, and mistakes in them."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

FIVE = "studies.five_layers:build"


def network(width: int, classes: int, channels: int = 3) -> nn.Module:
    """The layers that follow have flops of 27 w s^2 + 2 w, for images of 3 x s x s, 2 classes."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes, bias=False),
    )


def wide(width: float, num_classes: int, base: int = 8) -> nn.Module:
    """Scales width, and resolution as all convolutions do."""
    return network(round(base * width), num_classes)


def wide_of_any(width: float, in_channels: int, num_classes: int) -> nn.Module:
    return network(round(64 * width), num_classes, in_channels)


def ignores_depth(depth: float, width: float, num_classes: int) -> nn.Module:
    return wide(width, num_classes)


def ignores_width(width: float, num_classes: int) -> nn.Module:
    return network(8, num_classes)


def grey_ignores(width: float, num_classes: int) -> nn.Module:
    return network(8, num_classes, channels=1)


class Resized(nn.Module):
    """Makes all images 8 x 8."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.resize, self.model = nn.AdaptiveAvgPool2d(8), model

    def forward(self, images):
        return self.model(self.resize(images))


def ignores_resolution(width: float, resolution: int, num_classes: int) -> nn.Module:
    return Resized(wide(width, num_classes))


def fails(depth: float) -> nn.Module:
    raise RuntimeError(f"no weights for {depth}")


def returns_text(width: float) -> str:
    return "a network"


def two_classes(width: float) -> nn.Module:
    return wide(width, 2)


def returns_pair(width: float, num_classes: int) -> nn.Module:
    model = network(round(8 * width), num_classes)
    return nn.Sequential(model, Twice())


class Twice(nn.Module):
    def forward(self, x):
        return x, x


def flat(num_classes: int) -> nn.Module:
    """Takes images of 16 x 16 alone."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes))


def drawn(width: float, num_classes: int) -> nn.Module:
    return network(random.randrange(8, 1_000_000), num_classes)


def drawn_by_torch(width: float, num_classes: int) -> nn.Module:
    return network(int(torch.randint(8, 1_000_000, ())), num_classes)


def drawn_by_numpy(width: float, num_classes: int) -> nn.Module:
    return network(int(np.random.randint(8, 1_000_000)), num_classes)


class Skips(nn.Module):
    """Skips half of its layers at random, also in evaluation."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(20))
        self.model = network(8, classes)

    def forward(self, images):
        for layer in self.layers:
            images = layer(images) if self.draw() < 0.5 else images
        return self.model(images)

    def draw(self) -> float:
        return random.random()


class SkipsByTorch(Skips):
    def draw(self) -> float:
        return float(torch.rand(()))


def skips(width: float, num_classes: int) -> nn.Module:
    return Skips(num_classes)


def skips_by_torch(width: float, num_classes: int) -> nn.Module:
    return SkipsByTorch(num_classes)


def open_end(**given) -> nn.Module:
    return wide(given["width"], given["num_classes"])


def by_position(width: float, /, num_classes: int = 2) -> nn.Module:
    return wide(width, num_classes)


class OnGpu(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images.cuda()).cpu()


def on_gpu(width: float, num_classes: int) -> nn.Module:
    return OnGpu(wide(width, num_classes))


class Pair(nn.Module):
    """Has another classifier while it is trained, as GoogLeNet has."""

    def __init__(self, model: nn.Module, aux_logits: bool) -> None:
        super().__init__()
        self.model, self.aux_logits = model, aux_logits

    def forward(self, images):
        logits = self.model(images)
        return (logits, logits) if self.training and self.aux_logits else logits


def pair(width: float, num_classes: int, aux_logits: bool = True) -> nn.Module:
    return Pair(wide(width, num_classes), aux_logits)


def needs_more(width: float, groups: int, num_classes: int) -> nn.Module:
    return wide(width, num_classes)


def no_arguments() -> nn.Module:
    return network(8, 10)


number = 3


class Looks(nn.Module):
    """Looks at values, so that the meta device is not enough."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.model = network(width, classes)

    def forward(self, images):
        return self.model(images) if float(images.sum()) < 1e9 else self.model(-images)


def looks(width: float, num_classes: int) -> nn.Module:
    return Looks(round(8 * width), num_classes)


def lazy(width=1.0, num_classes=2):
    return nn.Sequential(nn.LazyConv2d(int(8 * width), 3), nn.Flatten(), nn.LazyLinear(num_classes))


def patches(width=1.0, resolution=32, num_classes=2):
    assert resolution % 4 == 0, "not a whole number of patches"
    channels = int(16 * width)
    layers = [nn.Conv2d(3, channels, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, num_classes))


class Merging(nn.Module):
    """Merges patches of 8 x 8 pixels, of which images must be made."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(2), nn.Linear(64, 4), nn.AdaptiveAvgPool2d((1, 4)))
        self.classifier = nn.Linear(4, classes)

    def forward(self, images):
        count, channels, height, width = images.shape
        patches = images.reshape(count, channels, height // 8, 8, width // 8, 8)
        merged = patches.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, 64)
        return self.classifier(self.model(merged).flatten(1))


def merging(num_classes=2):
    return Merging(num_classes)


def of_one_side(width=1.0, resolution=16, in_channels=1, num_classes=2):
    """Flattens what its last layer sees, as networks with a table of positions do."""
    channels = round(16 * width)
    layers = [nn.Conv2d(in_channels, channels, 3, padding=1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels * resolution**2, num_classes))


class Shared(nn.Module):
    """One convolution again and again: more of them are more FLOPs and no more weights."""

    def __init__(self, times: int, width: int, classes: int) -> None:
        super().__init__()
        self.times, self.stem = times, nn.Conv2d(3, width, 3, padding=1)
        self.block, self.head = nn.Conv2d(width, width, 3, padding=1), nn.Linear(width, classes)

    def forward(self, images):
        maps = self.stem(images)
        for _ in range(self.times):
            maps = self.block(maps).relu()
        return self.head(maps.mean((2, 3)))


def shared(depth: float, width: float, num_classes: int) -> nn.Module:
    return Shared(round(20 * depth), round(16 * width), num_classes)
