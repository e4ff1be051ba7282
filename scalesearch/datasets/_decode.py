"""The fastest decoder of JPEG files that is installed, with the result of Pillow's bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

# How an array is turned upright, by its EXIF orientation.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def decode_jpeg(
    image: Image.Image, data: bytes, channels: int, orientation: int
) -> np.ndarray | None:
    """A JPEG file that Pillow has opened, upright as uint8 [H, W, channels] of its own memory.

    It has the size that `image.draft` chose. None for what Pillow has to decode: other files, other
    colours, damaged data (about which Pillow knows best what can be said), or without `simplejpeg`.
    """
    library = _simplejpeg()
    if library is None or image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    width, height = image.size
    colours = "RGB" if channels == 3 else "GRAY"
    try:
        array = library.decode_jpeg(data, colours, min_height=height, min_width=width)
    except ValueError:
        return None
    if array.shape[:2] != (height, width):  # another way of rounding a reduced size
        return None
    return np.ascontiguousarray(_TURNS[orientation](array))


@cache
def _simplejpeg() -> Any:
    """A binding of libjpeg-turbo without Pillow's copies; the extra `fast` installs it."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
