"""Image files checked before the first training; what did not change since is not opened again."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.datasets._image_files import Header, header_of, in_parallel, is_plain
from scalesearch.datasets._listing import LeftOutFiles, Listing, first_few
from scalesearch.datasets._manifest import DIGEST, Facts, Manifest, keep_manifest
from scalesearch.errors import UserError

# How far file systems round times of change: whole seconds (some, two of them) or a tick of the
# system's clock.
_SECONDS, _TICK = 2_000_000_000, 20_000_000
_NAMED = 20  # unreadable files


@dataclass(frozen=True)
class Source:
    """Files of one folder, and what is known of them."""

    listing: Listing
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class CheckedFiles:
    """The images among the files of several folders.

    Attributes:
        paths: of the images.
        places: int64 [N], of each image among the files of all folders.
        headers: of the images; their `head` is empty.
        groups: int64 [N], the same for files that are equal byte for byte. Files of one plain
            colour show nothing that could be learned by heart: of them, only those that are one
            file under several paths have the same number.
        unreadable: path to reason of files that are left out.
        notes: what changed since the last start, and what is left out, in sentences.
    """

    paths: Sequence[str]
    places: np.ndarray
    headers: Sequence[Header]
    groups: np.ndarray
    unreadable: Mapping[str, str]
    notes: tuple[str, ...]


def check_skip(skip_unreadable: int) -> None:
    """Rejects a bound that is none."""
    if skip_unreadable < 0:
        raise UserError(
            f"{skip_unreadable!r} cannot be used", key="skip_unreadable", allowed="0 or more"
        )


def check_files(
    sources: Sequence[Source], left_out: LeftOutFiles, skip_unreadable: int | None = None
) -> CheckedFiles:
    """Opens every file that is new or changed; one that breaks off early is found by its end.

    At most `skip_unreadable` files that are no images are left out; None where that is no option.

    Raises:
        UserError: more are not images; their number and the first of them are named.
    """
    folders = [_look(source) for source in sources]
    changes = [note for one in folders for note in one.changes(len(folders) > 1)]
    try:
        unreadable = {path: reason for one in folders for path, reason in one.unreadable()}
        left = unreadable_notes(unreadable, sum(map(len, folders)), skip_unreadable)
        groups = _groups(folders)
    finally:
        failures = [note for one in folders for note in one.keep()]
    for path in unreadable:
        left_out.add("unreadable", path)
    readable = np.concatenate([one.facts.readable for one in folders])
    return CheckedFiles(
        paths=[path for one in folders for path in one.images()],
        places=np.flatnonzero(readable),
        headers=[header for one in folders for header in one.headers()],
        groups=groups,
        unreadable=unreadable,
        notes=(*changes, *left, *failures),
    )


def unreadable_notes(
    unreadable: Mapping[str, str], total: int, allowed: int | None
) -> Sequence[str]:
    """What is to be said of files, name to reason, that are left out of so many.

    Raises:
        UserError: more than are allowed; their number and the first of them are named.
    """
    if not unreadable:
        return []
    named = [f"{path} ({reason})" for path, reason in unreadable.items()]
    if len(unreadable) > (allowed or 0):
        raise UserError(
            f"{len(unreadable):,} of {total:,} files cannot be read as images: {first_few(named)}",
            key="path",
            allowed=f"{allowed:,} of them, by `skip_unreadable`" if allowed else "",
            hint="mend or remove them"
            + ("" if allowed is None else ", or leave out as many by `skip_unreadable`"),
        )
    return [f"{len(unreadable):,} unreadable files are left out: {first_few(named, _NAMED)}"]


def readable_counts(
    numbers: np.ndarray, classes: Sequence[str], places: np.ndarray, counts: Mapping[str, int]
) -> dict[str, int]:
    """How many images each part has of those at some places, in ascending order.

    Args:
        numbers: int64 [N], the class of each image, in the order of the parts.
        classes: their names.
        places: int64 [M], of images that can be read.
        counts: of all images of each part; nothing of a whole.

    Raises:
        UserError: a part has none left of a class.
    """
    parts, left, start = counts or {"": len(numbers)}, {}, 0
    for name, count in parts.items():
        of_part = places[(places >= start) & (places < start + count)]
        gone = np.setdiff1d(numbers[start : start + count], numbers[of_part]).tolist()
        if gone:
            raise UserError(
                f"no {name and name + ' '}image of "
                f"{first_few(classes[label] for label in gone)} can be read",
                key="path",
                hint="mend the files, or leave the class out",
            )
        left[name], start = len(of_part), start + count
    return {name: left[name] for name in counts}


@dataclass
class _Folder:
    """The files of one folder, looked at now.

    Attributes:
        paths: of the files.
        manifest: what an earlier start found.
        facts: what is known of each of them now.
        places: int64 [N], of each in the facts of the manifest; -1 if it is new.
        same: bool [N], whether it has the size and time of change that it had.
        gone: bool [M], of the manifest's files, those that are no longer there.
        digests: of files whose heads are others', by their place; more are added.
        plain: whether the images of a digest have one colour; more are added.
        added: whether some were.
    """

    paths: Sequence[str]
    manifest: Manifest
    facts: Facts
    places: np.ndarray
    same: np.ndarray
    gone: np.ndarray
    digests: dict[int, bytes]
    plain: dict[bytes, bool]
    added: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def images(self) -> list[str]:
        """The files that are images."""
        return [self.paths[place] for place in np.flatnonzero(self.facts.readable).tolist()]

    def headers(self) -> list[Header]:
        """Those of the images."""
        table: Sequence[Any] = self.facts.table
        return [table[outcome] for outcome in self.facts.outcomes[self.facts.readable].tolist()]

    def unreadable(self) -> list[tuple[str, str]]:
        """The other files, and why they are none."""
        table, outcomes = self.facts.table, self.facts.outcomes
        places = np.flatnonzero(~self.facts.readable).tolist()
        return [(self.paths[place], str(table[outcomes[place]])) for place in places]

    def digest(self, places: Sequence[int]) -> list[bytes]:
        """The digests of all bytes of some files."""
        missing = [place for place in places if place not in self.digests]
        found = in_parallel(_digest, [self.paths[place] for place in missing])
        self.digests.update(zip(missing, found, strict=True))
        self.added |= bool(missing)
        return [self.digests[place] for place in places]

    def changes(self, several: bool) -> list[str]:
        """What is new, changed and gone since the last start, in a sentence."""
        known, changed = self.places >= 0, int((self.places >= 0).sum() - self.same.sum())
        counts = {"changed": changed, "new": int((~known).sum()), "gone": int(self.gone.sum())}
        if not self.manifest.date or not any(counts.values()):
            return []
        words = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
        where = f" of {self.manifest.folder}" if several else ""
        total = len(self.manifest.facts)
        return [f"manifest{where}: {total:,} files known, {words} since {self.manifest.date}"]

    def keep(self) -> list[str]:
        """Writes the manifest if something changed; a sentence on why that cannot be done."""
        old = self.manifest.facts
        if (
            self.same.all()
            and not self.gone.any()
            and np.array_equal(old.outcomes[self.places], self.facts.outcomes)
            and np.array_equal(old.settled[self.places], self.facts.settled)
            and not self.added
        ):
            return []
        stay = ~self.gone
        stay[self.places[self.places >= 0]] = False
        facts = replace(self.facts, digests=self.digests, plain=self.plain)
        try:
            keep_manifest(self.manifest.folder, facts, old.choose(np.flatnonzero(stay)))
        except UserError as error:
            return [f"manifest: every file is opened again at the next start: {error.problem}"]
        return []


def _look(source: Source) -> _Folder:
    """Opens the files of a folder that are not known, or not as they are now."""
    manifest, paths, stats = source.manifest, source.listing.paths, source.listing.stats
    old = manifest.facts
    names = manifest.names(paths)
    places = manifest.places(names, stats)
    same = places >= 0
    same[same] = (old.stats[places[same]] == stats[same]).all(1)
    # What was no image is looked at again: a disk may have failed, or a library be installed.
    sure = same.copy()
    sure[same] = (old.settled & old.readable)[places[same]]
    fresh = np.flatnonzero(~sure)
    now = time.time_ns()
    found = in_parallel(header_of, [paths[place] for place in fresh.tolist()])
    table = {outcome: number for number, outcome in enumerate(old.table)}
    outcomes, heads = np.zeros(len(paths), np.int32), np.zeros(len(paths), np.uint64)
    outcomes[sure], heads[sure] = old.outcomes[places[sure]], old.heads[places[sure]]
    for place, one in zip(fresh.tolist(), found, strict=True):
        outcome = one
        if isinstance(one, Header):
            heads[place] = int.from_bytes(one.head[:8], "little")
            outcome = replace(one, head=b"")
        outcomes[place] = table.setdefault(outcome, len(table))
    ticks = np.where(stats[:, 1] % 1_000_000_000 == 0, _SECONDS, _TICK)
    settled = sure | (stats[:, 1] + ticks < now)
    facts = Facts(
        names=names,
        stats=stats,
        outcomes=outcomes,
        table=tuple(table),
        heads=heads,
        settled=settled,
    )
    here = np.full(len(old), -1)
    here[places[sure]] = np.flatnonzero(sure)
    digests = {int(here[place]): one for place, one in old.digests.items() if here[place] >= 0}
    return _Folder(
        paths=paths,
        manifest=manifest,
        facts=facts,
        places=places,
        same=same,
        gone=_gone(manifest, places),
        digests=digests,
        plain=dict(old.plain),
    )


def _gone(manifest: Manifest, places: np.ndarray) -> np.ndarray:
    """Which files of a manifest are no longer there, bool [N].

    Those that were not asked for now may be another data set's of the same folder.
    """
    rest = np.ones(len(manifest.facts), bool)
    rest[places[places >= 0]] = False
    for place in np.flatnonzero(rest).tolist():
        rest[place] = not os.path.lexists(manifest.folder / manifest.facts.names[place])
    return rest


def _groups(folders: Sequence[_Folder]) -> np.ndarray:
    """The group of each image of all folders, int64 [N]."""
    readable = [np.flatnonzero(one.facts.readable) for one in folders]
    heads = np.concatenate(
        [one.facts.heads[places] for one, places in zip(folders, readable, strict=True)]
    )
    groups = np.arange(len(heads))
    order = np.argsort(heads)
    repeats = heads[order[1:]] == heads[order[:-1]]
    shared = np.zeros(len(heads), bool)
    shared[order[1:][repeats]] = shared[order[:-1][repeats]] = True
    if not shared.any():
        return groups
    members: list[tuple[int, bytes, str]] = []
    start = 0
    for one, places in zip(folders, readable, strict=True):
        of_folder = np.flatnonzero(shared[start : start + len(places)])
        digests = one.digest(places[of_folder].tolist())
        paths = [one.paths[place] for place in places[of_folder].tolist()]
        members += zip((of_folder + start).tolist(), digests, paths, strict=True)
        start += len(places)
    plain = _plain(folders, members)
    first: dict[object, int] = {}
    for index, digest, path in members:
        groups[index] = first.setdefault(_identity(path) if plain[digest] else digest, index)
    return groups


def _plain(
    folders: Sequence[_Folder], members: Sequence[tuple[int, bytes, str]]
) -> Mapping[bytes, bool]:
    """Whether the images of each digest that several have are of one colour."""
    counts = Counter(digest for _, digest, _ in members)
    known = {digest: False for digest, count in counts.items() if count == 1}
    known |= {digest: plain for one in folders for digest, plain in one.plain.items()}
    asked = {digest: path for _, digest, path in members if digest not in known}
    known |= zip(asked, in_parallel(is_plain, [*asked.values()]), strict=True)
    for one in folders:
        own = {d: known[d] for d in one.digests.values() if counts[d] > 1 and d not in one.plain}
        one.plain.update(own)
        one.added |= bool(own)
    return known


def _digest(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST)).digest()


def _identity(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino
