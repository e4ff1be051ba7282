"""Classification data sets of torchvision, by the names of their classes there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from scalesearch.datasets._array_images import (
    ArrayImages,
    channel_statistics,
    equal_groups,
    notes_on_left_out,
    numbered,
)
from scalesearch.datasets._checked_files import Source, check_files, check_skip, readable_counts
from scalesearch.datasets._class_folders import copies_note
from scalesearch.datasets._labels import Labels, positions
from scalesearch.datasets._listing import LeftOutFiles, Listing
from scalesearch.datasets._manifest import open_manifest
from scalesearch.datasets._parts import (
    ImageOptions,
    Labelled,
    counted,
    parts_of_labelled,
    split_labelled,
)
from scalesearch.datasets._paths import Paths
from scalesearch.datasets._pixels import Levels, Reading, choose_levels, notes_on
from scalesearch.datasets._split import (
    DEFAULT_VALIDATION,
    PUBLISHED,
    TestImages,
    check_split,
    notes_on_test,
)
from scalesearch.datasets.image_folder import FolderImages
from scalesearch.errors import UserError, nearest
from scalesearch.interfaces import ImageData
from scalesearch.text import shortened
from scalesearch.view import Fit


class _Source(NamedTuple):
    """Where a data set has what is read of it.

    Attributes:
        train, validation, test: of each part the value of the argument `split`, or of `train`
            where it is a truth value; None where there is no such part, or no split at all.
        labels: the attribute that has them; empty if they stand beside the files.
        files: the attribute that has the images' files; empty if images lie in memory.
        mirrored: whether a mirrored image keeps its label.
    """

    train: str | bool | None = True
    validation: str | None = None
    test: str | bool | None = False
    labels: str = "targets"
    files: str = ""
    mirrored: bool = True


_BY_TRAIN = _Source()
_DIGITS = _Source(mirrored=False)
_IN_MEMORY = _Source("train", None, "test", "labels")
_LISTED = _Source("train", "val", "test", "_labels", "_image_files")
_PAIRED = _Source("train", "val", "test", "", "_samples")
_WHOLE = _Source(None, None, None)
# Those whose items are an image and the number of its class.
_SOURCES: Mapping[str, _Source] = {
    "CIFAR10": _BY_TRAIN,
    "CIFAR100": _BY_TRAIN,
    "Country211": _Source("train", "valid", "test", "", "samples", mirrored=False),
    "DTD": _LISTED,
    "EMNIST": _DIGITS,
    "EuroSAT": _WHOLE._replace(labels="", files="samples"),
    "FGVCAircraft": _LISTED,
    "FashionMNIST": _BY_TRAIN,
    "Flowers102": _LISTED,
    "Food101": _LISTED._replace(validation=None),
    "GTSRB": _PAIRED._replace(validation=None, mirrored=False),
    "ImageNet": _Source("train", "val", None, "", "samples"),
    "Imagenette": _PAIRED._replace(test=None),
    "KMNIST": _DIGITS,
    "MNIST": _DIGITS,
    "OxfordIIITPet": _Source("trainval", None, "test", "_labels", "_images"),
    "Places365": _Source("train-standard", "val", None, "", "imgs"),
    "RenderedSST2": _PAIRED._replace(mirrored=False),
    "SEMEION": _WHOLE._replace(labels="labels", mirrored=False),
    "STL10": _IN_MEMORY,
    "SUN397": _WHOLE._replace(labels="_labels", files="_image_files"),
    "SVHN": _IN_MEMORY._replace(mirrored=False),
    "StanfordCars": _PAIRED._replace(validation=None),
    "USPS": _DIGITS,
}
_OURS = ("root", "train", "download", "transform", "target_transform", "transforms", "loader")
_SIMPLE = (bool, int, float, str)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The published training images of one of torchvision's data sets.

    Attributes:
        dataset: the name of its class, such as CIFAR100.
        root: the folder that torchvision takes.
        download: fetch it into `root` if it is not there.
        options: further arguments of the class, such as `split: letters` of EMNIST.
        validation: share of each class kept for validation; `published` validates with the
            published validation images, or test images where there are no others.
        test: share of each class that no phase sees, on which the reported networks are scored
            once at the end; `published` for the published test images.
        limit: at most so many images in all, each class in its proportion; null takes all.
        channels: 3 for colour, 1 for grey; null takes images in memory as they are, and others in
            colour.
        flip: whether a mirrored image keeps its label; null for what is usual (not for digits,
            letters and traffic signs).
        fit: how a square comes of an oblong image: `crop` cuts out the middle, `pad` adds black
            bars, `stretch` changes its shape.
        levels: the values that become black and white in images of more than 8 bits a pixel.
        skip_unreadable: so many files that are no images are left out; more are an error. Of data
            sets that torchvision holds in memory there are none.
    """

    task: ClassVar[str] = "classification"

    dataset: str
    root: Path
    download: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    validation: float | str = DEFAULT_VALIDATION
    test: TestImages = None
    limit: int | None = None
    channels: Literal[1, 3] | None = None
    flip: bool | None = None
    fit: Fit = "crop"
    levels: Levels | None = None
    skip_unreadable: int = 0

    def __post_init__(self) -> None:
        check_split(self._share, self.limit, self.test)
        for key in ("validation", "test"):
            value = getattr(self, key)
            if isinstance(value, str) and value != PUBLISHED:
                raise UserError(
                    f"{shortened(value)!r} cannot be used",
                    key=key,
                    allowed=f"a share between 0 and 1, or {PUBLISHED}",
                    hint=nearest(value, [PUBLISHED]),
                )
        if self.dataset not in _SOURCES:
            raise UserError(
                f"{self.dataset!r} is none of torchvision's data sets of images with one class",
                key="dataset",
                allowed=", ".join(_SOURCES),
                hint=nearest(self.dataset, _SOURCES),
            )
        check_skip(self.skip_unreadable)
        if self.skip_unreadable and not _SOURCES[self.dataset].files:
            raise UserError(
                f"the images of {self.dataset} are no files: torchvision reads them at once",
                key="skip_unreadable",
                allowed="0",
            )
        for name, value in self.options.items():
            if name in _OURS or not isinstance(value, _SIMPLE):
                raise UserError(
                    f"{name}: {shortened(repr(value))} cannot be used",
                    key=f"options.{name}",
                    allowed="further arguments of the class, which are numbers or words",
                )
        self._check_against(_SOURCES[self.dataset])

    def _check_against(self, source: _Source) -> None:
        """Rejects options that would change nothing."""
        if "split" in self.options and isinstance(source.train, str):
            raise UserError(
                f"the published parts of {self.dataset} are chosen by `validation` and `test`",
                key="options.split",
                hint=f"leave it out; `validation: {PUBLISHED}` and `test: {PUBLISHED}` take parts "
                "beside the training images",
            )
        for key, value, usual in (("fit", self.fit, "crop"), ("levels", self.levels, None)):
            if not source.files and value != usual:
                raise UserError(
                    f"the images of {self.dataset} are square and of 8 bits: it changes nothing",
                    key=key,
                    allowed=usual or "null",
                    hint="leave it out",
                )

    @property
    def _share(self) -> float | None:
        """Of the training images that validate; None if others do."""
        return None if isinstance(self.validation, str) else self.validation

    def load(self, seed: int) -> ImageData:
        """Reads the published training images, and others that are asked for."""
        source = _SOURCES[self.dataset]
        splits = self._splits(source)
        parts = {part: self._open(split) for part, split in splits.items()}
        return (self._of_files if source.files else self._of_arrays)(parts, source, seed)

    def _splits(self, source: _Source) -> dict[str, str | bool | None]:
        """The published parts that are read, each with what torchvision calls it."""
        splits: dict[str, str | bool | None] = {"train": source.train}
        if self.validation == PUBLISHED:
            own = source.validation
            splits["validation"] = source.test if own is None else own
            if own is None and self.test is not None:
                raise UserError(
                    f"{self.dataset} has no published validation images beside the test images",
                    key="validation",
                    allowed="a share of the training images",
                )
        if self.test == PUBLISHED:
            splits["test"] = source.test
        for part, split in splits.items():
            if split is None and part != "train":
                raise UserError(
                    f"torchvision has no {part} images of {self.dataset}",
                    key=part,
                    allowed="a share",
                )
        return splits

    def _open(self, split: str | bool | None) -> Any:
        """torchvision's object of a part."""
        import torchvision.datasets

        kind = getattr(torchvision.datasets, self.dataset)
        known = inspect.signature(kind).parameters
        arguments: dict[str, Any] = dict(self.options)
        if isinstance(split, bool):
            arguments["train"] = split
        elif split is not None:
            arguments["split"] = split
        if "download" in known or self.dataset in ("EMNIST",):
            arguments["download"] = self.download
        elif self.download:
            raise UserError(
                f"torchvision cannot download {self.dataset}", key="download", allowed="false"
            )
        try:
            return kind(str(self.root), **arguments)
        except (OSError, RuntimeError, ValueError, TypeError, LookupError, ImportError) as error:
            missing = "" if self.download else "set `download: true` where there is a network, or "
            raise UserError(
                f"torchvision cannot read {self.dataset} from {self.root}: "
                f"{shortened(' '.join(str(error).split()))}",
                key="options" if isinstance(error, TypeError | ValueError) else "root",
                hint=f"{missing}lay the files there as torchvision's documentation says",
            ) from error

    def _of_files(self, parts: Mapping[str, Any], source: _Source, seed: int) -> ImageData:
        files, values, own = list[str](), list[int](), dict[str, int]()
        for name, part in parts.items():
            listed = getattr(part, source.files)
            own[name] = len(listed)
            files += [str(each) if source.labels else str(each[0]) for each in listed]
            of_part = getattr(part, source.labels) if source.labels else [n for _, n in listed]
            values += map(int, of_part)
        labels = _named(values, parts["train"])
        left_out = LeftOutFiles(self.root)
        listed_files = Source(Listing.of(files), open_manifest(self.root))
        checked = check_files([listed_files], left_out, self.skip_unreadable)
        left = readable_counts(labels.numbers, labels.classes, checked.places, counted(own))
        paths, headers = checked.paths, checked.headers
        levels, of_levels = choose_levels(self.levels, paths, headers)
        options = ImageOptions(
            validation=self._share,
            test=None if self.test == PUBLISHED else self.test,
            limit=self.limit,
            channels=self.channels or 3,
            flip=self._flip(source),
            fit=self.fit,
        )
        reading = Reading(channels=options.channels, levels=levels, fit=self.fit)
        labelled = Labelled(
            images=FolderImages(Paths(paths), labels.numbers[checked.places], reading),
            classes=labels.classes,
            groups=checked.groups,
            own=left,
            name=lambda index: paths[index],
            ending=lambda index: Path(paths[index]).suffix,
            notes=(
                *checked.notes,
                *labels.notes,
                *self._notes_on_choice(source),
                *of_levels,
                *notes_on(headers, reading),
            ),
        )
        return split_labelled(labelled, options, seed, left_out)

    def _of_arrays(self, parts: Mapping[str, Any], source: _Source, seed: int) -> ImageData:
        pixels = [_pixels(part) for part in parts.values()]
        values = [np.asarray(getattr(part, source.labels), np.int64) for part in parts.values()]
        own = {part: len(of_part) for part, of_part in zip(parts, values, strict=True)}
        labels, names = _named(np.concatenate(values).tolist(), parts["train"]), numbered(own)
        every = ArrayImages(np.concatenate(pixels), labels.numbers)
        channels = every.pixels.shape[-1]
        if self.channels not in (None, channels):
            raise UserError(
                f"the images of {self.dataset} have {channels} channels",
                key="channels",
                allowed=f"{channels}, or null",
            )
        options = ImageOptions(
            validation=self._share,
            test=None if self.test == PUBLISHED else self.test,
            limit=self.limit,
        )
        labelled = Labelled(
            images=every,
            classes=labels.classes,
            groups=equal_groups(pixels),
            own=counted(own),
            name=names.__getitem__,
            ending=str,
            notes=labels.notes,
        )
        left_out = LeftOutFiles(Path())
        indices = parts_of_labelled(labelled, options, seed, left_out)
        train = every.choose(indices.train)
        mean, std = channel_statistics(train.pixels)
        return ImageData(
            train=train,
            validation=every.choose(indices.validation),
            test=None if indices.test is None else every.choose(indices.test),
            classes=labels.classes,
            channels=channels,
            mean=mean,
            std=std,
            flip=self._flip(source),
            notes=(
                *notes_on_left_out(left_out),
                *notes_on_test(indices.test),
                *labels.notes,
                *self._notes_on_choice(source),
                *copies_note(names, labels.numbers, labelled.groups, "images"),
            ),
        )

    def _notes_on_choice(self, source: _Source) -> list[str]:
        """What is said where networks are selected on the test images."""
        if self.validation != PUBLISHED or source.validation is not None:
            return []
        return [
            "networks are selected on the published test images: `test: published` keeps them for "
            "the end, and a share of the training images validates (`validation: 0.1`)"
        ]

    def _flip(self, source: _Source) -> bool:
        return source.mirrored if self.flip is None else self.flip


def _named(values: Sequence[int], part: Any) -> Labels:
    """The classes by the names that torchvision has of them, or by their numbers."""
    names = getattr(part, "classes", None)
    if not isinstance(names, Sequence) or max(values, default=0) >= len(names):
        names = [str(number) for number in range(max(values, default=0) + 1)]
    # ImageNet's have several names each.
    words = [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names]
    return positions(values, words, "dataset")


def _pixels(part: Any) -> np.ndarray:
    """The images of a part that lie in memory, uint8 [N, H, W, C], whatever their layout is."""
    data = np.asarray(part.data)
    if data.ndim == 3:
        return data[..., None]
    return data if data.shape[-1] in (1, 3) else np.ascontiguousarray(data.transpose(0, 2, 3, 1))
