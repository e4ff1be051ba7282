"""Encoded images that lie in larger files, such as tar shards: checked and read like files."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from scalesearch.datasets._checked_files import readable_counts, unreadable_notes
from scalesearch.datasets._image_files import (
    Header,
    groups_of,
    in_parallel,
    read_header,
    why_undecodable,
)
from scalesearch.datasets._labels import positions, read_labels
from scalesearch.datasets._listing import LeftOutFiles, first_few
from scalesearch.datasets._parts import ImageOptions, Labelled, split_labelled
from scalesearch.datasets._pixels import (
    Levels,
    Reading,
    choose_levels,
    in_threads,
    notes_on,
    read_encoded,
)
from scalesearch.errors import TrialError, UserError
from scalesearch.interfaces import ImageData
from scalesearch.view import View, stacked

if TYPE_CHECKING:
    import torch


class Store(Protocol):
    """Images in their encoded form; small to pickle, its files are opened in each process."""

    def __len__(self) -> int: ...

    @property
    def containers(self) -> Sequence[str]:
        """Paths of the files in which the images lie, as a user has them."""

    def name(self, index: int) -> str:
        """Where an image lies, for messages: `train-000.tar/0001.jpg`."""

    def ending(self, index: int) -> str:
        """Of the image's name, such as `.jpg`; empty where it has none."""

    def read(self, index: int) -> bytes:
        """The bytes of an image, as they would lie in a file of its own; `OSError` if it fails."""

    def open(self, index: int) -> tuple[IO[bytes], int]:
        """The same as an open file of which no more is read than is asked for, and its size."""

    def place(self, index: int) -> Hashable:
        """The same for two indices that are one image."""

    def choose(self, indices: np.ndarray) -> Any:
        """A store of some of the images, in the order of the indices."""


