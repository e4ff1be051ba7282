"""Data sets of Hugging Face's package `datasets` on a disk: Arrow or Parquet, read by pyarrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from scalesearch.datasets._encoded import Encoded, load_encoded
from scalesearch.datasets._listing import LeftOutFiles, first_few
from scalesearch.datasets._own_parts import require_share
from scalesearch.datasets._parts import ImageOptions, assign_parts, counted, part_of
from scalesearch.datasets._shard_paths import files_of, named_parts
from scalesearch.errors import UserError
from scalesearch.files.paths import is_dir, is_file
from scalesearch.interfaces import ImageData


@dataclass(frozen=True, kw_only=True)
class Dataset(ImageOptions):
    """Encoded images and their classes in columns of Arrow or Parquet files.

    Attributes:
        path: a folder that `save_to_disk` wrote, of a data set or of one with several splits; a
            folder of Parquet files, which may lie in its `data`; or a pattern of such files, such
            as `data/train-*.parquet`. Parts that are named `train` and `validation` (or `test`)
            are the split.
        image: the column of the images; by default the one of the feature `Image`.
        label: the column of the classes; by default the one of the feature `ClassLabel`.
        unpacked: folder into which Parquet files are unpacked, once: the system's folder for
            caches by default. Workers on other machines need it, too.
    """

    task: ClassVar[str] = "classification"

    path: Path
    image: str | None = None
    label: str | None = None
    unpacked: Path | None = None

    def load(self, seed: int) -> ImageData:
        """Reads the columns, opens each image once to check that it is one, and splits them."""
        # Here and not above: to list the plug-ins needs no pyarrow.
        from scalesearch.datasets._arrow_images import find_columns, is_parquet, read_images

        left_out = LeftOutFiles(self.path.parent)
        parts, notes = self._files(left_out)
        files = [file for each in parts.values() for file in each]
        columns = [find_columns(file, self.image, self.label) for file in files]
        images, labels = read_images(files, columns, self.unpacked)
        if any(map(is_parquet, files)):
            notes.append(
                f"Parquet is read from where it was unpacked: {Path(images.files[0].path).parent}"
            )
        ends = np.cumsum([len(each) for each in parts.values()])
        of_part = np.bincount(
            np.searchsorted(ends, images.file, side="right"), minlength=len(parts)
        )
        encoded = Encoded(
            store=images,
            labels=labels,
            own=counted(dict(zip(parts, of_part.tolist(), strict=True))),
            key="label",
            names=columns[0].classes,
            notes=notes,
        )
        return load_encoded(encoded, self, seed, left_out, self.path.parent)

    def _files(self, left_out: LeftOutFiles) -> tuple[dict[str, list[Path]], list[str]]:
        """The files of each part that has some of its own, and notes."""
        named = self._parts(left_out)
        if list(named) == [""]:
            require_share(self.test, self.path)
            return {"train": list(named[""])}, []
        parts, notes = assign_parts(named, self, self.path)
        for part, files in named.items():
            for file in files:
                if not any(file in each for each in parts.values()):
                    left_out.add(f"files of the part {part}", str(file))
        return parts, notes

    def _parts(self, left_out: LeftOutFiles) -> dict[str, list[Path]]:
        """Part to its files; one part without a name where there are none."""
        if is_file(self.path / "dataset_dict.json"):
            return _of_splits(self.path, left_out)
        if is_file(self.path / "state.json"):
            return {"": _data_files(self.path)}
        folder = self.path
        if is_dir(folder) and not any(folder.glob("*.parquet")) and is_dir(folder / "data"):
            folder = folder / "data"
        ending = ".parquet"
        if is_dir(folder) and not any(folder.glob("*.parquet")) and any(folder.glob("*.arrow")):
            ending = ".arrow"
        files = files_of(folder, ending, "path")
        return named_parts(files) or {"": files}


def _of_splits(folder: Path, left_out: LeftOutFiles) -> dict[str, list[Path]]:
    """The files of each split of a folder that `DatasetDict.save_to_disk` wrote."""
    names = _listed(folder / "dataset_dict.json", "splits")
    parts: dict[str, list[Path]] = {}
    for name in names:
        part = part_of(name)
        files = _data_files(folder / _plain(name, folder))
        if part is None:
            left_out.add("in splits of other names", str(folder / name), len(files))
        elif part in parts:
            raise UserError(
                f"{folder} has two {part} splits among {first_few(names)}",
                key="path",
                hint="set path to the folder of one of them",
            )
        else:
            parts[part] = files
    if not parts:
        raise UserError(
            f"no split of {folder} is named train: {first_few(names)}",
            key="path",
            hint="set path to the folder of the split that is to be split at random",
        )
    return parts


def _data_files(folder: Path) -> list[Path]:
    """The Arrow files of a folder that `save_to_disk` wrote."""
    entries = _listed(folder / "state.json", "_data_files")
    names = [entry.get("filename") if isinstance(entry, dict) else None for entry in entries]
    files = [folder / _plain(name, folder) for name in names]
    missing = [str(file) for file in files if not is_file(file)]
    if missing or not files:
        raise UserError(
            f"{len(missing):,} of {len(files):,} files are missing: {first_few(missing)}",
            key="path",
            hint="write the data set again with `save_to_disk`",
        )
    return files


def _listed(file: Path, key: str) -> Sequence[Any]:
    try:
        listed = json.loads(file.read_bytes())[key]
        if not isinstance(listed, list):
            raise ValueError(f"{key} is no list")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(
            f"cannot be read: {error}",
            file=str(file),
            key="path",
            hint="write the data set again with `save_to_disk`",
        ) from error
    return listed


def _plain(name: Any, folder: Path) -> str:
    """A name of a file or folder in this one; never one that leads elsewhere."""
    if isinstance(name, str) and name and Path(name).name == name:
        return name
    raise UserError(f"{folder} names {name!r}, which is no file in it", key="path")
