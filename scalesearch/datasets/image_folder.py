"""Your own images: one sub-folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from scalesearch.datasets._checked_files import Source, check_files, check_skip
from scalesearch.datasets._class_folders import (
    LabelledFiles,
    check_same_classes,
    copies_note,
    find_split,
    leave_out_folder,
    list_classes,
    note_parts,
)
from scalesearch.datasets._image_files import (
    check_channels,
    imagenet_statistics,
)
from scalesearch.datasets._listing import LeftOutFiles, first_few, sub_folders
from scalesearch.datasets._manifest import Manifest, open_manifest
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
from scalesearch.datasets._split import DEFAULT_VALIDATION, Split, check_split, limited
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
        path: a folder with one sub-folder for each class; or with `train` and one of `val`,
            `valid`, `validation` and `test`, each holding the same classes, which are then the
            split.
        validation: share of each class kept for validation (0.2 by default); not to be set when
            the folder holds its own split.
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
    limit: int | None = None
    channels: Literal[1, 3] = 3
    flip: bool = True
    fit: Fit = "crop"
    levels: Levels | None = None
    skip_unreadable: int = 0

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit)
        check_channels(self.channels)
        check_levels(self.levels)
        check_skip(self.skip_unreadable)

    def load(self, seed: int) -> ImageData:
        """Lists the images, opens those that no earlier start opened, and splits them."""
        if not is_dir(self.path):
            raise UserError(f"there is no folder {self.path}", key="path")
        left_out = LeftOutFiles(self.path)
        folders = sub_folders(self.path, left_out)
        parts, manifest = find_split(folders), open_manifest(self.path)
        if parts is None:
            files = list_classes(self.path, folders, left_out, manifest)
            files = replace(files, notes=(*files.notes, *note_parts(folders)))
            own = 0
        else:
            files, own = self._listed_split(folders, parts, left_out, manifest)
        checked = check_files([Source(files.listing, manifest)], left_out, self.skip_unreadable)
        counts = [own, len(files.paths) - own] if own else [len(files.paths)]
        files, (first, *_) = files.readable(checked.places, counts)
        headers, groups = checked.headers, checked.groups
        levels, of_levels = choose_levels(self.levels, files.paths, headers)
        reading = Reading(channels=self.channels, levels=levels, fit=self.fit)
        if own:
            train, validation = self._own_split(files, groups, first, seed, left_out)
        else:
            share = DEFAULT_VALIDATION if self.validation is None else self.validation
            split = Split(validation=share, limit=self.limit)
            train, validation = split.indices(files.labels, files.classes, seed, groups)
            left_out.add_rest(len(files.paths) - len(train) - len(validation))
        images = FolderImages(Paths(files.paths), files.labels, reading)
        account = left_out.account(images.paths.choose(np.concatenate([train, validation])))
        mean, std = imagenet_statistics(self.channels)
        return ImageData(
            train=images.choose(train),
            validation=images.choose(validation),
            classes=files.classes,
            channels=self.channels,
            mean=mean,
            std=std,
            flip=self.flip,
            notes=(
                str(account),
                *checked.notes,
                *files.notes,
                *copies_note(files, groups),
                *of_levels,
                *notes_on(headers, reading),
            ),
            files=account,
        )

    def _listed_split(
        self,
        folders: Sequence[Path],
        parts: tuple[Path, Path],
        left_out: LeftOutFiles,
        manifest: Manifest,
    ) -> tuple[LabelledFiles, int]:
        """The files of both parts, and how many of them are the first part's."""
        names = " and ".join(part.name for part in parts)
        if self.validation is not None:
            raise UserError(
                f"{self.path} holds its own split, {names}",
                key="validation",
                hint=f"leave it out, or set path: {parts[0]} to split that part alone",
            )
        for folder in folders:
            if not any(part.is_relative_to(folder) for part in parts):
                leave_out_folder(folder, left_out)
        train, validation = (
            list_classes(part, sub_folders(part, left_out), left_out, manifest) for part in parts
        )
        check_same_classes(train, validation, names)
        split = f"the folders {names} are the split"
        return replace(train, notes=(split, *train.notes)) + validation, len(train.paths)

    def _own_split(
        self,
        files: LabelledFiles,
        groups: np.ndarray,
        own: int,
        seed: int,
        left_out: LeftOutFiles,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Training images that stand in neither other part nor beyond the limit, and the others."""
        every = np.arange(len(groups))
        train, validation = every[:own], every[own:]
        both = np.isin(groups[:own], groups[own:])
        for index in train[both]:
            left_out.add("of the training images that validate, too", files.paths[index])
        train = train[~both]
        if missing := set(range(len(files.classes))) - set(files.labels[train].tolist()):
            names = first_few(files.classes[label] for label in sorted(missing))
            raise UserError(
                f"no image is left to train {names}: all of them validate, too",
                key="path",
                hint="validate with other images, or set path to one part, which is then split",
            )
        if self.limit is None:
            return train, validation
        total, classes = len(train) + len(validation), len(files.classes)
        if self.limit < 2 * classes:
            raise UserError(
                f"{self.limit} images cannot show {classes} classes in both parts",
                key="limit",
                allowed=f"{2 * classes} or more, or null",
            )
        # In proportion, but an image of each class at least.
        most = min(len(validation), self.limit - classes)
        of_validation = min(max(self.limit * len(validation) // total, classes), most)
        train, validation = (
            part[limited(files.labels[part], limit, seed)]
            for part, limit in (
                (train, self.limit - of_validation),
                (validation, of_validation),
            )
        )
        left_out.add_rest(total - len(train) - len(validation))
        return train, validation


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
