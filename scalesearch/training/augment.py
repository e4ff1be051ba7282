"""Random shifts and mirroring of a batch of images."""

from __future__ import annotations

import torch


def augment(images: torch.Tensor, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """The images [B, C, R, R], each shifted by up to R // 8 pixels and, if `flip`, mirrored or not.

    What a shift leaves empty is filled with the image's own reflection: on photographs there is
    no black bar, on digits it is background. Draws come from `generator` (a CPU one) alone. The
    result has the channels-last layout.
    """
    count, side = images.shape[0], images.shape[-1]
    reach = side // 8
    shifts = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator)
    rows, columns = _reflect(torch.arange(side) + shifts, side)
    if flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, side - 1 - columns, columns)
    image = torch.arange(count)[:, None, None].to(images.device)
    rows, columns = rows.to(images.device), columns.to(images.device)
    pixels = images.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2)


def _reflect(positions: torch.Tensor, side: int) -> torch.Tensor:
    """Positions outside 0 to side - 1 mirrored back at the border pixel."""
    last = side - 1
    return last - (last - positions.abs()).abs()
