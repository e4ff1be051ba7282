"""Random shifts and mirroring of a batch of images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Moves(NamedTuple):
    """How each image of a batch is moved.

    Attributes:
        shifts: down and to the right in pixels, int64 [2, B, 1].
        mirrored: bool [B, 1], or None: no image is.
    """

    shifts: Tensor
    mirrored: Tensor | None


def augment(images: Tensor, flip: bool, generator: torch.Generator) -> Tensor:
    """The images [B, C, R, R], each shifted by up to R // 8 pixels and, if `flip`, mirrored or not.

    What a shift leaves empty is filled with the image's own reflection: on photographs there is
    no black bar, on digits it is background. Draws come from `generator` (a CPU one) alone. The
    result has the channels-last layout.
    """
    return moved(images, draw_moves(images.shape[0], images.shape[-1], flip, generator))


def draw_moves(count: int, side: int, flip: bool, generator: torch.Generator) -> Moves:
    """What `augment` draws for so many images of that side, on the CPU."""
    reach = side // 8
    shifts = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator)
    return Moves(shifts, torch.rand(count, 1, generator=generator) < 0.5 if flip else None)


def moved(images: Tensor, moves: Moves) -> Tensor:
    """The images [B, C, R, R] moved; all tensors on one device, which nobody waits for."""
    count, side, device = images.shape[0], images.shape[-1], images.device
    rows, columns = _reflect(torch.arange(side, device=device) + moves.shifts, side)
    if moves.mirrored is not None:
        columns = torch.where(moves.mirrored, side - 1 - columns, columns)
    image = torch.arange(count, device=device)[:, None, None]
    pixels = images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


def _reflect(positions: Tensor, side: int) -> Tensor:
    """Positions outside 0 to side - 1 mirrored back at the border pixel."""
    last = side - 1
    return last - (last - positions.abs()).abs()
