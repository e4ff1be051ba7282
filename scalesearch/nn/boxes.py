"""Boxes as corners x0, y0, x1, y1 in pixels, and as deltas relative to anchors."""

from __future__ import annotations

import torch
from torch import Tensor

# A decoded side is at most e^8 (2981) times its anchor's: more than any image, and never infinite.
_MOST = 8.0


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes [..., 4] as deltas ty, tx, th, tw [..., 4] relative to `anchors` [..., 4], float32.

    Shifts of the centre in sides of the anchor, logarithms of the ratio of the sides (Ren et al.
    2015, equation 2), in TensorFlow's order: vertical first. Boxes must have an area.
    """
    (y, x), (height, width) = _centres_and_sides(boxes.float())
    (ya, xa), (anchor_height, anchor_width) = _centres_and_sides(anchors)
    return torch.stack(
        [
            (y - ya) / anchor_height,
            (x - xa) / anchor_width,
            (height / anchor_height).log(),
            (width / anchor_width).log(),
        ],
        -1,
    )


def decode(deltas: Tensor, anchors: Tensor) -> Tensor:
    """The boxes [..., 4] whose deltas are `deltas` [..., 4], float32: the inverse of `encode`.

    Logarithms are clipped at 8, so that an untrained network gives no infinite box.
    """
    ty, tx, th, tw = deltas.float().unbind(-1)
    (ya, xa), (anchor_height, anchor_width) = _centres_and_sides(anchors)
    y, x = ty * anchor_height + ya, tx * anchor_width + xa
    half_height = th.clamp(max=_MOST).exp() * anchor_height / 2
    half_width = tw.clamp(max=_MOST).exp() * anchor_width / 2
    return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], -1)


def areas(boxes: Tensor) -> Tensor:
    """Square pixels of each box, [M, 4] to [M]."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return (y1 - y0) * (x1 - x0)


def intersections(boxes: Tensor, others: Tensor) -> Tensor:
    """Square pixels that each two boxes share, [M, 4] and [A, 4] to [M, A]."""
    # In place, and over contiguous sides: with 10^5 anchors this is most of the time of matching.
    left, top, right, bottom = others.t().contiguous()
    x0, y0, x1, y1 = boxes.t().unsqueeze(-1)
    width = torch.minimum(x1, right).sub_(torch.maximum(x0, left)).clamp_(min=0)
    height = torch.minimum(y1, bottom).sub_(torch.maximum(y0, top)).clamp_(min=0)
    return width.mul_(height)


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of each two boxes, [M, 4] and [A, 4] to [M, A]; 0 without area."""
    shared = intersections(boxes, others)
    union = (areas(boxes)[:, None] + areas(others)).sub_(shared)
    return shared.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def have_area(boxes: Tensor) -> Tensor:
    """Which of the boxes [M, 4] have finite sides above 0, bool [M]."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return ((sides > 0) & sides.isfinite()).all(1)


def _centres_and_sides(boxes: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Centre y, x and height, width of each box."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    height, width = y1 - y0, x1 - x0
    return (y0 + height / 2, x0 + width / 2), (height, width)
