"""A pack: images of another data set in one file, as `scalesearch pack` writes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.datasets._split import check_split, limited
from scalesearch.interfaces import BoxData, Data
from scalesearch.pack.cache import packed_notes
from scalesearch.pack.file import open_pack
from scalesearch.pack.images import chosen, data_of
from scalesearch.pack.manifest import parts_of


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images of both tasks, decoded and resized already, split as they were packed.

    Attributes:
        path: the file.
        limit: at most so many images of each part, each class in its proportion; null takes all.
    """

    path: Path
    limit: int | None = None

    def __post_init__(self) -> None:
        check_split(None, self.limit)

    def load(self, seed: int) -> Data:
        """Opens the file and looks at some images; the seed decides which a limit leaves out."""
        pack = open_pack(self.path)
        pack.check_images()
        about = pack.manifest
        note = (
            f"packed {about.packed[:10]} from {about.source}, by scalesearch "
            f"{about.source.scalesearch}, at {about.side} pixels"
        )
        data = data_of(pack, (note, *packed_notes(pack)))
        if self.limit is None:
            return data
        parts: dict[str, Any] = {}
        for name, images in parts_of(data).items():
            boxes = isinstance(data, BoxData)
            labels = np.zeros(len(images), np.int64) if boxes else images.labels
            parts[name] = chosen(images, limited(labels, self.limit, seed))
        kept, every = (sum(map(len, each.values())) for each in (parts, parts_of(data)))
        notes = data.notes
        if kept < every:
            notes = (f"{every - kept:,} of {every:,} packed images are beyond the limit", *notes)
        return replace(data, notes=notes, **parts)
