"""What is known of a folder's image files from an earlier start, kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL

import scalesearch
from scalesearch.datasets._image_files import Header
from scalesearch.errors import UserError
from scalesearch.files.cache import cache_folder
from scalesearch.files.write import write_bytes

# What a header is taken from: files of another version are not read.
_VERSION = {"format": 1, "scalesearch": scalesearch.__version__, "pillow": PIL.__version__}
_FIELDS = [each.name for each in fields(Header) if each.name != "head"]
_CHECK, DIGEST = 32, 16  # bytes of a digest before the content of a manifest, and of one in it


def _none(kind: Any, *shape: int) -> np.ndarray:
    return np.empty((0, *shape), kind)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found of the files of one folder.

    Attributes:
        names: paths relative to the folder.
        stats: int64 [N, 2]: bytes and nanoseconds of the last change when it was found.
        outcomes: int32 [N], of each file its place in `table`.
        table: headers without their `head`, and reasons why files are no images.
        heads: uint64 [N], differ between images that differ, but for a few.
        settled: bool [N]; a file that was opened within a tick of its last change is not: another
            change might not show.
        digests: of files whose heads are others', by their place: of all their bytes.
        plain: whether the images that have a digest are of one colour, as far as that was asked.
    """

    names: Sequence[str] = ()
    stats: np.ndarray = field(default_factory=lambda: _none(np.int64, 2))
    outcomes: np.ndarray = field(default_factory=lambda: _none(np.int32))
    table: tuple[Header | str, ...] = ()
    heads: np.ndarray = field(default_factory=lambda: _none(np.uint64))
    settled: np.ndarray = field(default_factory=lambda: _none(np.bool_))
    digests: Mapping[int, bytes] = field(default_factory=dict)
    plain: Mapping[bytes, bool] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def readable(self) -> np.ndarray:
        """Whether each file is an image, bool [N]."""
        return np.array([isinstance(one, Header) for one in self.table], bool)[self.outcomes]

    def choose(self, places: np.ndarray) -> Facts:
        """Those of some files, in the order of the places."""
        digests = (
            (number, self.digests.get(place)) for number, place in enumerate(places.tolist())
        )
        return replace(
            self,
            names=[self.names[place] for place in places.tolist()],
            stats=self.stats[places],
            outcomes=self.outcomes[places],
            heads=self.heads[places],
            settled=self.settled[places],
            digests={number: digest for number, digest in digests if digest is not None},
        )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of the files of a folder.

    Attributes:
        folder: their folder.
        facts: of each file that an earlier start opened.
        listing: hash of the files that were asked for when it was written: the first of them.
        date: when it was written; empty if nothing is known.
    """

    folder: Path
    facts: Facts = field(default_factory=Facts)
    listing: str = ""
    date: str = ""

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.facts.names)}

    def names(self, paths: Sequence[str]) -> list[str]:
        """Paths relative to the folder."""
        root = f"{self.folder}{os.sep}".replace(os.sep * 2, os.sep)  # of the root itself, too
        return [path.removeprefix(root) for path in paths]

    def places(self, names: Sequence[str], stats: np.ndarray) -> np.ndarray:
        """The place of each file in `facts`, int64 [N]; -1 of those that are not known."""
        if listing_hash(names, stats) == self.listing:
            return np.arange(len(names))
        places = self._places
        return np.array([places.get(name, -1) for name in names], np.int64)

    def is_known(self, path: str, status: os.stat_result) -> bool:
        """Whether a file was opened before as it is now."""
        place = self._places.get(self.names([path])[0], -1)
        stats = (status.st_size, status.st_mtime_ns)
        return place >= 0 and tuple(self.facts.stats[place].tolist()) == stats


def open_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; without facts if there is none that this version can read."""
    try:
        content = _file(folder).read_bytes()
    except (OSError, UserError):
        return Manifest(folder=folder)
    check, content = content[:_CHECK], content[_CHECK:]
    if hashlib.blake2b(content, digest_size=_CHECK).digest() != check:
        return Manifest(folder=folder)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].tobytes())
        if about["version"] != _VERSION:
            return Manifest(folder=folder)
        facts = _from_arrays(arrays, about)
    return Manifest(
        folder=folder,
        facts=facts,
        listing=about["listing"],
        date=about["date"],
    )


