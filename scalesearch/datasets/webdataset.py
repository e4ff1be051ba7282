"""Images in tar shards, as the package webdataset writes them, without unpacking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from scalesearch.datasets._encoded import Encoded, load_encoded
from scalesearch.datasets._listing import LeftOutFiles
from scalesearch.datasets._own_parts import require_share
from scalesearch.datasets._parts import ImageOptions, assign_parts, counted
from scalesearch.datasets._shard_paths import files_of, named_parts
from scalesearch.datasets._tar_images import Fields, index_shards
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData


@dataclass(frozen=True, kw_only=True)
class Dataset(ImageOptions):
    """Samples `KEY.jpg` with `KEY.cls` (or `KEY.json`) in uncompressed tar files.

    Attributes:
        path: a shard, a pattern such as `shards/train-{000000..000099}.tar` or `shards/*.tar`, or
            a folder of shards. Where their names say `train` and `val` (or `test`), these are the
            split.
        validation_path, test_path: shards that validate, and those that are kept for a test; then
            all of `path` trains, but for what is drawn of it.
        image: the field that is the image, such as `left.jpg`; by default the one that has the
            ending of an image.
        label: the field that is the class, as a number or a word: `cls`, or `json.label` for a
            key of a JSON field; by default the usual ones.
    """

    task: ClassVar[str] = "classification"

    path: Path
    validation_path: Path | None = None
    test_path: Path | None = None
    image: str | None = None
    label: str | None = None

    def load(self, seed: int) -> ImageData:
        """Reads the headers of every shard, opens each image once to check it, and splits them."""
        left_out = LeftOutFiles(self.path.parent)
        parts, notes = self._parts(left_out)
        shards = [shard for each in parts.values() for shard in each]
        indexed = index_shards(shards, Fields(image=self.image, label=self.label))
        for reason, members in indexed.left_out.items():
            left_out.add(reason, str(self.path), members)
        ends = np.cumsum([len(each) for each in parts.values()])
        of_part = np.bincount(
            np.searchsorted(ends, indexed.images.shard, side="right"), minlength=len(parts)
        )
        encoded = Encoded(
            store=indexed.images,
            labels=indexed.labels,
            own=counted(dict(zip(parts, of_part.tolist(), strict=True))),
            key="label",
            notes=(*notes, *indexed.notes),
        )
        return load_encoded(encoded, self, seed, left_out, self.path.parent)

    def _parts(self, left_out: LeftOutFiles) -> tuple[dict[str, list[Path]], list[str]]:
        """The shards of each part that has some of its own, and notes."""
        shards = files_of(self.path, ".tar", "path")
        if self.validation_path is not None or self.test_path is not None:
            return self._given(shards), []
        named = named_parts(shards)
        if not named:
            require_share(self.test, self.path)
            return {"train": shards}, []
        parts, notes = assign_parts(named, self, self.path)
        for shard in shards:
            if not any(shard in each for each in parts.values()):
                left_out.add("shards of another part", str(shard))
        return parts, notes

    def _given(self, shards: list[Path]) -> dict[str, list[Path]]:
        """The shards of parts that options name."""
        parts = {"train": shards}
        for part in ("validation", "test"):
            path = getattr(self, f"{part}_path")
            if path is None:
                if part == "test":
                    require_share(self.test, self.path)
                continue
            if getattr(self, part) is not None:
                raise UserError(f"{part}_path is given already", key=part)
            others = files_of(path, ".tar", f"{part}_path")
            if both := {one for each in parts.values() for one in each} & set(others):
                raise UserError(
                    f"{len(both):,} shards would be in two parts, such as {min(both)}",
                    key=f"{part}_path",
                    hint="name shards that no other option names",
                )
            parts[part] = others
        return parts
