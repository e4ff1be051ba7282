"""Image files: checked on the driver, read on the workers."""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from scalesearch.datasets._listing import formats
from scalesearch.errors import UserError

One = TypeVar("One")
Other = TypeVar("Other")

# Of ImageNet's training images, as every pretrained network takes them.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Also on one core: files may come over a network, and decoding lets other threads run.
_THREADS = max(4, os.cpu_count() or 1)
ROTATED = (5, 6, 7, 8)  # EXIF orientations whose rows are columns of the upright image
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError)
# Pixels of an image. A file of a few kilobytes can hold more than memory does; a photograph of
# this size takes 270 MB in colour.
_MOST_PIXELS = 90_000_000
_CHUNK = 64  # files that a thread takes at once
_HEAD = 4096  # bytes by which files are told apart before they are compared as a whole


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself.

    Attributes:
        size: height and width of the upright image.
        orientation: by EXIF, 1 to 8; 1 is upright.
        mode: Pillow's name of its pixels, such as `RGB`.
        transparent: some pixels may be seen through.
        moving: the first of several pictures.
        deep: 16 bits in each colour channel, of which Pillow reads the upper 8.
        head: differs between files that differ, but for a few that are compared as a whole.
    """

    size: tuple[int, int]
    orientation: int
    mode: str
    transparent: bool
    moving: bool
    deep: bool
    head: bytes

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width before the image is turned upright."""
        height, width = self.size
        return (width, height) if self.orientation in ROTATED else (height, width)


