"""The images of a study's data set as a pack that later studies share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import scalesearch
from scalesearch.arch.detector import Architecture
from scalesearch.files.cache import cache_folder
from scalesearch.files.paths import is_file
from scalesearch.interfaces import Data, Space
from scalesearch.pack.cache import Cache, lies_in_memory
from scalesearch.pack.manifest import Source, parts_of
from scalesearch.pack.write import Progress, needed_bytes
from scalesearch.study.schema import Study
from scalesearch.units import format_bytes, format_seconds

_SILENT = 20.0  # seconds between two notes on how far the packing is


def source_of(study: Study) -> Source:
    """The data set of a study as a pack names it."""
    assert study.dataset is not None
    return Source(
        dataset=study.dataset.name,
        options=study.dataset.options,
        seed=study.seed,
        scalesearch=scalesearch.__version__,
    )


def cached_data(study: Study, data: Data, note: Callable[[str], None]) -> Data:
    """The data set with its images in the pack that the study asks for, written if need be.

    Raises:
        UserError: it cannot be written.
    """
    return _cache(study).packed(data, source_of(study), note, _noted(note))


def cached_if_there(study: Study, data: Data, note: Callable[[str], None]) -> Data:
    """The same if nothing is to be written for it; else the data set as it is."""
    cache, source = _cache(study), source_of(study)
    if lies_in_memory(data) or is_file(file := cache.file(data, source)):
        return cache.packed(data, source, note, lambda done, total: None)
    count = sum(map(len, parts_of(data).values()))
    size = format_bytes(needed_bytes(data, cache.side))
    note(f"cache: the run will pack {count:,} images at {cache.side} pixels into {file}: {size}")
    return data


def enlarged_note(
    study: Study,
    data: Data | None,
    phase: str,
    space: Space,
    networks: Sequence[Architecture],
) -> str:
    """A note on networks of a phase that see packed images enlarged; nothing if none does."""
    if study.cache is None or data is None or lies_in_memory(data):
        return ""
    side = study.cache.side
    every = {network.resolution for network in networks}
    if not networks:
        every = {*getattr(space, "slots", {}).get("resolution", ())}
    larger = sorted(one for one in every if one > side)
    if not larger:
        return ""
    span = str(larger[0]) if len(larger) == 1 else f"{larger[0]} to {larger[-1]}"
    return f"{phase}: networks that see {span} pixels get images that are enlarged from {side}"


def _cache(study: Study) -> Cache:
    assert study.cache is not None
    return Cache(folder=study.cache.folder or cache_folder() / "packs", side=study.cache.side)


def _noted(note: Callable[[str], None]) -> Progress:
    """Notes how far it is and what is left, now and then."""
    start = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SILENT or done == total:
            return
        last = now
        left = format_seconds((now - start) / done * (total - done))
        note(f"cache: {done:,} of {total:,} images are packed, about {left} left")

    return report