@dataclass(frozen=True)
class EncodedImages:
    """Labelled images of a store.

    Attributes:
        store: of the images.
        labels: int64 [N].
        reading: how pixels are read.
    """

    store: Store
    labels: np.ndarray
    reading: Reading

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def containers(self) -> Sequence[str]:
        """Paths of the files in which the images lie."""
        return self.store.containers

    def choose(self, indices: np.ndarray) -> EncodedImages:
        """Some of the images, in the order of the indices."""
        return replace(self, store=self.store.choose(indices), labels=self.labels[indices])

    def batch(self, indices: np.ndarray, view: View) -> torch.Tensor:
        """What a view shows of the images, uint8 [B, C, size, size], fitted as `Reading.fit` says.

        Raises:
            UserError: images are damaged; all that are, of all of these images, are named.
            TrialError: a file cannot be read now.
        """

        def read(index: int) -> torch.Tensor:
            name = self.store.name(index)
            try:
                data = self.store.read(index)
            except OSError as error:
                raise TrialError(f"cannot read {name}: {error.strerror or error}") from error
            return read_encoded(data, name, index, view, self.reading)

        try:
            return stacked(in_threads(read, indices.tolist()))
        except UserError as error:
            raise _all_undecodable(error, self.store) from error


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The images of a store with what is written of their classes.

    Attributes:
        store: of the images.
        labels: of each, a word or a whole number; None where there is none.
        own: how many of them are meant for each part, as of `Labelled`.
        names: of the classes, of which labels are positions, where the data set has them.
        key: the option that says which labels these are.
        notes: what is irregular, in sentences.
    """

    store: Store
    labels: Sequence[Any]
    own: Mapping[str, int]
    key: str
    names: Sequence[str] = ()
    notes: Sequence[str] = ()


def load_encoded(
    encoded: Encoded, options: ImageOptions, seed: int, left_out: LeftOutFiles, folder: Path
) -> ImageData:
    """Checks and splits the images of a store, whose names are seen from `folder`.

    Raises:
        UserError: images cannot be read, labels are none, or a split is not possible.
    """
    store = encoded.store
    if encoded.names and not options.classes:
        labels = positions(encoded.labels, encoded.names, encoded.key)
    else:
        labels = read_labels(encoded.labels, options.classes, store.name, encoded.key)
    checked = check_encoded(store, options.skip_unreadable)
    for name in checked.unreadable:
        left_out.add("unreadable", str(folder / name))
    own = readable_counts(labels.numbers, labels.classes, checked.places, encoded.own)
    store, headers = store.choose(checked.places), checked.headers
    levels, of_levels = _choose_levels(options.levels, store, headers)
    reading = Reading(channels=options.channels, levels=levels, fit=options.fit)
    labelled = Labelled(
        images=EncodedImages(store, labels.numbers[checked.places], reading),
        classes=labels.classes,
        groups=encoded_groups(store, headers),
        own=own,
        name=lambda index: str(folder / store.name(index)),
        ending=store.ending,
        notes=(
            *checked.notes,
            *encoded.notes,
            *labels.notes,
            *of_levels,
            *notes_on(headers, reading),
        ),
    )
    return split_labelled(labelled, options, seed, left_out)


@dataclass(frozen=True, kw_only=True)
class CheckedImages:
    """Those of a store that are images.

    Attributes:
        places: int64 [N], of the images in the store.
        headers: of the images.
        unreadable: name to reason of what is left out.
        notes: the same in sentences.
    """

    places: np.ndarray
    headers: Sequence[Header]
    unreadable: Mapping[str, str]
    notes: Sequence[str]


def check_encoded(store: Store, skip_unreadable: int | None = None) -> CheckedImages:
    """Opens every image once; one that breaks off early is found by its end.

    At most `skip_unreadable` that are no images are left out; None where that is no option.

    Raises:
        UserError: more are not images; their number and the first of them are named.
    """

    def header(index: int) -> Header | str:
        try:
            file, size = store.open(index)
        except OSError as error:
            return error.strerror or str(error)
        return read_header(file, size)

    found = in_parallel(header, range(len(store)))
    reasons = {
        store.name(index): each for index, each in enumerate(found) if not isinstance(each, Header)
    }
    return CheckedImages(
        places=np.array([n for n, each in enumerate(found) if isinstance(each, Header)], np.int64),
        headers=[each for each in found if isinstance(each, Header)],
        unreadable=reasons,
        notes=unreadable_notes(reasons, len(found), skip_unreadable),
    )


def encoded_groups(store: Store, headers: Sequence[Header]) -> np.ndarray:
    """A number for each image, int64 [N]: the same for those that are equal byte for byte, as
    `check_files` has for files.
    """

    def identity(index: int) -> tuple[bytes, Hashable]:
        return hashlib.blake2b(store.read(index)).digest(), store.place(index)

    return groups_of(headers, identity, lambda index: io.BytesIO(store.read(index)))


def _choose_levels(
    given: Levels | None, store: Store, headers: Sequence[Header]
) -> tuple[Levels, tuple[str, ...]]:
    """The levels of images of more than 8 bits, and what is to be said of them; errors as of
    `choose_levels`.
    """
    opened = [_Lazy(store, index) for index in range(len(headers))]
    return choose_levels(given, cast("list[str]", opened), headers)


class _Lazy(io.RawIOBase):
    """An image of a store, read when it is opened; few of many are."""

    def __init__(self, store: Store, index: int) -> None:
        self._store, self._index = store, index
        self._data: IO[bytes] | None = None

    def __str__(self) -> str:
        return self._store.name(self._index)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def _file(self) -> IO[bytes]:
        if self._data is None:
            self._data = io.BytesIO(self._store.read(self._index))
        return self._data

    def read(self, size: int | None = -1) -> bytes:
        return self._file().read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file().seek(offset, whence)

    def tell(self) -> int:
        return self._file().tell()


def _all_undecodable(error: UserError, store: Store) -> UserError:
    """The error of one image that does not decode, made one that names all that do not."""
    reasons = in_parallel(
        lambda index: why_undecodable(io.BytesIO(store.read(index))), range(len(store))
    )
    broken = [f"{store.name(n)} ({reason})" for n, reason in enumerate(reasons) if reason]
    if not broken:  # what fails comes after decoding
        return error
    return UserError(
        f"cannot decode {len(broken):,} of {len(store):,} images: {first_few(broken)}",
        key=error.key,
        hint="mend or remove them",
    )
