"""Images in Arrow and Parquet files, as the package `datasets` of Hugging Face lays them down."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scalesearch.datasets._listing import first_few
from scalesearch.errors import UserError
from scalesearch.files.cache import cache_folder
from scalesearch.files.large import large_file, one_at_a_time
from scalesearch.files.version import FileVersion
from scalesearch.text import shortened

# What a file begins with, where a format has nothing else to be told by.
_STARTS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream that was closed
_BATCH = 64  # images that are unpacked at once
_USUAL_LABELS = ("label", "labels", "class", "category", "target", "y")
_WORDS = (pa.types.is_string, pa.types.is_large_string)
_NUMBERS = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_floating)


@dataclass(frozen=True)
class ArrowImages:
    """Encoded images of a column of Arrow streams, which are mapped into memory; a `Store`.

    Attributes:
        files: the streams, as they were when their rows were counted.
        containers: paths of the files that were read or unpacked as these streams.
        column: of the images, bytes or a struct that holds them.
        file, row: of each image: a position in `files`, and a row of that, int [N].
    """

    files: tuple[FileVersion, ...]
    containers: tuple[str, ...]
    column: str
    file: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.file)

    def name(self, index: int) -> str:
        """`train-00000-of-00002.parquet, row 17`, from 1."""
        return f"{Path(self.containers[self.file[index]]).name}, row {self.row[index] + 1}"

    def ending(self, index: int) -> str:
        """Of the format of an image, such as `.jpg`."""
        start = self._buffer(index)[:12].to_pybytes()
        if start[:4] == b"RIFF" and start[8:] == b"WEBP":
            return ".webp"
        return next((ending for magic, ending in _STARTS if start.startswith(magic)), ".other")

    def read(self, index: int) -> bytes:
        """The bytes of an image; `OSError` if they cannot be read."""
        value: bytes = self._buffer(index).to_pybytes()
        return value

    def open(self, index: int) -> tuple[IO[bytes], int]:
        """An image as an open file, of which pages are read as they are asked for; its size."""
        buffer = self._buffer(index)
        return pa.BufferReader(buffer), buffer.size

    def _buffer(self, index: int) -> pa.Buffer:
        """The bytes of an image where they are mapped."""
        chunks, ends = _mapped(self.files[self.file[index]], self.column)
        row = int(self.row[index])
        chunk = int(np.searchsorted(ends, row, side="right"))
        return chunks[chunk][row - (int(ends[chunk - 1]) if chunk else 0)].as_buffer()

    def place(self, index: int) -> Hashable:
        """The file and the row in which it lies."""
        return int(self.file[index]), int(self.row[index])

    def choose(self, indices: np.ndarray) -> ArrowImages:
        """Some of the images, in the order of the indices."""
        return replace(self, file=self.file[indices], row=self.row[indices])


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns are images and labels, and the names of the classes if the features say.

    Attributes:
        image, label: names of columns.
        words: whether labels are words.
        classes: of which labels are positions.
    """

    image: str
    label: str
    words: bool
    classes: tuple[str, ...]


def find_columns(file: Path, image: str | None, label: str | None) -> Columns:
    """The columns of an Arrow or Parquet file: by their features, types and names, or as given.

    Raises:
        UserError: the file cannot be read, or has no or several such columns.
    """
    schema = _schema(file)
    features = _features(schema, file)
    images = [name for name in schema.names if _kind(features, name) == "Image"] or [
        name for name in schema.names if _holds_bytes(schema.field(name).type)
    ]
    chosen = _one(images, image, "image", schema, file)
    if not _holds_bytes(schema.field(chosen).type):
        raise UserError(
            f"the column {chosen!r} of {file} is {schema.field(chosen).type}, not encoded images",
            key="image",
            allowed="bytes, or a struct of `bytes` and `path`",
        )
    labels = [name for name in schema.names if _kind(features, name) == "ClassLabel"] or [
        name for name in _USUAL_LABELS if name in schema.names
    ][:1]
    of_label = _one(labels, label, "label", schema, file)
    kind = schema.field(of_label).type
    if not any(is_one(kind) for is_one in (*_WORDS, *_NUMBERS)):
        raise UserError(
            f"the column {of_label!r} of {file} is {kind}: an image has one class",
            key="label",
            allowed="a column of words or whole numbers",
        )
    names = features.get(of_label, {}).get("names") if _kind(features, of_label) else None
    classes = tuple(map(str, names)) if isinstance(names, list) else ()
    words = any(is_one(kind) for is_one in _WORDS)
    return Columns(image=chosen, label=of_label, words=words, classes=classes)


