"""Image files: listed and checked on the driver, decoded on the workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageOps

from scalesearch.errors import TrialError, UserError

if TYPE_CHECKING:
    import torch

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# Of ImageNet's training images, as every pretrained network takes them.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Also on one core: files may come over a network, and decoding lets other threads run.
_THREADS = max(4, os.cpu_count() or 1)
_ROTATED = (5, 6, 7, 8)  # EXIF orientations whose rows are columns of the upright image
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

    def choose(self, indices: np.ndarray) -> FolderImages:
        """Some of the images, in the order of the indices."""
        paths = tuple(self.paths[index] for index in indices)
        return FolderImages(paths, self.labels[indices], self.channels)

    def batch(self, indices: np.ndarray, resolution: int) -> torch.Tensor:
        """The images as uint8 [B, C, resolution, resolution]: shorter side resized, centre cut out.

        Raises:
            TrialError: a file cannot be decoded; it is named.
        """
        # Here and not above: the process that only lists the images needs no torch.
        import torch

        def read(index: int) -> np.ndarray:
            return decode(self.paths[index], self.channels, resolution)

        # As many as the worker may compute with, so that workers do not compete; two at least, as
        # files may come over a network.
        threads = max(2, torch.get_num_threads())
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            pixels = np.stack(list(pool.map(read, indices.tolist())))
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def decode(path: str, channels: int, resolution: int) -> np.ndarray:
    """The middle square of an image as uint8 [resolution, resolution, channels], antialiased."""
    # A large JPEG is decoded at a half, quarter or eighth, never below twice the goal.
    upright = read_upright(path, channels, least=2 * resolution)
    side = min(upright.size)
    left, top = ((length - side) / 2 for length in upright.size)
    square = upright.resize(
        (resolution, resolution),
        Image.Resampling.BILINEAR,
        box=(left, top, left + side, top + side),
    )
    return np.asarray(square).reshape(resolution, resolution, channels)


def read_upright(path: str, channels: int, least: int | None = None) -> Image.Image:
    """An image rotated as its EXIF data say, in 8 bits; about `least` pixels a side if given.

    Raises:
        TrialError: it cannot be decoded.
    """
    mode = "RGB" if channels == 3 else "L"
    try:
        with Image.open(path) as image:
            if least is not None:
                image.draft(mode, (least, least))
            return _eight_bits(ImageOps.exif_transpose(image)).convert(mode)
    except _UNREADABLE as error:
        raise TrialError(f"cannot decode {path}: {error}") from error


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """Class name to its image files, both sorted: one class for each sub-folder.

    Raises:
        UserError: fewer than two classes, or a class without an image.
    """
    entries = (entry for entry in folder.iterdir() if entry.is_dir())
    classes = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    if len(classes) < 2:
        raise UserError(
            f"{folder} holds {len(classes)} sub-folders: there are no classes to tell apart",
            key="path",
            allowed="two or more sub-folders, one for each class",
        )
    files = {name: _images_in(folder / name) for name in classes}
    empty = [name for name in classes if not files[name]]
    if empty:
        raise UserError(
            f"no image in {first_few([str(folder / name) for name in empty])}",
            key="path",
            allowed="files that end in " + ", ".join(SUFFIXES),
        )
    return files


def check_headers(paths: Sequence[str | Path]) -> list[tuple[int, int]]:
    """Opens every file once; height and width of each image once it is upright.

    Raises:
        UserError: some are not images; their number and the first of them are named.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        sizes = list(pool.map(_upright_size, paths, chunksize=1))
    unreadable = [str(path) for path, size in zip(paths, sizes, strict=True) if size is None]
    if unreadable:
        raise UserError(
            f"{len(unreadable)} of {len(paths)} files cannot be read as images: "
            f"{first_few(unreadable)}",
            key="path",
            hint="mend or remove them",
        )
    return [size for size in sizes if size is not None]


def check_channels(channels: int) -> None:
    """Rejects images that are neither grey nor in colour."""
    if channels not in (1, 3):
        raise UserError(f"{channels!r} cannot be used", key="channels", allowed="1 or 3")


def imagenet_statistics(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of ImageNet; of grey images their average."""
    if channels == 3:
        return _IMAGENET_MEAN, _IMAGENET_STD
    return (sum(_IMAGENET_MEAN) / 3,), (sum(_IMAGENET_STD) / 3,)


def first_few(names: Sequence[str], count: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def _upright_size(path: str | Path) -> tuple[int, int] | None:
    """Height and width from the file's header; None if it is not an image."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            # A PNG that does not begin with its EXIF data would be decoded to look for it.
            known = image.format != "PNG" or "exif" in image.info
            rotated = known and image.getexif().get(ExifTags.Base.Orientation, 1) in _ROTATED
            return (width, height) if rotated else (height, width)
    except _UNREADABLE:
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits; Pillow's own conversion clips all above 255."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    return image


def _images_in(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in files if path.is_file() and not path.name.startswith("."))
