"""What a pack holds and where that came from: the part of the file that a person can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from scalesearch.interfaces import BoxData, Data, FileAccount, LeftOut

Task = Literal["classification", "detection"]
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was packed.

    Attributes:
        dataset: the name of the data set's plug-in.
        options: of it, as YAML holds them.
        seed: of the split.
        listing: a digest of the names and sizes of the image files; empty where it was not taken.
        scalesearch: the version that read it.
    """

    dataset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    listing: str = ""
    scalesearch: str = ""

    def __str__(self) -> str:
        given = {key: value for key, value in self.options.items() if value not in (None, [])}
        words = [f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
        return f"{self.dataset} ({', '.join([*words, f'seed {self.seed}'])})"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that a pack says beside its pixels and tables.

    Attributes:
        task: `classification` packs hold squares, `detection` packs images of any shape.
        side: pixels of a square's side; at most so many of an image's longer side.
        channels: 1 or 3.
        parts: how many images are of each part, in their order in the file.
        classes, category_ids, mean, std, flip, notes, files: as of the data set.
        source: what was packed.
        packed: when, in ISO 8601.
    """

    task: Task
    side: int
    channels: int
    parts: Mapping[str, int]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    notes: tuple[str, ...]
    files: FileAccount | None
    source: Source
    packed: str

    @property
    def count(self) -> int:
        """How many images there are in all."""
        return sum(self.parts.values())

    @property
    def slot(self) -> int:
        """Bytes of the place of an image."""
        return self.side * self.side * self.channels

    def start(self, part: str) -> int:
        """The place of the first image of a part."""
        before = PARTS[: PARTS.index(part)]
        return sum(self.parts.get(name, 0) for name in before)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Manifest:
        """The manifest that `plain` gave, once it was JSON.

        Raises:
            KeyError, TypeError, ValueError: it gave none.
        """
        known = {one.name: plain[one.name] for one in fields(cls)}
        for key in ("classes", "category_ids", "mean", "std", "notes"):
            known[key] = tuple(known[key])
        known["source"] = Source(**known["source"])
        if known["files"] is not None:
            known["files"] = _account(known["files"])
        return cls(**known)


def parts_of(data: Data) -> dict[str, Any]:
    """The images of each part that a data set has, by its name."""
    parts = {name: getattr(data, name) for name in PARTS}
    return {name: images for name, images in parts.items() if images is not None}


def manifest_of(data: Data, side: int, source: Source, packed: str) -> Manifest:
    """The manifest of a data set packed at a side."""
    return Manifest(
        task="detection" if isinstance(data, BoxData) else "classification",
        side=side,
        channels=data.channels,
        parts={name: len(images) for name, images in parts_of(data).items()},
        classes=data.classes,
        category_ids=data.category_ids if isinstance(data, BoxData) else (),
        mean=data.mean,
        std=data.std,
        flip=data.flip,
        notes=data.notes,
        files=data.files,
        source=source,
        packed=packed,
    )


def _account(plain: Mapping[str, Any]) -> FileAccount:
    left_out = (
        LeftOut(one["reason"], one["count"], tuple(one["names"])) for one in plain["left_out"]
    )
    return FileAccount(taken=plain["taken"], left_out=tuple(left_out))