def keep_manifest(folder: Path, listed: Facts, others: Facts) -> None:
    """Writes what is known of the files that were asked for, and of others in their folder.

    Raises:
        UserError: it cannot be written.
    """
    facts = _both(listed, others)
    about = {
        "version": _VERSION,
        "folder": os.path.realpath(folder),  # for those who look what this file is
        "date": datetime.now().astimezone().isoformat(" ", "minutes"),
        "listing": listing_hash(listed.names, listed.stats),
        "table": [
            one if isinstance(one, str) else [getattr(one, name) for name in _FIELDS]
            for one in facts.table
        ],
    }
    buffer = io.BytesIO()
    np.savez(buffer, **_to_arrays(facts, about))
    content = buffer.getvalue()
    check = hashlib.blake2b(content, digest_size=_CHECK).digest()
    write_bytes(_file(folder), check + content)


def listing_hash(names: Sequence[str], stats: np.ndarray) -> str:
    """A hash of the names, sizes and times of change of files."""
    digest = hashlib.blake2b(np.ascontiguousarray(stats).data, digest_size=DIGEST)
    digest.update(_text(names))
    return digest.hexdigest()


def _both(facts: Facts, others: Facts) -> Facts:
    """Facts as one, of which the second ones' table begins the first ones'."""

    def whole(name: str) -> np.ndarray:
        return np.concatenate([getattr(facts, name), getattr(others, name)])

    moved = {len(facts) + place: digest for place, digest in others.digests.items()}
    digests = {**facts.digests, **moved}
    used, outcomes = np.unique(whole("outcomes"), return_inverse=True)
    return replace(
        facts,
        names=[*facts.names, *others.names],
        stats=whole("stats"),
        outcomes=outcomes.astype(np.int32),
        table=tuple(facts.table[number] for number in used.tolist()),
        heads=whole("heads"),
        settled=whole("settled"),
        digests=digests,
        plain={one: facts.plain[one] for one in set(digests.values()) & set(facts.plain)},
    )


def _file(folder: Path) -> Path:
    """Where the manifest of a folder is kept: one file, whatever path leads to the folder."""
    path = os.fsencode(os.path.realpath(folder))
    name = hashlib.blake2b(path, digest_size=DIGEST).hexdigest()
    return cache_folder() / "manifests" / f"{name}.manifest"


def _text(names: Sequence[str]) -> bytes:
    return os.fsencode("\0".join(names))


def _to_arrays(facts: Facts, about: Mapping[str, Any]) -> dict[str, Any]:
    def row(digests: Sequence[bytes]) -> np.ndarray:
        return np.frombuffer(b"".join(digests), np.uint8)

    return {
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        "names": np.frombuffer(zlib.compress(_text(facts.names), 1), np.uint8),
        "stats": facts.stats,
        "outcomes": facts.outcomes,
        "heads": facts.heads,
        "settled": facts.settled,
        "digested": np.array([*facts.digests], np.int64),
        "digests": row([*facts.digests.values()]),
        "asked": row([*facts.plain]),
        "plain": np.array([*facts.plain.values()], bool),
    }


def _from_arrays(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Facts:
    def parts(name: str) -> list[bytes]:
        content = arrays[name].tobytes()
        return [content[start : start + DIGEST] for start in range(0, len(content), DIGEST)]

    def outcome(plain: Any) -> Header | str:
        if isinstance(plain, str):
            return plain
        kept = dict(zip(_FIELDS, plain, strict=True))
        return Header(**kept | {"size": tuple(kept["size"]), "head": b""})

    names = os.fsdecode(zlib.decompress(arrays["names"].tobytes())).split("\0")
    return Facts(
        names=names if len(arrays["stats"]) else (),
        stats=arrays["stats"],
        outcomes=arrays["outcomes"],
        table=tuple(map(outcome, about["table"])),
        heads=arrays["heads"],
        settled=arrays["settled"],
        digests=dict(zip(arrays["digested"].tolist(), parts("digests"), strict=True)),
        plain=dict(zip(parts("asked"), arrays["plain"].tolist(), strict=True)),
    )
