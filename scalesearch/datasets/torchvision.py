"""Classification data sets of torchvision, by the names of their classes there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from scalesearch.datasets._array_images import ArrayImages, channel_statistics
from scalesearch.datasets._checked_files import Source, check_files
from scalesearch.datasets._labels import Labels, positions
from scalesearch.datasets._listing import LeftOutFiles, Listing
from scalesearch.datasets._manifest import open_manifest
from scalesearch.datasets._parts import ImageOptions, Labelled, split_labelled
from scalesearch.datasets._paths import Paths
from scalesearch.datasets._pixels import Levels, Reading, choose_levels, notes_on
from scalesearch.datasets._split import DEFAULT_VALIDATION, Split, check_split, limited
from scalesearch.datasets.image_folder import FolderImages
from scalesearch.errors import UserError, nearest
from scalesearch.interfaces import ImageData
from scalesearch.text import shortened
from scalesearch.view import Fit


class _Source(NamedTuple):
    """Where a data set has what is read of it: values of its `split` (or `train` where that is
    None), and its attributes of labels, and of files if its images do not lie in memory.
    """

    train: str | None
    validation: str | None
    labels: str = "targets"
    files: str = ""
    mirrored: bool = True  # whether a mirrored image keeps its label


_BY_TRAIN = _Source(None, None)
_DIGITS = _BY_TRAIN._replace(mirrored=False)
_LISTED = _Source("train", "val", "_labels", "_image_files")
_PAIRED = _Source("train", "val", "", "_samples")
# Those whose items are an image and the number of its class.
_SOURCES: Mapping[str, _Source] = {
    "CIFAR10": _BY_TRAIN,
    "CIFAR100": _BY_TRAIN,
    "Country211": _Source("train", "valid", "", "samples", mirrored=False),
    "DTD": _LISTED,
    "EMNIST": _DIGITS,
    "EuroSAT": _Source("", None, "", "samples"),
    "FGVCAircraft": _LISTED,
    "FashionMNIST": _BY_TRAIN,
    "Flowers102": _LISTED,
    "Food101": _LISTED._replace(validation="test"),
    "GTSRB": _PAIRED._replace(validation="test", mirrored=False),
    "ImageNet": _Source("train", "val", "", "samples"),
    "Imagenette": _PAIRED,
    "KMNIST": _DIGITS,
    "MNIST": _DIGITS,
    "OxfordIIITPet": _Source("trainval", "test", "_labels", "_images"),
    "Places365": _Source("train-standard", "val", "", "imgs"),
    "RenderedSST2": _PAIRED._replace(mirrored=False),
    "SEMEION": _Source("", None, "labels", mirrored=False),
    "STL10": _Source("train", "test", "labels"),
    "SUN397": _Source("", None, "_labels", "_image_files"),
    "SVHN": _Source("train", "test", "labels", mirrored=False),
    "StanfordCars": _PAIRED._replace(validation="test"),
    "USPS": _DIGITS,
}
_OURS = ("root", "train", "download", "transform", "target_transform", "transforms", "loader")
_PUBLISHED = "published"
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
        limit: at most so many images in all, each class in its proportion; null takes all.
        channels: 3 for colour, 1 for grey; null takes images in memory as they are, and others in
            colour.
        flip: whether a mirrored image keeps its label; null for what is usual (not for digits,
            letters and traffic signs).
        fit: how a square comes of an oblong image: `crop` cuts out the middle, `pad` adds black
            bars, `stretch` changes its shape.
        levels: the values that become black and white in images of more than 8 bits a pixel.
    """

    task: ClassVar[str] = "classification"

    dataset: str
    root: Path
    download: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    validation: float | str = DEFAULT_VALIDATION
    limit: int | None = None
    channels: Literal[1, 3] | None = None
    flip: bool | None = None
    fit: Fit = "crop"
    levels: Levels | None = None

    def __post_init__(self) -> None:
        check_split(self._share, self.limit)
        if isinstance(self.validation, str) and self.validation != _PUBLISHED:
            raise UserError(
                f"{shortened(self.validation)!r} cannot be used",
                key="validation",
                allowed=f"a share between 0 and 1, or {_PUBLISHED}",
                hint=nearest(self.validation, [_PUBLISHED]),
            )
        if self.dataset not in _SOURCES:
            raise UserError(
                f"{self.dataset!r} is none of torchvision's data sets of images with one class",
                key="dataset",
                allowed=", ".join(_SOURCES),
                hint=nearest(self.dataset, _SOURCES),
            )
        for name, value in self.options.items():
            if name in _OURS or not isinstance(value, _SIMPLE):
                raise UserError(
                    f"{name}: {shortened(repr(value))} cannot be used",
                    key=f"options.{name}",
                    allowed="further arguments of the class, which are numbers or words",
                )

    @property
    def _share(self) -> float | None:
        """Of the training images that validate; None if others do."""
        return None if isinstance(self.validation, str) else self.validation

    def load(self, seed: int) -> ImageData:
        """Reads the published training images, and those that validate."""
        source = _SOURCES[self.dataset]
        parts = [self._open(source.train, True)]
        if self.validation == _PUBLISHED:
            if source.train == "":
                raise UserError(
                    f"{self.dataset} has no published split", key="validation", allowed="a share"
                )
            parts.append(self._open(source.validation, False))
        return (self._of_files if source.files else self._of_arrays)(parts, source, seed)

    def _open(self, split: str | None, train: bool) -> Any:
        """torchvision's object of a part."""
        import torchvision.datasets

        kind = getattr(torchvision.datasets, self.dataset)
        known = inspect.signature(kind).parameters
        arguments: dict[str, Any] = dict(self.options)
        if split is None:
            arguments["train"] = train
        elif split:
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

    def _of_files(self, parts: Sequence[Any], source: _Source, seed: int) -> ImageData:
        files, values = [], []
        for part in parts:
            listed = getattr(part, source.files)
            of_part = getattr(part, source.labels) if source.labels else [n for _, n in listed]
            files += [str(each) if source.labels else str(each[0]) for each in listed]
            values += [int(value) for value in of_part]
        labels = _named(values, parts[0])
        left_out = LeftOutFiles(self.root)
        checked = check_files([Source(Listing.of(files), open_manifest(self.root))], left_out)
        headers = checked.headers
        levels, of_levels = choose_levels(self.levels, files, headers)
        reading = Reading(channels=self.channels or 3, levels=levels, fit=self.fit)
        labelled = Labelled(
            images=FolderImages(Paths(files), labels.numbers, reading),
            classes=labels.classes,
            groups=checked.groups,
            train=_length(parts[0], source) if len(parts) == 2 else 0,
            name=lambda index: files[index],
            ending=lambda index: Path(files[index]).suffix,
            notes=(*checked.notes, *labels.notes, *of_levels, *notes_on(headers, reading)),
        )
        options = ImageOptions(
            validation=self._share,
            limit=self.limit,
            channels=self.channels or 3,
            flip=self._flip(source),
        )
        return split_labelled(labelled, options, seed, left_out)

    def _of_arrays(self, parts: Sequence[Any], source: _Source, seed: int) -> ImageData:
        pixels = [_pixels(part) for part in parts]
        values = [np.asarray(getattr(part, source.labels), dtype=np.int64) for part in parts]
        labels = _named(np.concatenate(values).tolist(), parts[0])
        every = ArrayImages(np.concatenate(pixels), labels.numbers)
        channels = every.pixels.shape[-1]
        if self.channels not in (None, channels):
            raise UserError(
                f"the images of {self.dataset} have {channels} channels",
                key="channels",
                allowed=f"{channels}, or null",
            )
        own = len(values[0])
        if len(parts) == 2:
            train, validation = self._limited(labels.numbers, own, seed)
        else:
            split = Split(validation=self._share or DEFAULT_VALIDATION, limit=self.limit)
            drawn = split.indices(labels.numbers, labels.classes, seed)
            train, validation = drawn[0], drawn[1]
        mean, std = channel_statistics(every.pixels[train])
        return ImageData(
            train=every.choose(train),
            validation=every.choose(validation),
            classes=labels.classes,
            channels=channels,
            mean=mean,
            std=std,
            flip=self._flip(source),
            notes=labels.notes,
        )

    def _limited(self, labels: np.ndarray, own: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of both published parts, of each its share of the limit."""
        total = len(labels)
        limit = total if self.limit is None else min(self.limit, total)
        of_validation = max(1, limit * (total - own) // total)
        return (
            limited(labels[:own], limit - of_validation, seed),
            own + limited(labels[own:], of_validation, seed),
        )

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


def _length(part: Any, source: _Source) -> int:
    return len(getattr(part, source.files))


def _pixels(part: Any) -> np.ndarray:
    """The images of a part that lie in memory, uint8 [N, H, W, C], whatever their layout is."""
    data = np.asarray(part.data)
    if data.ndim == 3:
        return data[..., None]
    return data if data.shape[-1] in (1, 3) else np.ascontiguousarray(data.transpose(0, 2, 3, 1))
