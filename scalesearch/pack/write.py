"""Packs a data set: its images are read once, in parallel, and written one after the other."""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scalesearch.errors import TrialError, UserError
from scalesearch.files.large import LargeFile, large_file
from scalesearch.interfaces import BoxData, BoxImages, Data, Images, Targets, hook
from scalesearch.pack.file import (
    PAGE,
    PackFile,
    Tables,
    header_bytes,
    open_pack,
    tail_bytes,
    tail_start,
)
from scalesearch.pack.listing import listing
from scalesearch.pack.manifest import Manifest, Source, manifest_of, parts_of
from scalesearch.plugins import calling
from scalesearch.view import View

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int], None]  # images that are written, and all
Item = TypeVar("Item")
Read = TypeVar("Read")

_BLOCK = 1 << 25  # bytes that are read at once: 32 MiB
_ROW = 64  # bytes of an image in all tables, about


def write_pack(
    data: Data, path: Path, side: int, source: Source, progress: Progress | None = None
) -> PackFile:
    """The pack of a data set, which lies at `path` once it is whole.

    Images with labels are packed as a view of a square of `side` pixels shows them. Images with
    objects keep their shape: those whose longer side has more pixels are scaled to `side`, their
    boxes and areas with them; none is enlarged.

    Raises:
        UserError: the disk is full, the place cannot be written, an image cannot be read, or the
            data set gives pixels of another shape than it says.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    source = replace(source, listing=listing(data))
    manifest = manifest_of(data, side, source, now)
    place = tail_start(manifest.count, manifest.slot)
    method = "image" if manifest.task == "detection" else "batch"
    with large_file(path, needed_bytes(data, side)) as file, reading(source.dataset, method):
        writer = _Writer(file, manifest, progress or (lambda done, total: None))
        parts = [*parts_of(data).values()]
        if manifest.task == "detection":
            tables = _write_boxes(writer, parts)
        else:
            for images in parts:
                _write_squares(writer, images)
            labels = [np.asarray(images.labels, np.int64) for images in parts]
            tables = {"labels": np.concatenate(labels)}
        tail = tail_bytes(manifest, {**tables, "checks": writer.checks})
        file.write(tail, place)
        file.write(header_bytes(manifest, tail), 0)
    return open_pack(path)


def needed_bytes(data: Data, side: int) -> int:
    """About the size of the pack of a data set on a disk."""
    parts = [*parts_of(data).values()]
    count = sum(map(len, parts))
    if not isinstance(data, BoxData):
        return count * (side * side * data.channels + _ROW)
    sizes = (packed_size(one.size(index), side) for one in parts for index in range(len(one)))
    return sum(h * w * data.channels for h, w in sizes) + count * (PAGE // 2 + _ROW)


@contextmanager
def reading(dataset: str, method: str) -> Iterator[None]:
    """An image that cannot be read is a `UserError`: it ends the packing, not a trial.

    So is what a data set of one's own raises in a method.
    """
    try:
        with calling(dataset, method):
            yield
    except TrialError as error:
        raise UserError(str(error), key="dataset", hint="nothing was packed; try again") from error


@dataclass
class _Writer:
    """Writes images into their places and keeps their checksums.

    Attributes:
        file: of the pack.
        checks: uint32 [count].
        done: how many images are written.
    """

    file: LargeFile
    manifest: Manifest
    progress: Progress
    checks: np.ndarray = field(init=False)
    done: int = 0

    def __post_init__(self) -> None:
        self.checks = np.zeros(self.manifest.count, np.uint32)

    def write(self, images: np.ndarray) -> None:
        """Squares uint8 [B, S, S, C], after those that are written."""
        slot = self.manifest.slot
        self.file.write(images.data, PAGE + self.done * slot)
        for row in images.reshape(len(images), slot):
            self.checks[self.done] = zlib.crc32(row.data)
            self.done += 1
        self.progress(self.done, self.manifest.count)

    def write_one(self, image: np.ndarray) -> None:
        """An image uint8 [H, W, C]; the rest of its place is a hole in the file."""
        slot = self.manifest.slot
        self.file.write(image.data, PAGE + self.done * slot)
        self.checks[self.done] = zlib.crc32(bytes(slot - image.size), zlib.crc32(image.data))
        self.done += 1
        self.progress(self.done, self.manifest.count)


def _write_squares(writer: _Writer, images: Images) -> None:
    manifest = writer.manifest
    side, size = manifest.side, max(1, _BLOCK // manifest.slot)

    def read(start: int) -> np.ndarray:
        indices = np.arange(start, min(start + size, len(images)))
        batch = images.batch(indices, View(side))
        due = (len(indices), manifest.channels, side, side)
        return _checked(batch, due).permute(0, 2, 3, 1).contiguous().numpy()

    # One ahead: what a batch reads in several threads has an end that few of them work at.
    for block in _in_order(read, range(0, len(images), size), threads=2):
        writer.write(block)


def _write_boxes(writer: _Writer, parts: list[BoxImages]) -> Tables:
    """Writes images with objects, and gives their tables."""
    side, channels = writer.manifest.side, writer.manifest.channels
    every = [(images, index) for images in parts for index in range(len(images))]
    ids = [number for images in parts for number in images.ids]
    objects: list[Targets] = []
    sizes: list[tuple[int, int]] = []

    def read(one: tuple[BoxImages, int]) -> tuple[np.ndarray, Targets]:
        images, index = one
        size = images.size(index)
        image = _checked(images.image(index), (channels, *size))
        image = scaled(image, packed_size(size, side))
        return image.permute(1, 2, 0).contiguous().numpy(), images.targets(index)

    with _single_threaded_torch() as threads:
        for (images, index), (image, targets) in zip(
            every, _in_order(read, every, threads=threads), strict=True
        ):
            writer.write_one(image)
            sizes.append((image.shape[0], image.shape[1]))
            objects.append(scaled_targets(targets, images.size(index), sizes[-1]))
    counts = (len(one.labels) for one in objects)
    return {
        **_path_tables(parts),
        "ids": np.array(ids, np.int64),
        "sizes": np.array(sizes, np.int32).reshape(-1, 2),
        "original_sizes": np.array([m.size(n) for m, n in every], np.int32).reshape(-1, 2),
        "starts": _starts(counts),
        "boxes": np.concatenate([one.boxes for one in objects]).astype(np.float32),
        "labels": np.concatenate([one.labels for one in objects]).astype(np.int64),
        "crowd": np.concatenate([one.crowd for one in objects]).astype(bool),
        "areas": np.concatenate([one.areas for one in objects]).astype(np.float64),
    }


def _path_tables(parts: list[BoxImages]) -> Tables:
    """The files of the images, by which a report shows them, as bytes one after the other."""
    every = [hook(images, "paths") for images in parts]
    if any(paths is None for paths in every):
        return {}
    names = [os.fsencode(Path(path).absolute()) for paths in every for path in paths]
    return {
        "paths": np.frombuffer(b"".join(names), np.uint8),
        "path_starts": _starts(map(len, names)),
    }


def _starts(counts: Iterable[int]) -> np.ndarray:
    """Where each of them starts, and where the last one ends, int64 [N + 1]."""
    return np.cumsum([0, *counts], dtype=np.int64)


def packed_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of an image whose longer side has at most `side` pixels."""
    longest = max(size)
    if longest <= side:
        return size
    height, width = (max(1, round(length * side / longest)) for length in size)
    return height, width


