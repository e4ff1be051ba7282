"""The boxes that predictions start from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scalesearch.arch.detector import Anchors, Detector

_CACHED = 8  # image sizes; validation at many sizes must not fill the memory


def anchor_boxes(anchors: Anchors, levels: Sequence[int], size: tuple[int, int]) -> Tensor:
    """The anchors for images of `size` (height, width), float32 [A, 4] as x0, y0, x1, y1.

    Their order is that of the predictions: level from the finest, row, column, octave, ratio. As in
    the official code a level's stride is the image's side by the level's, ceil(side / 2^level), for
    rows and columns alone: a bit less than 2^level where that does not divide the side, and an
    anchor's sides with it. Centres are at (i + 1/2) strides; anchors may reach over the border.
    """
    return torch.cat([_level(anchors, level, size) for level in levels])


def _level(anchors: Anchors, level: int, size: tuple[int, int]) -> Tensor:
    """The anchors of one level, computed in float64."""
    counts = [-(-side // 2**level) for side in size]
    strides = [side / count for side, count in zip(size, counts, strict=True)]
    shapes = []
    for octave in range(anchors.octaves):
        side = anchors.scale * 2 ** (octave / anchors.octaves)
        for width, height in anchors.ratios:  # type: ignore[misc]
            shapes.append((side * strides[1] * width, side * strides[0] * height))
    half = torch.tensor(shapes, dtype=torch.float64) / 2
    rows, columns = (
        (torch.arange(count, dtype=torch.float64) + 0.5) * stride
        for count, stride in zip(counts, strides, strict=True)
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack([x, y], -1).reshape(-1, 1, 2)
    return torch.cat([centres - half, centres + half], -1).reshape(-1, 4).float()


class AnchorBoxes(nn.Module):
    """The anchors of a detector, cached for a few image sizes; not a part of its state."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.anchors, self.levels = net.anchors, net.neck.levels
        self.cache: dict[tuple[tuple[int, int], torch.device], Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        """The anchors [A, 4] for images [N, C, H, W], on their device."""
        height, width = images.shape[-2:]
        key = (int(height), int(width)), images.device
        if key in self.cache:
            return self.cache[key]
        # A tensor of inference mode could not be used in a later training step.
        with torch.inference_mode(False):
            boxes = anchor_boxes(self.anchors, self.levels, key[0]).to(images.device)
        if type(boxes) is Tensor:  # not a fake one, of a run that counts or traces
            while len(self.cache) >= _CACHED:
                del self.cache[next(iter(self.cache))]
            self.cache[key] = boxes
        return boxes
