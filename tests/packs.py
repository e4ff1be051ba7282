"""Small data sets for tests of packs, with nothing but what the contract asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from scalesearch.interfaces import BoxData, ImageData, Targets
from scalesearch.pack.manifest import Source
from tests import fakes

SOURCE = Source(dataset="tests.packs:Drawn", options={"path": "here", "limit": None}, seed=3)


class Squares:
    """Images of one size whose every view is made from them, as uint8 [N, C, S, S]."""

    def __init__(self, pixels, labels):
        self.pixels, self.labels = torch.from_numpy(pixels), labels

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, view):
        return view.see_all(indices, self.pixels[torch.from_numpy(indices)])


def squares(*counts, side=8, channels=3, seed=0, **fields):
    """A data set with a part of each of these counts: train, validation, and perhaps test."""
    draws = np.random.default_rng(seed)
    parts = [
        Squares(
            draws.integers(0, 256, (count, channels, side, side), np.uint8),
            draws.integers(0, 3, count),
        )
        for count in counts
    ]
    named = dict(zip(("train", "validation", "test"), parts, strict=False))
    facts = {"classes": ("a", "b", "c"), "flip": True} | fields
    numbers = {"mean": (0.5,) * channels, "std": (0.25,) * channels, "channels": channels}
    return ImageData(**named, **facts, **numbers)


@dataclass
class Boxes:
    """Images of any size, uint8 [C, H, W], with their objects."""

    pictures: list
    every: list
    ids: tuple

    def __len__(self):
        return len(self.pictures)

    def image(self, index):
        return torch.from_numpy(self.pictures[index])

    def targets(self, index):
        return self.every[index]

    def size(self, index):
        return self.pictures[index].shape[1:]


def objects(*boxes, label=0, crowd=False):
    """Objects with these corners, whose areas are those of their boxes."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Targets(
        boxes=corners,
        labels=np.full(len(corners), label),
        crowd=np.full(len(corners), crowd),
        areas=(corners[:, 2:] - corners[:, :2]).prod(1).astype(np.float64),
    )


def boxes(*parts, **fields):
    """A data set of objects, whose parts are lists of (height, width) and objects."""
    draws = np.random.default_rng(1)
    named = {}
    for name, part in zip(("train", "validation", "test"), parts, strict=False):
        pictures = [draws.integers(0, 256, (3, *size), np.uint8) for size, _ in part]
        ids = tuple(range(10, 10 + len(part)))
        named[name] = Boxes(pictures, [targets for _, targets in part], ids)
    numbers = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "channels": 3}
    facts = {"classes": ("cat", "dog"), "category_ids": (17, 18), "flip": True} | fields
    return BoxData(**named, **facts, **numbers)


@dataclass(frozen=True, kw_only=True)
class Untrained(fakes.Evaluator):
    """Needs no images."""

    trains = False
