"""Images with boxes that lie in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scalesearch.datasets._folder import check_headers, read_upright, some
from scalesearch.errors import UserError
from scalesearch.interfaces import Targets

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FolderBoxes:
    """Image files with their objects.

    Attributes:
        ids: of the images, as the annotations have them.
        paths: one for each image.
        sizes: height and width of each.
        objects: of each image.
        channels: 3 for colour, 1 for grey.
    """

    ids: tuple[int, ...]
    paths: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    objects: tuple[Targets, ...]
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> torch.Tensor:
        """An image as uint8 [C, H, W]; `TrialError` if it cannot be decoded."""
        # Here and not above: the process that only lists the images needs no torch.
        import torch

        pixels = np.array(read_upright(self.paths[index], self.channels))
        return torch.from_numpy(pixels.reshape(*pixels.shape[:2], self.channels)).permute(2, 0, 1)

    def targets(self, index: int) -> Targets:
        """The objects of an image."""
        return self.objects[index]

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        return self.sizes[index]

    def choose(self, indices: Sequence[int] | np.ndarray) -> FolderBoxes:
        """Some of the images, in the order of the indices."""
        picked = [int(i) for i in indices]
        return FolderBoxes(
            tuple(self.ids[i] for i in picked),
            tuple(self.paths[i] for i in picked),
            tuple(self.sizes[i] for i in picked),
            tuple(self.objects[i] for i in picked),
            self.channels,
        )


def check_images(paths: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> None:
    """Opens every image once, and refuses annotations whose images are missing, no images, or
    not of the annotated height and width; the first few are named.
    """
    missing = [str(path) for path in paths if not _is_there(path)]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(paths)} images are missing: {some(missing)}",
            key="images",
            hint="are the file names relative to this folder?",
        )
    wrong = [
        f"{path} is {found[1]} x {found[0]}, not {size[1]} x {size[0]}"
        for path, size, found in zip(paths, sizes, check_headers(paths), strict=True)
        if tuple(size) != found
    ]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(paths)} images are not as wide and high as their annotations "
            f"say: {some(wrong)}",
            key="images",
            hint="boxes are in pixels of the image as its camera was held",
        )


def notes(odd: Mapping[str, int]) -> tuple[str, ...]:
    """What was done about odd boxes, in words."""
    words = {
        "cut": "boxes cut at the border of their image",
        "empty": "boxes without area left out",
        "outside": "boxes outside of their image left out",
    }
    return tuple(f"{text}: {odd[key]:,}" for key, text in words.items() if odd.get(key))


def _is_there(path: Path) -> bool:
    """Also of a name that is too long for a file."""
    try:
        return path.is_file()
    except OSError:
        return False
