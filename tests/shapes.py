"""A data set of objects that a small detector learns within seconds: squares, full and hollow."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from scalesearch.arch.backbone import Backbone, Stem
from scalesearch.arch.detector import Anchors, Detector, Heads
from scalesearch.arch.neck import Neck
from scalesearch.arch.stage import Stage
from scalesearch.interfaces import BoxData, Targets

SIDE = 32


@dataclass(frozen=True)
class Squares:
    """Grey images with one or two squares of 8 to 16 pixels, kept in memory."""

    count: int
    seed: int
    height: int = SIDE
    width: int = SIDE
    read: list[int] = field(default_factory=list)

    @property
    def ids(self):
        return [1000 + 7 * i for i in range(self.count)]

    def __len__(self):
        return self.count

    def size(self, index):
        return (self.height, self.width)

    def image(self, index):
        self.read.append(index)
        return self._made(index)[0]

    def targets(self, index):
        return self._made(index)[1]

    def _made(self, index):
        draws = np.random.default_rng([self.seed, index])
        pixels = np.zeros((self.height, self.width), np.uint8)
        boxes, labels = [], []
        for half in range(draws.integers(1, 3)):
            side = int(draws.integers(8, 17))
            label = int(draws.integers(2))
            # One in the left half and one in the right half, so that they never overlap.
            x0 = half * self.width // 2 + int(draws.integers(self.width // 2 - side + 1))
            y0 = int(draws.integers(self.height - side + 1))
            pixels[y0 : y0 + side, x0 : x0 + side] = 255
            if label:
                pixels[y0 + 3 : y0 + side - 3, x0 + 3 : x0 + side - 3] = 0
            boxes.append([x0, y0, x0 + side, y0 + side])
            labels.append(label)
        corners = np.array(boxes, np.float32)
        areas = (corners[:, 2] - corners[:, 0]).astype(np.float64) ** 2
        crowd = np.zeros(len(labels), bool)
        return torch.from_numpy(pixels)[None], Targets(corners, np.array(labels), crowd, areas)


def squares(train=96, validation=32, **sides):
    """Training and validation images of squares."""
    return BoxData(
        train=Squares(train, 0, **sides),
        validation=Squares(validation, 1, **sides),
        classes=("full", "hollow"),
        category_ids=(1, 2),
        channels=1,
        mean=(0.2,),
        std=(0.4,),
        flip=True,
    )


def detector(**fields):
    """A detector for them that costs 1.3 M flops."""
    plain = {
        "backbone": Backbone(
            stem=Stem(width=8),
            stages=(
                Stage(block="separable", width=16, stride=2),
                Stage(block="separable", width=24, stride=2),
            ),
            resolution=SIDE,
            in_channels=1,
        ),
        "neck": Neck(width=16, depth=1, min_level=2, max_level=3),
        "heads": Heads(depth=1),
        "anchors": Anchors(scale=2.0, octaves=2, ratios=(1.0,)),
        "num_classes": 2,
    }
    return Detector(**(plain | fields))
