"""Images in tar shards, as WebDataset has them: an index of what lies where, and reading by it."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from scalesearch.datasets._image_files import in_parallel
from scalesearch.datasets._listing import endings, first_few
from scalesearch.datasets._tar_index import (
    ArchiveFile,
    Member,
    Part,
    Torn,
    archive,
    check_uncompressed,
    member_name,
    read_members,
)
from scalesearch.errors import UserError, nearest
from scalesearch.files.version import FileVersion

# A sample's key and the name of a field: all before and behind the first point of the last part.
_KEY_AND_FIELD = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
_USUAL_LABELS = ("cls", "label", "class", "category", "target", "y")
_BLOCK = 4096  # bytes of an image that are read at once to check it
_MOST_LABEL_BYTES = 1 << 24


@dataclass(frozen=True)
class TarImages:
    """Encoded images of uncompressed tar files, read by their place; a `Store`.

    Attributes:
        shards: the files, as they were when their headers were read.
        endings: of images, such as `.jpg`.
        shard, ending: of each image, positions in these, int [N].
        header, data, size: bytes before its header and its content, and of its content, int64 [N].
    """

    shards: tuple[FileVersion, ...]
    endings: tuple[str, ...]
    shard: np.ndarray
    ending_of: np.ndarray
    header: np.ndarray
    data: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def containers(self) -> tuple[str, ...]:
        """Paths of the shards."""
        return tuple(shard.path for shard in self.shards)

    def name(self, index: int) -> str:
        """`train-000.tar/0001.jpg`."""
        shard = self.shards[self.shard[index]]
        try:
            member = member_name(archive(shard), int(self.header[index]))
        except (OSError, Torn):  # it was changed since
            member = f"byte {self.header[index]}"
        return f"{Path(shard.path).name}/{member}"

    def ending(self, index: int) -> str:
        """Of the image's name, such as `.jpg`."""
        return self.endings[self.ending_of[index]]

    def read(self, index: int) -> bytes:
        """The bytes of an image; `OSError` if they cannot be read."""
        file = archive(self.shards[self.shard[index]])
        return file.read(int(self.data[index]), int(self.size[index]))

    def open(self, index: int) -> tuple[IO[bytes], int]:
        """An image as an open file, of which blocks are read as they are asked for; its size."""
        file, size = archive(self.shards[self.shard[index]]), int(self.size[index])
        return io.BufferedReader(Part(file, int(self.data[index]), size), _BLOCK), size

    def place(self, index: int) -> Hashable:
        """The shard and the byte at which it lies."""
        return int(self.shard[index]), int(self.data[index])

    def choose(self, indices: np.ndarray) -> TarImages:
        """Some of the images, in the order of the indices."""
        return replace(
            self,
            shard=self.shard[indices],
            ending_of=self.ending_of[indices],
            header=self.header[indices],
            data=self.data[indices],
            size=self.size[indices],
        )


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Which fields of a sample are its image and its label; None where that is to be found.

    Attributes:
        image: `jpg`, or `left.jpg`.
        label: `cls`, `txt`, or `json.label` for a key in `json`.
    """

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Indexed:
    """The images of some shards.

    Attributes:
        images: in the order of the shards.
        labels: of each image, words or whole numbers; None where a sample has none.
        left_out: members that are neither images nor labels, by reason.
        notes: what is irregular in the shards, in sentences.
    """

    images: TarImages
    labels: list[Any]
    left_out: Counter[str]
    notes: list[str]


def index_shards(paths: Sequence[Path], fields: Fields) -> Indexed:
    """Finds the images and labels of shards by their headers.

    Raises:
        UserError: shards are compressed or damaged, or have no images or labels of these fields.
    """
    shards = tuple(map(str, paths))
    found = in_parallel(lambda path: _index(path, fields), shards)
    if torn := [each for each in found if isinstance(each, str)]:
        raise UserError(
            f"{len(torn):,} of {len(shards):,} shards are damaged: {first_few(torn, 3)}",
            key="path",
            hint="fetch or write them again",
        )
    indexes = [each for each in found if isinstance(each, _Index)]
    known = tuple(sorted({ending for index in indexes for ending in index.endings}))
    count = [len(index.labels) for index in indexes]
    if not sum(count):
        names = Counter(name for index in indexes for name in index.fields)
        wanted = f"fields {fields.image!r}" if fields.image else "images"
        raise UserError(
            f"no {wanted} in {len(shards):,} shards",
            key="image" if fields.image else "path",
            allowed="samples KEY.jpg with KEY.cls, whose images have one of the usual endings",
            hint=f"their fields are {first_few(names)}" if names else "they are empty",
        )

    def joined(name: str) -> np.ndarray:
        columns = [getattr(index, name) for index in indexes]
        return np.concatenate([np.array(column, dtype=np.int64) for column in columns])

    images = TarImages(
        shards=tuple(index.version for index in indexes),
        endings=known,
        shard=np.repeat(np.arange(len(shards), dtype=np.int32), count),
        ending_of=np.array(
            [known.index(one) for each in indexes for one in each.endings], np.int16
        ),
        header=joined("header"),
        data=joined("data"),
        size=joined("size"),
    )
    left_out = sum((index.left_out for index in indexes), Counter[str]())
    labels = [label for index in indexes for label in index.labels]
    return Indexed(images, labels, left_out, _notes(indexes))


@dataclass
class _Index:
    """Of one shard: columns of its images, and what else it holds."""

    version: FileVersion
    header: list[int] = field(default_factory=list)
    data: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)


def _notes(indexes: Sequence[_Index]) -> list[str]:
    empty = [Path(index.version.path).name for index in indexes if not index.labels]
    return [f"{len(empty):,} shards hold no image: {first_few(empty, 3)}"] if empty else []


def _index(path: str, fields: Fields) -> _Index | str:
    """The images of one shard, or why it cannot be read."""
    try:
        index = _Index(FileVersion.of(path))
        file = archive(index.version)
        check_uncompressed(path, file)
        samples = _samples(file, index)
    except Torn as error:
        return f"{path} {error}"
    except OSError as error:
        return f"{path} ({error.strerror or error})"
    for key, members in samples.items():
        name = _image_field(members, fields, f"{path}/{key}")
        if name is None:
            index.left_out["in samples without an image"] += len(members)
            continue
        member = members[name]
        index.header.append(member.header)
        index.data.append(member.data)
        index.size.append(member.size)
        index.endings.append("." + name.rpartition(".")[2])
        label, used = _label(file, members, fields, f"{path}/{key}")
        index.labels.append(label)
        index.left_out["of other fields of samples"] += len(members) - len({name, used} - {None})
    index.left_out = +index.left_out  # without zeros
    return index


def _samples(file: ArchiveFile, index: _Index) -> dict[str, dict[str, Member]]:
    """Key of a sample to its fields, in the order of the shard."""
    samples: dict[str, dict[str, Member]] = {}
    for member in read_members(file):
        match = _KEY_AND_FIELD.fullmatch(member.name)
        if not member.is_file:
            index.left_out["that are folders or links in shards"] += not member.name.endswith("/")
        elif match is None or member.name.startswith("__"):
            index.left_out["without a key and a field in their names"] += 1
        else:
            key, name = match[1], match[2].lower()
            fields = samples.setdefault(key, {})
            if name in fields:
                raise Torn(f"has {key}.{name} twice")
            fields[name] = member
            index.fields[name] += 1
    return samples


def _image_field(members: dict[str, Member], fields: Fields, sample: str) -> str | None:
    """The field of a sample's image; None if it has none."""
    if fields.image is not None:
        name = fields.image.lower().removeprefix(".")
        return name if name in members else None
    names = [name for name in members if f".{name}" in endings()]
    if len(names) > 1:
        raise UserError(
            f"the sample {sample} has several images: {', '.join(sorted(names))}",
            key="image",
            allowed="one of these fields, or another one of the samples",
        )
    if not names:
        names = [name for name in members if f".{name.rpartition('.')[2]}" in endings()]
    return names[0] if len(names) == 1 else None


