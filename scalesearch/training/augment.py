"""Random shifts and mirroring of a batch of images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scalesearch.view import uniforms

_REACH = 8  # an image is shifted by up to its side divided by this


class Moves(NamedTuple):
    """How each image of a batch is moved; None of either moves none so.

    Attributes:
        shifts: down and to the right in pixels, int64 [2, B, 1].
        mirrored: bool [B, 1].
    """

    shifts: Tensor | None
    mirrored: Tensor | None


def draw_moves(indices: np.ndarray, side: int, seed: int, *, shift: bool, flip: bool) -> Moves:
    """How the images of these indices are moved: by up to side // 8, and mirrored or not.

    The moves of each follow from the seed and its index alone.
    """
    draws, reach = uniforms(seed, indices, 3), side // _REACH
    # Contiguous: what images are looked up by takes half the time then.
    steps = np.floor(draws[:, :2].T * (2 * reach + 1)).astype(np.int64, order="C") - reach
    return Moves(
        torch.from_numpy(steps)[..., None] if shift and reach else None,
        torch.from_numpy(draws[:, 2:] < 0.5) if flip else None,
    )


def moved(images: Tensor, moves: Moves) -> Tensor:
    """The images [B, C, R, R] moved; all tensors on one device, which nobody waits for.

    On a CPU they may be changed in place.

    What a shift leaves empty is filled with the image's own reflection: on photographs there is
    no black bar, on digits it is background. The result has the channels-last layout.
    """
    count, side, device = images.shape[0], images.shape[-1], images.device
    if moves.shifts is None:
        if moves.mirrored is None:
            return images
        if device.type != "cpu":  # where to wait for how many there are costs more
            return torch.where(moves.mirrored[:, :, None, None], images.flip(-1), images)
        turned = moves.mirrored[:, 0].nonzero()[:, 0]
        return images.index_copy_(0, turned, images[turned].flip(-1))
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
