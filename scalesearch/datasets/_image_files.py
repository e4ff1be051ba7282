"""Image files: checked on the driver, read on the workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from scalesearch.errors import TrialError, UserError

# Of ImageNet's training images, as every pretrained network takes them.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Also on one core: files may come over a network, and decoding lets other threads run.
_THREADS = max(4, os.cpu_count() or 1)
_ROTATED = (5, 6, 7, 8)  # EXIF orientations whose rows are columns of the upright image
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


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