def _label(
    file: ArchiveFile, members: dict[str, Member], fields: Fields, sample: str
) -> tuple[Any, str | None]:
    """The label of a sample, None if it has none, and the field that holds it."""
    if fields.label is not None:
        name, point, keys = fields.label.partition(".")
        if fields.label.lower() in members or not (point and name.lower() == "json"):
            name, keys = fields.label.lower(), ""
        name = name.lower()
        if name not in members:
            return None, None
        content = _content(file, members[name], sample)
        return (_json_value(content, keys, sample) if keys else _word(content, sample)), name
    for name in ("cls", "label", "class"):
        if name in members:
            return _word(_content(file, members[name], sample), sample), name
    if "json" in members:
        content = _json(_content(file, members["json"], sample), sample)
        for key in _USUAL_LABELS:
            if isinstance(content, dict) and key in content:
                return _plain(content[key], sample), "json"
    return None, None


def _content(file: ArchiveFile, member: Member, sample: str) -> bytes:
    if member.size > _MOST_LABEL_BYTES:
        raise UserError(f"the label of the sample {sample} has {member.size:,} bytes", key="label")
    try:
        return file.read(member.data, member.size)
    except OSError as error:
        raise UserError(f"cannot read the label of the sample {sample}: {error}") from error


def _word(content: bytes, sample: str) -> str:
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UserError(
            f"the label of the sample {sample} is not text",
            key="label",
            hint="name the field that holds the class as a number or a word",
        ) from None


def _json(content: bytes, sample: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the sample {sample} has no valid JSON: {error}", key="label") from None


def _json_value(content: bytes, keys: str, sample: str) -> Any:
    """The value at a dotted path of keys."""
    value = _json(content, sample)
    for key in keys.split("."):
        if not isinstance(value, dict) or key not in value:
            known = list(value) if isinstance(value, dict) else []
            raise UserError(
                f"the JSON of the sample {sample} has no {key!r}",
                key="label",
                allowed=first_few(known, 12),
                hint=nearest(key, known),
            )
        value = value[key]
    return _plain(value, sample)


def _plain(value: Any, sample: str) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise UserError(
        f"the label of the sample {sample} is a list or an object",
        key="label",
        allowed="a word or a whole number",
        hint="images of one class each are what a classifier learns from",
    )
