"""The file of a pack: a header, the images one after the other, tables, a manifest.

    0        magic, version, sizes and the stamp (64 bytes); the rest of the page is empty
    4096     images: `count` places of `slot` bytes each, uint8 [H, W, C] from the start of a place
    tail     tables of numbers, each at a multiple of 64 bytes; then the manifest, JSON in UTF-8

All numbers are little-endian. The stamp is a digest of the tail and is the pack's identity; the
tail holds a checksum of each image. The header is written last.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scalesearch.errors import UserError
from scalesearch.files.paths import is_file
from scalesearch.pack.manifest import Manifest

VERSION = 1
MAGIC = b"scalesearch pack"
PAGE = 4096
_HEADER = struct.Struct("<16sIIQQQ16s")  # magic, version, slot, count, tail, its bytes, stamp
_ALIGNED = 64
_LOOKED_AT = 64  # images whose checksums are compared when a data set is loaded
_AGAIN = "pack the data set again"

Tables = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class PackFile:
    """An open pack: mapped into memory, so that processes share what they read of it.

    Attributes:
        path: of the file.
        stamp: its identity, hexadecimal.
        manifest: what it holds.
        pixels: uint8 [count, slot], read-only.
        tables: arrays whose first axis is the images, or the objects of all images; read-only.
    """

    path: str
    stamp: str
    manifest: Manifest
    pixels: np.ndarray
    tables: Tables

    def check_images(self, most: int = _LOOKED_AT) -> None:
        """Compares the checksums of some images, spread over the file.

        Raises:
            UserError: some are not those that were written.
        """
        chosen = np.unique(np.linspace(0, len(self.pixels) - 1, most).astype(int))
        checks = self.tables["checks"]
        wrong = sum(zlib.crc32(self.pixels[n].data) != int(checks[n]) for n in chosen.tolist())
        if wrong:
            raise _damaged(
                self.path, f"{wrong} of {len(chosen)} images are not those that were written"
            )


class _Header(NamedTuple):
    """The numbers of a header.

    Attributes:
        version: of the format.
        slot: bytes of the place of an image.
        images: how many places there are.
        tail, length: where the tail begins, and its bytes.
        stamp: the tail's digest, hexadecimal.
    """

    version: int
    slot: int
    images: int
    tail: int
    length: int
    stamp: str

    @classmethod
    def of(cls, content: bytes) -> _Header:
        """The header of a file that begins so."""
        _, *numbers, stamp = _HEADER.unpack(content)
        return cls(**dict(zip(cls._fields, [*numbers, stamp.hex()], strict=True)))


def open_pack(path: Path | str) -> PackFile:
    """A pack, once its header, size and tail were checked.

    Raises:
        UserError: the file is none, of another version, cut short or damaged.
    """
    return _opened(str(path), expected="")


@lru_cache(maxsize=16)
def shared_pack(path: str, stamp: str) -> PackFile:
    """The pack of a stamp, opened once in a process.

    Raises:
        UserError: it is not there, or another one is in its place.
    """
    return _opened(path, expected=stamp)


def header_bytes(manifest: Manifest, tail: bytes) -> bytes:
    """The first bytes of the file of a pack."""
    place = tail_start(manifest.count, manifest.slot)
    numbers = (VERSION, manifest.slot, manifest.count, place, len(tail))
    return _HEADER.pack(MAGIC, *numbers, _digest(tail))


def tail_bytes(manifest: Manifest, tables: Tables) -> bytes:
    """The tables and the manifest, with the place of each table."""
    content = bytearray()
    places = {}
    for name, table in tables.items():
        content.extend(bytes(-len(content) % _ALIGNED))
        little = np.ascontiguousarray(table).astype(table.dtype.newbyteorder("<"), copy=False)
        places[name] = {"dtype": little.dtype.str, "shape": table.shape, "place": len(content)}
        content.extend(little.tobytes())
    start = len(content)
    text = json.dumps({**manifest.plain(), "tables": places}, ensure_ascii=False)
    content.extend(text.encode(errors="backslashreplace"))
    content.extend(struct.pack("<Q", start))
    return bytes(content)


def tail_start(count: int, slot: int) -> int:
    """Where the tail begins, on a page of its own."""
    return -(-(PAGE + count * slot) // PAGE) * PAGE


def _opened(path: str, expected: str) -> PackFile:
    content = _mapped(path)
    header = _read_header(path, content)
    if expected and header.stamp != expected:
        raise UserError(
            f"{path} is another pack than the one that was loaded first",
            key="path",
            hint="a study needs the same pack from its beginning to its end",
        )
    tail = content[header.tail :]
    # What a worker opens was checked when the data set was loaded.
    if not expected and _digest(tail.data).hex() != header.stamp:
        raise _damaged(path, "its tables and manifest do not have the digest in its header")
    try:
        manifest, tables = _read_tail(tail)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise _damaged(path, f"its manifest cannot be read: {error}") from error
    if (manifest.slot, manifest.count) != (header.slot, header.images):
        raise _damaged(
            path,
            f"its header has {header.images:,} images of {header.slot:,} bytes, its manifest "
            f"{manifest.count:,} of {manifest.side} x {manifest.side} x {manifest.channels}",
        )
    pixels = content[PAGE : PAGE + header.images * header.slot]
    shape = header.images, header.slot
    return PackFile(path, header.stamp, manifest, pixels.reshape(shape), tables)


def _read_header(path: str, content: np.ndarray) -> _Header:
    """The header of a file of this length.

    Raises:
        UserError: it is none, of another version, or of another length.
    """
    if len(content) < PAGE or content[: len(MAGIC)].tobytes() != MAGIC:
        raise UserError(
            f"{path} is not a pack",
            key="path",
            hint="`scalesearch pack DATASET -o FILE --side PIXELS` writes one",
        )
    header = _Header.of(content[: _HEADER.size].tobytes())
    if header.version != VERSION:
        raise UserError(
            f"{path} is a pack of version {header.version}, and this scalesearch reads version "
            f"{VERSION}",
            key="path",
            hint=f"{_AGAIN}, or take the scalesearch that packed it",
        )
    if not header.slot or header.tail != tail_start(header.images, header.slot):
        raise _damaged(path, "its header contradicts itself")
    if len(content) != header.tail + header.length:
        due = header.tail + header.length
        raise _damaged(path, f"it has {len(content):,} bytes, not {due:,}")
    return header


def _mapped(path: str) -> np.ndarray:
    """All bytes of a file, mapped."""
    if not is_file(path):
        raise UserError(
            f"there is no file {path}",
            key="path",
            hint="workers on other machines need it, too: keep it on a disk that all of them see",
        )
    try:
        with Path(path).open("rb") as file:
            if not file.seek(0, 2):
                return np.empty(0, np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", key="path") from error


def _read_tail(tail: np.ndarray) -> tuple[Manifest, Tables]:
    (start,) = struct.unpack("<Q", tail[-8:].tobytes())
    plain: dict[str, Any] = json.loads(tail[start:-8].tobytes())
    tables = {}
    for name, one in plain.pop("tables").items():
        dtype, shape = np.dtype(one["dtype"]), tuple(one["shape"])
        end = one["place"] + dtype.itemsize * int(np.prod(shape))
        tables[name] = tail[one["place"] : end].view(dtype).reshape(shape)
    return Manifest.of(plain), tables


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _damaged(path: str, how: str) -> UserError:
    return UserError(f"{path} is damaged: {how}", key="path", hint=_AGAIN)
