"""The pixels of image files in 8 bits, upright, on one background."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from scalesearch.datasets._decode import decode_jpeg
from scalesearch.datasets._image_files import (
    ROTATED,
    UNREADABLE,
    Header,
    find_undecodable,
    open_image,
    orientation_of,
    short_reason,
)
from scalesearch.datasets._listing import first_few
from scalesearch.errors import TrialError, UserError
from scalesearch.view import Fit, View

if TYPE_CHECKING:
    import torch

Levels = tuple[float, float]

SIXTEEN_BITS: Levels = (0, 65535)
# Of images of more than 8 bits, so many are looked at to see which values they use.
_SAMPLED = 256
_LONG = 2.0  # times as long as wide: a square cut out of the middle shows half of it or less


@dataclass(frozen=True)
class Reading:
    """How pixels are read.

    Attributes:
        channels: 3 for colour, 1 for grey.
        levels: the values that become black and white in images of more than 8 bits.
        fit: how a square comes of an oblong image: the middle is cut out, bars are added, or it
            is stretched.
    """

    channels: int = 3
    levels: Levels = SIXTEEN_BITS
    fit: Fit = "crop"


def read_upright(path: str, reading: Reading) -> Image.Image:
    """An image rotated as its EXIF data say, in 8 bits, what is transparent in it on white.

    Raises:
        UserError: its data are damaged.
        TrialError: it cannot be read now.
    """
    with _decoding(path), open_image(path) as image:
        return _upright(image, reading)


def read_view(path: str, index: int, view: View, reading: Reading) -> torch.Tensor:
    """What a view shows of the image file of an index, uint8 [C, size, size].

    Errors as of `read_upright`.
    """
    with _decoding(path):
        data = Path(path).read_bytes()
    return read_encoded(data, path, index, view, reading)


def read_encoded(data: bytes, name: str, index: int, view: View, reading: Reading) -> torch.Tensor:
    """The same of an image file's bytes; `name` says in errors which it is.

    A JPEG of which much is seen is decoded at a half, quarter or eighth of its size, never below
    twice the goal.
    """
    import torch

    with _decoding(name), open_image(io.BytesIO(data)) as image:
        orientation = orientation_of(image)
        turned = orientation in ROTATED
        width, height = image.size[::-1] if turned else image.size
        frame = view.frame(index, height, width, reading.fit)
        least = frame.least((height, width))
        image.draft(_mode(reading), least if turned else least[::-1])
        array = _array(image, data, orientation, reading)
    frame = frame.within((height, width), array.shape[:2])
    return view.apply(frame, torch.from_numpy(array).permute(2, 0, 1)[None])[0]


def read_array(path: str, reading: Reading) -> np.ndarray:
    """All of an image, upright, uint8 [H, W, channels], as `read_upright` reads it."""
    with _decoding(path):
        data = Path(path).read_bytes()
        with open_image(io.BytesIO(data)) as image:
            orientation = orientation_of(image)
            image.draft(_mode(reading), image.size)
            return _array(image, data, orientation, reading)


def _array(image: Image.Image, data: bytes, orientation: int, reading: Reading) -> np.ndarray:
    array = decode_jpeg(image, data, reading.channels, orientation)
    if array is not None:
        return array
    upright = _upright(image, reading)
    return np.array(upright).reshape(*upright.size[::-1], reading.channels)


def in_threads(read: Callable[[int], torch.Tensor], indices: Sequence[int]) -> list[torch.Tensor]:
    """What `read` gives for each index.

    As many at once as this process may compute with, so that workers do not compete; two at least,
    as files may come over a network, but for a process that only reads and is one of several.
    """
    import torch
    from torch.utils.data import get_worker_info

    threads = 1 if get_worker_info() else max(2, torch.get_num_threads())
    if threads == 1:
        return [read(index) for index in indices]
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        return list(pool.map(read, indices))


@contextmanager
def _decoding(path: str) -> Iterator[None]:
    """Errors of reading a file in our words."""
    try:
        yield
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        text = f"cannot decode {path}: {short_reason(error)}"
        # A disk or a network that fails is not a fault of the file.
        failing = isinstance(error, OSError) and error.errno is not None
        if failing or isinstance(error, MemoryError):
            raise TrialError(text) from error
        raise UserError(text, key="path", hint="mend or remove the file") from error


def _mode(reading: Reading) -> str:
    return "RGB" if reading.channels == 3 else "L"


def _upright(image: Image.Image, reading: Reading) -> Image.Image:
    return _on_white(_eight_bits(ImageOps.exif_transpose(image), reading.levels), _mode(reading))


def all_undecodable(error: UserError, paths: Sequence[str]) -> UserError:
    """The error of one file that does not decode, made one that names all of these that do not."""
    broken = find_undecodable(paths)
    if not broken:  # what fails comes after decoding
        return error
    return UserError(
        f"cannot decode {len(broken):,} of {len(paths):,} files: {first_few(broken)}",
        key=error.key,
        hint="mend or remove them",
    )


def check_levels(levels: Levels | None) -> None:
    """Rejects levels that do not ascend."""
    if levels is not None and not levels[0] < levels[1]:
        raise UserError(
            f"{list(levels)} cannot be used", key="levels", allowed="two numbers that ascend"
        )


def choose_levels(
    given: Levels | None, paths: Sequence[str], headers: Sequence[Header]
) -> tuple[Levels, tuple[str, ...]]:
    """The levels of the images of more than 8 bits, and what is to be said of them.

    Where none are given and the images use less than half of 16 bits, or more than these hold,
    they are those that the images use.

    Raises:
        UserError: colour of 16 bits that would be read as a few levels.
    """
    notes = []
    many = [path for path, header in zip(paths, headers, strict=True) if _is_many(header.mode)]
    levels = given or SIXTEEN_BITS
    if many:
        low, high = _used(many)
        share = (high - low) / SIXTEEN_BITS[1]
        if given is None and (share < 0.5 or low < 0 or high > SIXTEEN_BITS[1]):
            levels = (low, high)
        notes.append(
            f"16 bits: {len(many):,} images have more than 8 bits a pixel and use {share:.2g} of "
            f"16 bits, {low:g} to {high:g}; {levels[0]:g} becomes black and {levels[1]:g} white "
            "(option `levels`)"
        )
    deep = [path for path, header in zip(paths, headers, strict=True) if header.deep]
    if deep:
        brightest = max(int(np.asarray(_loaded(path)).max()) for path in _spread(deep))
        if brightest < 64:
            raise UserError(
                f"{len(deep):,} images have 16 bits a colour channel and use {brightest + 1} of "
                f"256 levels of them, such as {deep[0]}",
                key="path",
                hint="convert them to 8 bits a channel, scaled to what they use",
            )
        notes.append(
            f"16 bits: of {len(deep):,} images with 16 bits a colour channel the upper 8 are read"
        )
    return levels, tuple(notes)


def notes_on(headers: Sequence[Header], reading: Reading, *, boxes: bool = False) -> list[str]:
    """What was read as what, in sentences."""
    total, notes = len(headers), []

    def note(count: int, text: str) -> None:
        if count:
            notes.append(f"{count:,} of {total:,} images {text}")

    grey = sum(
        header.mode in ("1", "L", "LA", "La", "F") or _is_many(header.mode) for header in headers
    )
    if reading.channels == 3:
        note(grey, "are grey and read as colour")
    else:
        note(total - grey, "are in colour and read as grey")
    note(sum(h.transparent for h in headers), "may be transparent: they are laid on white")
    note(sum(h.moving for h in headers), "hold several pictures: the first is read")
    note(
        sum(h.mode == "CMYK" for h in headers), "are in CMYK and converted to RGB without a profile"
    )
    note(sum(h.orientation != 1 for h in headers), "are turned upright, as their EXIF data say")
    if not boxes and reading.fit == "crop":
        lengths = [max(h.size) / min(h.size) for h in headers]
        note(
            sum(length >= _LONG for length in lengths),
            f"are oblong: the square cut out of the middle shows {1 / max(lengths, default=1):.0%} "
            "of the longest (option `fit: pad` or `fit: stretch`)",
        )
    return notes


def _is_many(mode: str) -> bool:
    """Whether a pixel is one number of more than 8 bits."""
    return mode == "F" or mode.startswith("I")


def _used(paths: Sequence[str]) -> Levels:
    """The least and the highest value in use, but for a thousandth at either end of each image."""
    lows, highs = [], []
    for path in _spread(paths):
        values = np.asarray(_loaded(path), np.float64)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = np.quantile(values, (0.001, 0.999))
            lows.append(low)
            highs.append(high)
    low, high = min(lows, default=0.0), max(highs, default=0.0)
    if high <= low:
        high = low + 1
    return float(low), float(high)


def _spread(paths: Sequence[str]) -> Sequence[str]:
    return paths[:: -(-len(paths) // _SAMPLED)]


def _loaded(path: str) -> Image.Image:
    try:
        with open_image(path) as image:
            image.load()
            return image
    except UNREADABLE as error:
        text = f"cannot decode {path}: {short_reason(error)}"
        raise UserError(text, key="path", hint="mend or remove the file") from error


def _eight_bits(image: Image.Image, levels: Levels) -> Image.Image:
    """More than 8 bits scaled to 8; Pillow's own conversion clips all above 255."""
    if not _is_many(image.mode):
        return image
    values = np.asarray(image)
    if levels == SIXTEEN_BITS and image.mode.startswith("I;16"):
        return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    low, high = levels
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return Image.fromarray(np.nan_to_num(scaled).clip(0, 255).round().astype(np.uint8))


def _on_white(image: Image.Image, mode: str) -> Image.Image:
    """Without the colours that lie hidden in transparent pixels."""
    if image.mode in ("LAB", "HSV"):  # which Pillow makes grey of by way of RGB alone
        image = image.convert("RGB")
    if not image.has_transparency_data:
        return image.convert(mode)
    colours = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(background, colours).convert(mode)
