"""Images in tar shards, as the package webdataset writes them, without unpacking."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scalesearch.datasets._encoded import Encoded, load_encoded
from scalesearch.datasets._listing import LeftOutFiles
from scalesearch.datasets._parts import ImageOptions, two_parts
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
        validation_path: shards that validate; then all of `path` trains.
        image: the field that is the image, such as `left.jpg`; by default the one that has the
            ending of an image.
        label: the field that is the class, as a number or a word: `cls`, or `json.label` for a
            key of a JSON field; by default the usual ones.
    """

    task: ClassVar[str] = "classification"

    path: Path
    validation_path: Path | None = None
    image: str | None = None
    label: str | None = None

    def load(self, seed: int) -> ImageData:
        """Reads the headers of every shard, opens each image once to check it, and splits them."""
        left_out = LeftOutFiles(self.path.parent)
        shards, count, notes = self._shards(left_out)
        indexed = index_shards(shards, Fields(image=self.image, label=self.label))
        for reason, members in indexed.left_out.items():
            left_out.add(reason, str(self.path), members)
        encoded = Encoded(
            store=indexed.images,
            labels=indexed.labels,
            train=int((indexed.images.shard < count).sum()),
            key="label",
            notes=(*notes, *indexed.notes),
        )
        return load_encoded(encoded, self, seed, left_out, self.path.parent)

    def _shards(self, left_out: LeftOutFiles) -> tuple[list[Path], int, list[str]]:
        """All shards, how many of them, the first ones, train (0 if that is drawn), and notes."""
        shards = files_of(self.path, ".tar", "path")
        if self.validation_path is not None:
            if self.validation is not None:
                raise UserError("validation_path is given already", key="validation")
            others = files_of(self.validation_path, ".tar", "validation_path")
            if both := set(shards) & set(others):
                raise UserError(
                    f"{len(both):,} shards would train and validate, such as {min(both)}",
                    key="validation_path",
                    hint="name shards that are not among those of `path`",
                )
            return [*shards, *others], len(shards), []
        parts = named_parts(shards)
        if not parts:
            return shards, 0, []
        train, validation, note = two_parts(parts, self.validation, str(self.path))
        for shard in shards:
            if shard not in train and shard not in validation:
                left_out.add("shards of another part", str(shard))
        return [*train, *validation], len(train) if validation else 0, [note]
