"""The images of a pack, as a training reads them. In a pickle they are a path and places."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from scalesearch.interfaces import BoxData, BoxImages, Data, ImageData, Images, Targets
from scalesearch.pack.file import PackFile, shared_pack
from scalesearch.view import View

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Packed:
    """Some images of a pack.

    Attributes:
        path, stamp: of the pack.
        places: of the images in it, int64 [N], or a range.
    """

    in_memory: ClassVar[bool] = True

    path: str
    stamp: str
    places: np.ndarray | range

    def __len__(self) -> int:
        return len(self.places)

    def __getstate__(self) -> dict[str, Any]:
        """Without what this process has cached."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def pack(self) -> PackFile:
        """The file, opened in this process when it is needed first."""
        return shared_pack(self.path, self.stamp)

    def _at(self, indices: np.ndarray) -> np.ndarray:
        """The places of some of the images."""
        if isinstance(self.places, range):
            if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < len(self):
                raise IndexError(f"indices reach over 0 to {len(self) - 1}")
            return indices + self.places.start
        return self.places[indices]

    def _table(self, name: str) -> np.ndarray:
        """The rows of a table that are of these images."""
        table = self.pack.tables[name]
        if isinstance(self.places, range):
            return table[self.places.start : self.places.stop]
        return table[self.places]


@dataclass(frozen=True)
class PackedImages(_Packed):
    """Squares with labels."""

    @cached_property
    def labels(self) -> np.ndarray:
        """The class of each image, int64 [N]."""
        return self._table("labels")

    def batch(self, indices: np.ndarray, view: View) -> torch.Tensor:
        """What a view shows of the squares, uint8 [B, C, size, size]."""
        # Here and not above: the process that only lists the images needs no torch.
        import torch

        pack, side = self.pack, self.pack.manifest.side
        rows = np.take(pack.pixels, self._at(np.asarray(indices)), axis=0)
        images = torch.from_numpy(rows).view(len(rows), side, side, pack.manifest.channels)
        return view.see_all(indices, images.permute(0, 3, 1, 2))


@dataclass(frozen=True)
class PackedBoxes(_Packed):
    """Images with objects, whose boxes, areas and sizes are in pixels of the packed images."""

    @cached_property
    def ids(self) -> Sequence[int]:
        """The id of each image in its annotations."""
        return tuple(self._table("ids").tolist())

    @cached_property
    def paths(self) -> tuple[str, ...] | None:
        """The file that each image was read from, which may be gone; None of one without."""
        if "paths" not in self.pack.tables:
            return None
        content, starts = (self.pack.tables[name] for name in ("paths", "path_starts"))
        return tuple(
            os.fsdecode(content[starts[place] : starts[place + 1]].tobytes())
            for place in self.places
        )

    def image(self, index: int) -> torch.Tensor:
        """An image as uint8 [C, H, W]."""
        import torch

        height, width = self.size(index)
        channels = self.pack.manifest.channels
        row = self.pack.pixels[self.places[index]][: height * width * channels]
        return torch.from_numpy(row.reshape(height, width, channels).copy()).permute(2, 0, 1)

    def targets(self, index: int) -> Targets:
        """Its objects."""
        tables, place = self.pack.tables, int(self.places[index])
        of_image = slice(*tables["starts"][place : place + 2].tolist())
        names = ("boxes", "labels", "crowd", "areas")
        return Targets(**{name: tables[name][of_image].copy() for name in names})

    def size(self, index: int) -> tuple[int, int]:
        """Its height and width in pixels."""
        return self._pair("sizes", index)

    def original_size(self, index: int) -> tuple[int, int]:
        """Height and width before it was packed."""
        return self._pair("original_sizes", index)

    def _pair(self, name: str, index: int) -> tuple[int, int]:
        height, width = self.pack.tables[name][self.places[index]].tolist()
        return height, width


def data_of(pack: PackFile, notes: Sequence[str] = ()) -> Data:
    """The data set of a pack, with these notes before its own."""
    about = pack.manifest
    parts: dict[str, Any] = {}
    for name, count in about.parts.items():
        start = about.start(name)
        kind = PackedBoxes if about.task == "detection" else PackedImages
        parts[name] = kind(pack.path, pack.stamp, range(start, start + count))
    shared: dict[str, Any] = {
        key: getattr(about, key) for key in ("classes", "channels", "mean", "std", "flip", "files")
    }
    shared |= {"notes": (*notes, *about.notes), **parts}
    if about.task == "detection":
        return BoxData(category_ids=about.category_ids, **shared)
    return ImageData(**shared)


def chosen(images: Any, indices: np.ndarray) -> Any:
    """Some images of a pack, in the order of the indices."""
    return type(images)(images.path, images.stamp, np.asarray(images.places)[indices])


if TYPE_CHECKING:  # they keep the contracts

    def _images(one: PackedImages) -> Images:
        return one

    def _boxes(one: PackedBoxes) -> BoxImages:
        return one
