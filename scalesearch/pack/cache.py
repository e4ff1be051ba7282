"""Packs that studies share: each data set is packed once, by whoever needs it first."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.errors import UserError
from scalesearch.files.large import one_at_a_time, remove_abandoned
from scalesearch.files.paths import is_file
from scalesearch.interfaces import BoxData, Data, hook
from scalesearch.pack.file import VERSION, PackFile, open_pack
from scalesearch.pack.images import data_of
from scalesearch.pack.listing import has_files, listing
from scalesearch.pack.manifest import Source, parts_of
from scalesearch.pack.write import Progress, needed_bytes, reading, write_pack
from scalesearch.units import format_bytes, format_seconds
from scalesearch.view import View

_LOOKS, _LOOK = 8, 32  # images that stand for a part that has no files, and pixels of their side


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Where the packs of data sets lie, and how large their images are.

    Attributes:
        folder: of the packs.
        side: as `write_pack` takes it.
    """

    folder: Path
    side: int

    def file(self, data: Data, source: Source) -> Path:
        """Where the pack of a data set lies, or would: another one for whatever is different."""
        name = re.sub(r"\W+", "_", source.dataset)
        return self.folder / f"{name}-{self.side}-{self._key(data, source)}.pack"

    def packed(
        self, data: Data, source: Source, note: Callable[[str], None], progress: Progress
    ) -> Data:
        """The data set with its images in a pack, which is written if it is not there.

        Of several processes one packs and the others wait.

        Raises:
            UserError: the pack cannot be written.
        """
        if lies_in_memory(data):
            note(f"cache: not used: the images of {source.dataset} lie in memory already")
            return data
        file = self.file(data, source)
        if (pack := _whole(file, note)) is None:
            waiting = f"cache: waiting for the process that packs {file}"
            with one_at_a_time(file.with_suffix(".lock"), lambda: note(waiting)):
                if (pack := _whole(file, note)) is None:
                    pack = self._pack(data, file, source, note, progress)
        return with_images(data, pack)

    def _pack(
        self,
        data: Data,
        file: Path,
        source: Source,
        note: Callable[[str], None],
        progress: Progress,
    ) -> PackFile:
        count, started = sum(map(len, parts_of(data).values())), time.monotonic()
        size = format_bytes(needed_bytes(data, self.side))
        note(f"cache: packing {count:,} images at {self.side} pixels into {file}, about {size}")
        remove_abandoned(self.folder, "*.pack")  # also of data sets that nobody packs again
        pack = write_pack(data, file, self.side, source, progress)
        seconds = format_seconds(time.monotonic() - started)
        note(f"cache: {_described(pack)}, packed in {seconds}")
        return pack

    def _key(self, data: Data, source: Source) -> str:
        """A digest of all that the pixels and tables of a pack follow from."""
        with reading(source.dataset, "image" if isinstance(data, BoxData) else "batch"):
            contents = [_contents(images, data) for images in parts_of(data).values()]
        return _digest(
            json.dumps(
                {
                    "format": VERSION,
                    "scalesearch": source.scalesearch,
                    "dataset": source.dataset,
                    "options": source.options,
                    "seed": source.seed,
                    "side": self.side,
                    "classes": data.classes,
                    "files": listing(data, times=True),
                    "parts": contents,
                },
                sort_keys=True,
            ).encode()
        )


def lies_in_memory(data: Data) -> bool:
    """Whether no image of a data set has to be read or decoded."""
    return all(hook(images, "in_memory") for images in parts_of(data).values())


def with_images(data: Data, pack: PackFile) -> Data:
    """A data set with the images of its pack, and what is to be said of them."""
    packed = data_of(pack)
    notes = (*data.notes, *packed_notes(pack))
    parts: Mapping[str, Any] = parts_of(packed)
    return replace(data, notes=notes, **parts)


def packed_notes(pack: PackFile) -> tuple[str, ...]:
    """What is to be said of a data set that is read from a pack."""
    side = pack.manifest.side
    said = f"images are read from a pack at {side} pixels, and are resized from there"
    if pack.manifest.task != "detection":
        return (said,)
    return (
        said,
        "boxes, areas (by which objects are small, medium or large) and detections are in pixels "
        f"of the packed images, whose longer side is {side} at most",
    )


def _whole(file: Path, note: Callable[[str], None]) -> PackFile | None:
    """The pack that lies there; None of one that is missing or cannot be read, which is said."""
    if not is_file(file):
        return None
    try:
        pack = open_pack(file)
        pack.check_images()
    except UserError as error:
        note(f"cache: {error.problem}; it is packed again")
        return None
    note(f"cache: {_described(pack)}, packed {pack.manifest.packed[:10]}")
    return pack


def _described(pack: PackFile) -> str:
    about = pack.manifest
    size = format_bytes(os.stat(pack.path).st_blocks * 512)  # noqa: PTH116
    return f"{about.count:,} images are read at {about.side} pixels from {pack.path}, {size}"


def _contents(images: Any, data: Data) -> str:
    """A digest of labels or objects, and of some pixels where no file stands for them."""
    digest = hashlib.blake2b(digest_size=8)
    count = len(images)
    look = np.unique(np.linspace(0, count - 1, _LOOKS).astype(int))
    if has_files(images):
        look = look[:0]
    if isinstance(data, BoxData):
        digest.update(np.array(images.ids, np.int64).tobytes())
        for index in range(count):
            one = images.targets(index)
            for values in (one.boxes, one.labels, one.crowd, one.areas):
                digest.update(np.ascontiguousarray(values).tobytes())
        pixels = [images.image(index) for index in look.tolist()]
    else:
        digest.update(np.asarray(images.labels, np.int64).tobytes())
        pixels = [images.batch(look, View(_LOOK))] if len(look) else []
    for each in pixels:
        digest.update(each.contiguous().numpy().tobytes())
    return f"{count} {digest.hexdigest()}"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
