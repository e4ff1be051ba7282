"""Images that lie in files, decoded batch by batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from scalesearch.errors import TrialError, UserError

if TYPE_CHECKING:
    import torch

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# Also on one core: files may come over a network, and decoding lets other threads run.
_THREADS = max(4, os.cpu_count() or 1)
_NAMED = 5
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class FolderImages:
    """Image files with labels.

    Attributes:
        paths: one for each image.
        labels: int64 [N].
        channels: 3 for colour, 1 for grey.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, indices: np.ndarray, resolution: int) -> torch.Tensor:
        """The images as uint8 [B, C, resolution, resolution]: shorter side resized, centre cut out.

        Raises:
            TrialError: a file cannot be decoded; it is named.
        """
        # Here and not above: the process that only lists the images needs no torch.
        import torch

        def read(index: int) -> np.ndarray:
            return decode(self.paths[index], self.channels, resolution)

        # As many as the worker may compute with, so that workers do not fight; two at the least,
        # as files may come over a network.
        threads = max(2, torch.get_num_threads())
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            pixels = np.stack(list(pool.map(read, indices.tolist())))
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def decode(path: str, channels: int, resolution: int) -> np.ndarray:
    """The middle square of an image as uint8 [resolution, resolution, channels], antialiased."""
    mode = "RGB" if channels == 3 else "L"
    try:
        with Image.open(path) as image:
            # A large JPEG is decoded at a half, quarter or eighth, never below twice the goal.
            image.draft(mode, (2 * resolution, 2 * resolution))
            upright = _eight_bits(ImageOps.exif_transpose(image)).convert(mode)
    except _UNREADABLE as error:
        raise TrialError(f"cannot decode {path}: {error}") from error
    side = min(upright.size)
    left, top = ((length - side) / 2 for length in upright.size)
    square = upright.resize(
        (resolution, resolution),
        Image.Resampling.BILINEAR,
        box=(left, top, left + side, top + side),
    )
    return np.asarray(square).reshape(resolution, resolution, channels)


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """Class name to its image files, both sorted: one class for each sub-folder.

    Raises:
        UserError: fewer than two classes, or a class without an image.
    """
    classes = sorted(entry.name for entry in folder.iterdir() if _is_class(entry))
    if len(classes) < 2:
        raise UserError(
            f"{folder} holds {len(classes)} sub-folders: there is nothing to tell apart",
            key="path",
            allowed="two or more sub-folders, one for each class",
        )
    files = {name: _images_in(folder / name) for name in classes}
    empty = [name for name in classes if not files[name]]
    if empty:
        raise UserError(
            f"no image in {_some([str(folder / name) for name in empty])}",
            key="path",
            allowed="files that end in " + ", ".join(SUFFIXES),
        )
    return files


def check_headers(paths: Sequence[Path]) -> None:
    """Opens every file once.

    Raises:
        UserError: some are no images; their number and the first of them are named.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        readable = list(pool.map(_opens, paths, chunksize=1))
    bad = [str(path) for path, right in zip(paths, readable, strict=True) if not right]
    if bad:
        raise UserError(
            f"{len(bad)} of {len(paths)} files cannot be read as images: {_some(bad)}",
            key="path",
            hint="mend or remove them",
        )


def _opens(path: Path) -> bool:
    try:
        with Image.open(path):
            return True
    except _UNREADABLE:
        return False


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, where Pillow's own conversion would cut all above 255 off."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    return image


def _images_in(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in files if path.is_file() and not path.name.startswith("."))


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
