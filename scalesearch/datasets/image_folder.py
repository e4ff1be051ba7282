"""Your own images: one sub-folder for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from scalesearch.datasets._checked_files import Source, check_files, check_skip
from scalesearch.datasets._class_folders import (
    LabelledFiles,
    check_same_classes,
    find_split,
    leave_out_folder,
    list_classes,
    note_parts,
)
from scalesearch.datasets._image_files import (
    check_channels,
)
from scalesearch.datasets._listing import LeftOutFiles, sub_folders
from scalesearch.datasets._manifest import Manifest, open_manifest
from scalesearch.datasets._own_parts import (
    assign,
    joined,
    require_share,
)
from scalesearch.datasets._parts import Labelled, split_labelled
from scalesearch.datasets._paths import Paths
from scalesearch.datasets._pixels import (
    Levels,
    Reading,
    all_undecodable,
    check_levels,
    choose_levels,
    in_threads,
    notes_on,
    read_view,
)
from scalesearch.datasets._split import (
    TestImages,
    check_split,
)
from scalesearch.errors import UserError
from scalesearch.files.paths import is_dir
from scalesearch.interfaces import ImageData
from scalesearch.view import Fit, View, stacked

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images of any size and of every format that Pillow reads, decoded when they are needed.

    Attributes:
        path: a folder with one sub-folder for each class; or with `train`, `val` (or `valid`,
            `validation`) and `test`, or two of these, each holding the same classes, which are then
            the split: `test` is kept for the end where something else validates.
        validation: share of each class kept for validation (0.2 by default): of all images, or of
            those in `train` where no other folder validates.
        test: share of each class that no phase sees, on which the reported networks are scored
            once at the end; or the name of the folder that is kept for it, such as `val`.
        limit: at most so many images in all, each class in its proportion; null takes all.
        channels: 3 for colour, 1 for grey.
        flip: whether a mirrored image keeps its label (no for text and digits).
        fit: how a square comes of an oblong image: `crop` cuts out the middle, `pad` adds black
            bars, `stretch` changes its shape.
        levels: the values that become black and white in images of more than 8 bits a pixel; by
            default 0 and 65535, or those that the images use if that is less than half of it.
        skip_unreadable: so many files that are no images are left out; more are an error.
    """

    task: ClassVar[str] = "classification"

    path: Path
    validation: float | None = None
    test: TestImages = None
    limit: int | None = None
    channels: Literal[1, 3] = 3
    flip: bool = True
    fit: Fit = "crop"
    levels: Levels | None = None
    skip_unreadable: int = 0

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit, self.test)
        check_channels(self.channels)
        check_levels(self.levels)
        check_skip(self.skip_unreadable)

    def load(self, seed: int) -> ImageData:
        """Lists the images, opens those that no earlier start opened, and splits them."""
        if not is_dir(self.path):
            raise UserError(f"there is no folder {self.path}", key="path")
        left_out = LeftOutFiles(self.path)
        folders = sub_folders(self.path, left_out)
        named, manifest = find_split(folders, self.test), open_manifest(self.path)
        if named is None:
            require_share(self.test, self.path)
            files = list_classes(self.path, folders, left_out, manifest)
            files = replace(files, notes=(*files.notes, *note_parts(folders)))
            own: Mapping[str, int] = {}
        else:
            files, own = self._listed_split(folders, named, left_out, manifest)
        checked = check_files([Source(files.listing, manifest)], left_out, self.skip_unreadable)
        files, own = files.readable(checked.places, own)
        headers, groups = checked.headers, checked.groups
        levels, of_levels = choose_levels(self.levels, files.paths, headers)
        reading = Reading(channels=self.channels, levels=levels, fit=self.fit)
        labelled = Labelled(
            images=FolderImages(Paths(files.paths), files.labels, reading),
            classes=files.classes,
            groups=groups,
            own=own,
            name=lambda index: files.paths[index],
            ending=lambda index: Path(files.paths[index]).suffix,
            notes=(*checked.notes, *files.notes, *of_levels, *notes_on(headers, reading)),
        )
        return split_labelled(labelled, self, seed, left_out)

    def _listed_split(
        self,
        folders: Sequence[Path],
        named: Mapping[str, Path],
        left_out: LeftOutFiles,
        manifest: Manifest,
    ) -> tuple[LabelledFiles, dict[str, int]]:
        """The files of all parts, the training ones first, and how many each part has."""
        parts, notes = assign(named, self.validation, self.test, self.path)
        for folder in folders:
            if not any(part.is_relative_to(folder) for part in parts.values()):
                leave_out_folder(folder, left_out)
        listed = {
            part: list_classes(place, sub_folders(place, left_out), left_out, manifest)
            for part, place in parts.items()
        }
        files, *others = listed.values()
        for other in others:
            check_same_classes(files, other, joined(parts))
            files += other
        counts = {part: len(each.paths) for part, each in listed.items()}
        return replace(files, notes=(*notes, *files.notes)), counts


@dataclass(frozen=True)
class FolderImages:
    """Image files with labels.

    Attributes:
        paths: one for each image.
        labels: int64 [N].
        reading: how pixels are read.
    """

    paths: Paths
    labels: np.ndarray
    reading: Reading

    def __len__(self) -> int:
        return len(self.paths)

    def choose(self, indices: np.ndarray) -> FolderImages:
        """Some of the images, in the order of the indices."""
        return replace(self, paths=self.paths.choose(indices), labels=self.labels[indices])

    def batch(self, indices: np.ndarray, view: View) -> torch.Tensor:
        """What a view shows of the images, uint8 [B, C, size, size], fitted as `Reading.fit` says.

        Raises:
            UserError: files are damaged; all that are, of all of these images, are named.
            TrialError: a file cannot be read now.
        """

        def read(index: int) -> torch.Tensor:
            return read_view(self.paths[index], index, view, self.reading)

        try:
            return stacked(in_threads(read, indices.tolist()))
        except UserError as error:
            raise all_undecodable(error, self.paths) from error