def in_parallel(function: Callable[[One], Other], values: Sequence[One]) -> list[Other]:
    """What a function that reads files gives for each value."""
    # In chunks: a task for each of a million files would take more time and memory than its file.
    step = max(1, min(_CHUNK, len(values) // (4 * _THREADS)))
    chunks = [values[start : start + step] for start in range(0, len(values), step)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [one for each in pool.map(lambda c: list(map(function, c)), chunks) for one in each]


def find_undecodable(paths: Sequence[str]) -> list[str]:
    """The files that cannot be decoded, with the reason, of all these."""
    reasons = in_parallel(why_undecodable, paths)
    return [f"{path} ({reason})" for path, reason in zip(paths, reasons, strict=True) if reason]


def open_image(path: str | IO[bytes]) -> Image.Image:
    """An image whose pixels are not read yet; only by Pillow's own readers."""
    with warnings.catch_warnings():
        # Of large images: they have a bound of their own. Of odd metadata: pixels are all we take.
        warnings.simplefilter("ignore")
        return Image.open(path, formats=formats())


def orientation_of(image: Image.Image) -> int:
    """How an image that was opened is to be turned, by EXIF: 1 to 8; 1 is upright."""
    # A PNG that does not begin with its EXIF data would be decoded to look for it.
    known = image.format != "PNG" or "exif" in image.info
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if known else 1
    return orientation if orientation in range(1, 9) else 1


def check_channels(channels: int) -> None:
    """Rejects images that are neither grey nor in colour."""
    if channels not in (1, 3):
        raise UserError(f"{channels!r} cannot be used", key="channels", allowed="1 or 3")


def imagenet_statistics(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of ImageNet; of grey images their average."""
    if channels == 3:
        return _IMAGENET_MEAN, _IMAGENET_STD
    return (sum(_IMAGENET_MEAN) / 3,), (sum(_IMAGENET_STD) / 3,)


def groups_of(
    headers: Sequence[Header],
    identity: Callable[[int], tuple[bytes, Hashable]],
    opened: Callable[[int], str | IO[bytes]],
) -> np.ndarray:
    """A number for each image, int64 [N]: the same for those that are equal byte for byte.

    Each image has a digest of all of its bytes and the place where they lie, and can be opened.
    Images of one plain colour show nothing that could be learned by heart: of them, only those that
    lie in one place have the same number. (`check_files` does the same for files.)
    """
    by_head: dict[bytes, list[int]] = {}
    for index, header in enumerate(headers):
        by_head.setdefault(header.head, []).append(index)
    groups = np.arange(len(headers))
    for members in by_head.values():
        if len(members) == 1:
            continue
        first: dict[object, int] = {}
        plain: dict[bytes, bool] = {}
        for index in members:
            digest, place = identity(index)
            if digest not in plain:
                plain[digest] = is_plain(opened(index))
            groups[index] = first.setdefault(place if plain[digest] else digest, index)
    return groups


def short_reason(error: BaseException) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__)[:80]


def header_of(path: str) -> Header | str:
    """What a file says of itself, or why it is no image."""
    try:
        with Path(path).open("rb") as file:
            return read_header(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        return short_reason(error)


def read_header(file: IO[bytes], size: int) -> Header | str:
    """What an open file of so many bytes says of itself, or why it is no image."""
    head = b""
    try:
        head = file.read(_HEAD)
        if not size:
            return "empty"
        file.seek(0)
        with open_image(file) as image:
            pixels = image.size[0] * image.size[1]
            if pixels > _MOST_PIXELS:
                return f"{image.size[0]} x {image.size[1]} pixels, over {_MOST_PIXELS:,}"
            header = _read_header(image, size.to_bytes(8, "big") + head)
            # Few files do not end as their format does; whether they are whole is then tried.
            if not _is_whole(image, file, size, head):
                image.load()
            return header
    except UnidentifiedImageError:
        return _what_it_is(head)
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        return short_reason(error)


def _what_it_is(head: bytes) -> str:
    """What lies in the place of an image."""
    start = head.lstrip()[:64].lower()
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS: `git lfs pull` gets the file"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a page of HTML"
    return "not an image"


def _read_header(image: Image.Image, start: bytes) -> Header:
    width, height = image.size
    orientation = orientation_of(image)
    return Header(
        size=(width, height) if orientation in ROTATED else (height, width),
        orientation=orientation,
        mode=image.mode,
        transparent=image.has_transparency_data,
        moving=bool(getattr(image, "is_animated", False)) and image.format != "MPO",
        deep=_is_deep(image, start[8:]),
        head=hashlib.blake2b(start, digest_size=16).digest(),
    )


def _is_deep(image: Image.Image, head: bytes) -> bool:
    """Whether Pillow reads 16 bits of a colour channel as 8."""
    if image.format == "PNG":
        return head[24:25] == b"\x10" and image.mode in ("RGB", "RGBA", "LA")
    if image.format == "TIFF":
        bits: Any = image.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
        return max(bits) > 8 and image.mode in ("RGB", "RGBA", "LA", "CMYK")
    return False


def _is_whole(image: Image.Image, file: IO[bytes], size: int, head: bytes) -> bool:
    """Whether a file ends as its format says; formats without such an end count as whole."""
    if image.format in ("JPEG", "MPO"):
        return _tail(file, size, 64).rstrip(b"\x00\r\n").endswith(b"\xff\xd9")
    if image.format == "PNG":
        return b"IEND" in _tail(file, size, 64)
    if image.format == "GIF":
        return _tail(file, size, 64).rstrip(b"\x00").endswith(b";")
    if image.format == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    if image.format == "BMP":
        return int.from_bytes(head[2:6], "little") <= size
    if image.format == "TIFF":
        return _tiff_end(image) <= size
    return False


def _tiff_end(image: Any) -> int:
    """The byte after the last strip or tile of a TIFF file's first picture."""
    tags = image.tag_v2
    ends = [
        start + count
        for starts, counts in ((273, 279), (324, 325))
        for start, count in zip(tags.get(starts, ()), tags.get(counts, ()), strict=False)
    ]
    return max(ends, default=0)


def _tail(file: IO[bytes], size: int, count: int) -> bytes:
    place = file.tell()
    file.seek(max(0, size - count))
    tail = file.read(count)
    file.seek(place)
    return tail


def is_plain(path: str | IO[bytes]) -> bool:
    """Whether an image has one colour; one that cannot be decoded has not."""
    try:
        with open_image(path) as image:
            extrema: Any = image.getextrema()
    except UNREADABLE:
        return False
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in bands)


def why_undecodable(path: str | IO[bytes]) -> str:
    """Why an image cannot be decoded; nothing of one that can."""
    try:
        with open_image(path) as image:
            image.load()
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        return short_reason(error)
    return ""
