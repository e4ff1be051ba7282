"""Where the members of an uncompressed tar archive lie: its headers are read, and nothing else."""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from scalesearch.errors import UserError
from scalesearch.files.version import FileVersion

_BLOCK = 512
_END = bytes(_BLOCK)
# Of names and other attributes of a member; a header that claims more is damaged.
_MOST_ATTRIBUTES = 1 << 20
_REGULAR = (b"0", b"\0", b"7")
# Links, devices, folders and pipes, whatever their headers say of a size.
_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}


class Member(NamedTuple):
    """A member of an archive.

    Attributes:
        name: as it is written; never used as a path.
        header, data: bytes before its header, or those that belong to it, and before its content.
        size: bytes of its content.
        is_file: neither a folder, a link, nor a file with holes.
    """

    name: str
    header: int
    data: int
    size: int
    is_file: bool


class Torn(Exception):
    """An archive that breaks off or is damaged; the text says where."""


class ArchiveFile:
    """An open file of which any thread may read any part; closed with its last reference."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    def read(self, start: int, count: int) -> bytes:
        """`count` bytes from `start`; `OSError` if the file does not have them."""
        data = os.pread(self._descriptor, count, start)
        while len(data) < count:
            more = os.pread(self._descriptor, count - len(data), start + len(data))
            if not more:
                raise OSError(f"{self._path} ends before byte {start + count:,}")
            data += more
        return data


class Part(io.RawIOBase):
    """A part of an archive as a file of its own."""

    def __init__(self, file: ArchiveFile, start: int, size: int) -> None:
        self._file, self._start, self._size = file, start, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._position))
        buffer[:count] = self._file.read(self._start + self._position, count)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start")  # as of any file
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position


@lru_cache(maxsize=128)
def archive(version: FileVersion) -> ArchiveFile:
    """An archive that this process keeps open, one of the last few.

    Raises:
        OSError: it cannot be opened, or has another size by now.
    """
    file = ArchiveFile(version.path)
    if file.size != version.size:
        raise OSError(f"{version.path} was changed since its headers were read")
    return file


def check_uncompressed(path: str, file: ArchiveFile) -> None:
    """Rejects an archive in which no byte can be found without reading all before it."""
    start = file.read(0, min(file.size, 8))
    for magic, (name, tool) in _COMPRESSED.items():
        if start.startswith(magic):
            raise UserError(
                f"{path} is compressed with {name}: images are read at their place in a tar file, "
                "which a compressed one does not have",
                key="path",
                allowed="uncompressed .tar files",
                hint=f"{tool} it once: JPEGs in it are no smaller for it",
            )


def read_members(file: ArchiveFile) -> Iterator[Member]:
    """The members of an archive, in their order.

    Raises:
        Torn: it breaks off, or a header is damaged.
    """
    position, first = 0, None
    attributes: dict[str, str] = {}
    while (header := _header(file, position)) is not None:
        start = position if first is None else first
        name = attributes.get("path", header.name)
        size = _size(attributes, header.size, position)
        if header.type in _WITHOUT_CONTENT:
            size = 0
        data, position = position + _BLOCK, position + _BLOCK + -(-size // _BLOCK) * _BLOCK
        if data + size > file.size:
            raise Torn(f"breaks off within {name!r}, which has {size:,} bytes from byte {data:,}")
        if header.type in (b"L", b"K", b"x", b"X"):
            first = start
            attributes |= _attributes(file, header.type, data, size)
        elif header.type != b"g":
            sparse = any(key.startswith("GNU.sparse") for key in attributes)
            is_file = header.type in _REGULAR and not sparse and not name.endswith("/")
            yield Member(name, start, data, size, is_file)
            attributes, first = {}, None


def member_name(file: ArchiveFile, header: int) -> str:
    """The name of the member whose header begins at a byte."""
    attributes: dict[str, str] = {}
    while (found := _header(file, header)) is not None:
        if found.type not in (b"L", b"K", b"x", b"X"):
            return attributes.get("path", found.name)
        attributes |= _attributes(file, found.type, header + _BLOCK, found.size)
        header += _BLOCK + -(-found.size // _BLOCK) * _BLOCK
    return f"byte {header}"


class _Header(NamedTuple):
    name: str
    size: int
    type: bytes


def _header(file: ArchiveFile, position: int) -> _Header | None:
    """The header at a byte, in the format of POSIX (ustar) or GNU; None at the mark of the end."""
    if position + _BLOCK > file.size:
        raise Torn(f"breaks off at byte {file.size:,}, without the mark of an archive's end")
    block = file.read(position, _BLOCK)
    if block == _END:
        return None
    try:
        # The checksum itself counts as spaces.
        total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        if _number(block[148:156]) != total:
            raise ValueError("its checksum is wrong")
        size = _number(block[124:136])
    except ValueError as error:
        raise Torn(f"has no header at byte {position:,}: {error}") from None
    # Bytes that are not UTF-8 stay what they are, as in names of files.
    name = block[:100].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    if block[257:263] == b"ustar\0" and block[345]:
        folder = block[345:500].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        name = f"{folder}/{name}"
    return _Header(name, size, block[156:157])


def _number(field: bytes) -> int:
    """Octal digits between spaces and zeros, or a binary number behind a set first bit (GNU)."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip()
    number = int(digits, 8) if digits else 0
    if number < 0:
        raise ValueError("it holds a negative number")
    return number


def _size(attributes: dict[str, str], size: int, position: int) -> int:
    """The size of a member, which its attributes may replace."""
    text = attributes.get("size", "")
    if not text:
        return size
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Torn(f"has a damaged header before byte {position:,}")
    return int(text)


def _attributes(file: ArchiveFile, kind: bytes, data: int, size: int) -> dict[str, str]:
    """What is written before a header and replaces parts of it: pax records or a long name."""
    if size > _MOST_ATTRIBUTES or data + size > file.size:
        raise Torn(f"has a damaged header before byte {data:,}")
    content = file.read(data, size)
    if kind in (b"L", b"K"):
        name = content.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        return {"path": name} if kind == b"L" else {}
    return _pax_records(content, data)


def _pax_records(content: bytes, data: int) -> dict[str, str]:
    """Records `LENGTH KEY=VALUE`, each with a line's end."""
    records, start = {}, 0
    while start < len(content) and content[start] != 0:
        digits, _, _ = content[start : start + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = content[start + len(digits) + 1 : start + length - 1]
        key, equals, value = record.partition(b"=")
        if not equals or start + length > len(content):
            raise Torn(f"has damaged attributes at byte {data + start:,}")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        start += length
    return records