def scaled(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """An image uint8 [C, H, W] at another size, as a training resizes it."""
    from torch.nn import functional

    if tuple(image.shape[-2:]) == size:
        return image
    return functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]


def scaled_targets(targets: Targets, before: tuple[int, int], after: tuple[int, int]) -> Targets:
    """The objects of an image that had one size, height and width, and has another."""
    down, across = (new / old for new, old in zip(after, before, strict=True))
    factors = np.array([across, down, across, down])
    return Targets(
        boxes=(np.asarray(targets.boxes, np.float64) * factors).astype(np.float32).reshape(-1, 4),
        labels=targets.labels,
        crowd=targets.crowd,
        areas=np.asarray(targets.areas, np.float64) * (down * across),
    )


def _checked(pixels: Any, due: tuple[int, ...]) -> torch.Tensor:
    """The pixels of a data set.

    Raises:
        UserError: they are not what they have to be.
    """
    import torch

    shape, kind = tuple(getattr(pixels, "shape", ())), getattr(pixels, "dtype", type(pixels))
    if shape != due or kind != torch.uint8:
        raise UserError(
            f"the data set gives images of {kind} {list(shape)}",
            key="dataset",
            allowed=f"uint8 {list(due)}",
        )
    return pixels


def _in_order(read: Callable[[Item], Read], items: Any, *, threads: int) -> Iterator[Read]:
    """What `read` gives for each item in order, some of them read ahead in threads."""
    with ThreadPoolExecutor(threads, thread_name_prefix="pack") as pool:
        ahead: deque[Future[Read]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(read, item))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # after an error or Ctrl-C: nothing more is read
            for one in ahead:
                one.cancel()


@contextmanager
def _single_threaded_torch() -> Iterator[int]:
    """Each of our threads resizes an image of its own; as many as torch would have, two at least.

    So no operation of theirs starts others.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield max(2, before)
    finally:
        torch.set_num_threads(before)