def read_images(
    files: Sequence[Path], every: Sequence[Columns], folder: Path | None
) -> tuple[ArrowImages, list[Any]]:
    """The images of some files and the label of each, a position in the classes of the first file.

    Parquet files are unpacked into a folder once, as no row of theirs can be read alone.

    Args:
        files: with images and labels of one kind.
        every: the columns of each file.
        folder: into which Parquet files are unpacked; None for the cache.

    Raises:
        UserError: a file cannot be read, images are not in it, or files do not go together.
    """
    columns = every[0]
    for file, of_file in zip(files, every, strict=True):
        _check_alike(columns, of_file, files[0], file)
    versions, counts, labels = list[FileVersion](), [], list[Any]()
    for file, of_file in zip(files, every, strict=True):
        stream, table = _opened(file, columns, folder)
        versions.append(FileVersion.of(str(stream)))
        absent = _bytes_of(table.column(columns.image)).null_count
        if absent:
            raise UserError(
                f"{absent:,} of {table.num_rows:,} images are not in {file}, at most their paths",
                key="path",
                hint="write the data set with `save_to_disk`, which stores the images themselves",
            )
        counts.append(table.num_rows)
        labels += _renumbered(table.column(columns.label).to_pylist(), of_file, columns)
    images = ArrowImages(
        files=tuple(versions),
        containers=tuple(map(str, files)),
        column=columns.image,
        file=np.repeat(np.arange(len(files), dtype=np.int32), counts),
        row=np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
    )
    return images, labels


def _check_alike(first: Columns, other: Columns, first_file: Path, file: Path) -> None:
    """Rejects files whose images or labels do not go together; the order of names is free."""
    for key in ("image", "label"):
        if getattr(first, key) != getattr(other, key):
            raise UserError(
                f"the {key} is the column {getattr(first, key)!r} in {first_file} and "
                f"{getattr(other, key)!r} in {file}",
                key=key,
                hint=f"say which one it is in all: `{key}: NAME`, or write the files alike",
            )
    if first.words != other.words:
        words, numbers = (first_file, file) if first.words else (file, first_file)
        raise UserError(
            f"labels are words in {words} and numbers in {numbers}",
            key="label",
            hint="write the files with labels of one type",
        )
    if set(first.classes) != set(other.classes):
        only = [name for name in first.classes if name not in other.classes]
        only += [name for name in other.classes if name not in first.classes]
        raise UserError(
            f"the classes of {file} have other names than those of {first_file}: "
            f"{first_few(only)} in one of them only",
            key="label",
            hint="write the files with one `ClassLabel`: what another number means is not known",
        )


def _renumbered(labels: list[Any], own: Columns, columns: Columns) -> list[Any]:
    """Labels of a file as positions in the classes of all; those that are none as they are."""
    if own.classes == columns.classes:
        return labels
    position = {name: number for number, name in enumerate(columns.classes)}
    numbers = {number: position[name] for number, name in enumerate(own.classes)}
    return [numbers.get(label, label) for label in labels]


def is_parquet(file: Path) -> bool:
    """Whether a file is named as Parquet."""
    return file.suffix.lower() == ".parquet"


def _opened(file: Path, columns: Columns, folder: Path | None) -> tuple[Path, pa.Table]:
    """The Arrow stream of a file's images and labels, and its table."""
    if not is_parquet(file):
        return file, _table(file, file, columns)
    stream = unpack(file, columns, folder or cache_folder() / "parquet")
    return stream, _table(stream, file, columns)


def unpack(file: Path, columns: Columns, folder: Path) -> Path:
    """An Arrow stream of the images and labels of a Parquet file, written if none is there.

    Of several processes one writes it and the others wait.

    Raises:
        UserError: the file cannot be read, or the stream cannot be written.
    """
    version = FileVersion.of(str(file.resolve()))
    # Without the inode: a copy that takes the place of the file, as of `rsync`, is the same.
    identity = (version.path, version.size, version.mtime_ns, columns.image, columns.label)
    digest = hashlib.blake2b(repr(identity).encode(errors="surrogateescape"), digest_size=16)
    stream = folder / f"{digest.hexdigest()}.arrow"
    if _is_sound(stream, columns):
        return stream
    try:
        with one_at_a_time(stream.with_suffix(".lock")):
            if not _is_sound(stream, columns):  # missing, or damaged since it was written
                _write_stream(file, columns, stream)
    except pa.ArrowException as error:
        raise _unreadable(file, error) from error
    except OSError as error:
        raise UserError(
            f"cannot unpack {file} into {folder}: {error.strerror or error}", key="unpacked"
        ) from error
    except UserError as error:
        raise UserError(
            f"cannot unpack {file} into {folder}: {error.problem}",
            key="unpacked",
            hint="free some space, or name another folder by `unpacked`",
        ) from error
    return stream


def _is_sound(stream: Path, columns: Columns) -> bool:
    try:
        _table(stream, stream, columns)
    except UserError:
        return False
    return True


def _write_stream(file: Path, columns: Columns, path: Path) -> None:
    with pq.ParquetFile(file) as parquet:
        wanted = [
            each.path
            for each in (parquet.schema.column(n) for n in range(len(parquet.schema)))
            if each.path in (columns.image, f"{columns.image}.bytes", columns.label)
        ]
        size = _unpacked_bytes(parquet.metadata, wanted)
        with large_file(path, size) as large, os.fdopen(os.dup(large.descriptor), "wb") as sink:
            writer = None
            for batch in parquet.iter_batches(batch_size=_BATCH, columns=wanted):
                writer = writer or pa.ipc.new_stream(sink, batch.schema)
                writer.write_batch(batch)
            if writer is None:
                empty = parquet.schema_arrow.empty_table().select([columns.image, columns.label])
                writer = pa.ipc.new_stream(sink, empty.schema)
            writer.close()


def _unpacked_bytes(metadata: Any, columns: Sequence[str]) -> int:
    """About how many bytes the columns of a Parquet file take without compression."""
    chunks = [
        group.column(n)
        for group in map(metadata.row_group, range(metadata.num_row_groups))
        for n in range(group.num_columns)
    ]
    return sum(one.total_uncompressed_size for one in chunks if one.path_in_schema in columns)


@lru_cache(maxsize=256)
def _mapped(file: FileVersion, column: str) -> tuple[tuple[Any, ...], np.ndarray]:
    """The chunks of the bytes of a column, and the row after each; mapped, once a process."""
    try:
        whole = pa.ipc.open_stream(pa.memory_map(file.path)).read_all().column(column)
        whole.validate(full=True)  # else an offset that is damaged leads out of the map: SIGBUS
        chunks = _bytes_of(whole).chunks
    except pa.ArrowException as error:
        raise OSError(f"{file.path} was changed: {shortened(str(error))}") from error
    return tuple(chunks), np.cumsum([len(chunk) for chunk in chunks])


def _bytes_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The bytes of a column of images."""
    if not pa.types.is_struct(column.type):
        return column
    position = column.type.get_field_index("bytes")
    return column.flatten()[position]  # null where the struct is


def _table(stream: Path, file: Path, columns: Columns) -> pa.Table:
    """The two columns of an Arrow stream, mapped into memory and of sound structure."""
    try:
        with stream.open("rb") as content:
            content.seek(max(0, stream.stat().st_size - len(_END)))
            whole = content.read() == _END
        table = pa.ipc.open_stream(pa.memory_map(str(stream))).read_all()
        for name in (columns.image, columns.label):
            if name not in table.column_names:
                raise UserError(f"{file} has no column {name!r}, as others have", key="path")
        table = table.select([columns.image, columns.label])
        table.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error
    if not whole:
        raise _unreadable(file, ValueError("it breaks off before its end"))
    return table


def _schema(file: Path) -> pa.Schema:
    try:
        if is_parquet(file):
            return pq.read_schema(file)
        with pa.memory_map(str(file)) as source:
            return pa.ipc.open_stream(source).schema
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> UserError:
    kind = "Parquet" if is_parquet(file) else "an Arrow stream"
    reason = shortened(" ".join(str(error).split()))
    return UserError(
        f"{file} cannot be read as {kind}: {reason}", key="path", hint="fetch or write it again"
    )


def _features(schema: pa.Schema, file: Path) -> Mapping[str, Any]:
    """What Hugging Face's package noted of the columns; nothing where it did not."""
    try:
        noted = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = noted.get("info", {}).get("features")
        if features is None and (info := file.parent / "dataset_info.json").is_file():
            features = json.loads(info.read_bytes()).get("features")
    except (ValueError, AttributeError, RecursionError, OSError):
        return {}
    return features if isinstance(features, dict) else {}


def _kind(features: Mapping[str, Any], name: str) -> str:
    feature = features.get(name)
    kind = feature.get("_type") if isinstance(feature, dict) else None
    return kind if isinstance(kind, str) else ""


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _one(
    candidates: Sequence[str], given: str | None, key: str, schema: pa.Schema, file: Path
) -> str:
    """The column that is given, or the only candidate."""
    if given is not None:
        if given in schema.names:
            return given
        raise UserError(
            f"{file} has no column {given!r}", key=key, allowed=first_few(schema.names, 12)
        )
    if len(candidates) == 1:
        return candidates[0]
    what = f"several columns of this kind: {', '.join(candidates)}" if candidates else "none"
    raise UserError(
        f"which column of {file} is the {key}? it has {what}",
        key=key,
        allowed=first_few(candidates or schema.names, 12),
        hint=f"say which one it is: `{key}: NAME`",
    )
