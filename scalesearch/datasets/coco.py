"""COCO: a folder of images and a JSON file of boxes, or two of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from scalesearch.datasets._box_images import (
    box_data,
    own_split,
    read_box_files,
    readable,
    split_files,
)
from scalesearch.datasets._boxes import BoxCheck, BoxForm
from scalesearch.datasets._checked_files import check_files, check_skip
from scalesearch.datasets._coco_annotations import Source, read_annotations
from scalesearch.datasets._find_images import ImageFinder
from scalesearch.datasets._image_files import check_channels
from scalesearch.datasets._listing import LeftOutFiles
from scalesearch.datasets._pixels import Levels, check_levels
from scalesearch.datasets._split import check_split
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Images of any size with boxes in COCO's format.

    Attributes:
        images: the folder that the file names of the annotations are relative to.
        annotations: a JSON file of instances.
        validation_images, validation_annotations: the same of the images to validate with; left
            out, a share of the first is drawn.
        validation: that share, 0.2 by default.
        limit: at most so many training, and so many validation images; null takes all.
        channels: 3 for colour, 1 for grey.
        flip: whether objects may be mirrored (no for text and digits).
        boxes: what the four numbers of a box are: COCO's `xywh` are a corner, width and height;
            `xyxy` two corners, `cxcywh` a centre, width and height; with `_shares` at its end,
            in shares of the image's width and height instead of pixels.
        levels: the values that become black and white in images of more than 8 bits a pixel; by
            default 0 and 65535, or those that the images use if that is less than half of it.
        skip_unreadable: so many files that are no images are left out; more are an error.
    """

    task: ClassVar[str] = "detection"

    images: Path
    annotations: Path
    validation_images: Path | None = None
    validation_annotations: Path | None = None
    validation: float | None = None
    limit: int | None = None
    channels: Literal[1, 3] = 3
    flip: bool = True
    boxes: BoxForm = "xywh"
    levels: Levels | None = None
    skip_unreadable: int = 0

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit)
        check_channels(self.channels)
        check_levels(self.levels)
        check_skip(self.skip_unreadable)
        if self.validation is not None and self.validation_annotations is not None:
            raise UserError(
                "validation_annotations are given already",
                key="validation",
                hint="leave one of the two out",
            )
        if self.validation_images is not None and self.validation_annotations is None:
            raise UserError("validation_annotations are missing", key="validation_images")

    def load(self, seed: int) -> BoxData:
        """Reads the annotations, opens the images that no earlier start opened, and splits them."""
        left_out = LeftOutFiles(self.images)
        finder = ImageFinder(self.images, "images", left_out, ".json")
        sources = [Source(self.annotations, finder)]
        if self.validation_annotations is not None:
            other, own_folder = finder, self.validation_images
            if own_folder not in (None, self.images):
                other = ImageFinder(own_folder, "validation_images", left_out, ".json")
            sources.append(Source(self.validation_annotations, other))
        annotations = read_annotations(sources)
        finders = list(dict.fromkeys(source.finder for source in sources))
        for each in finders:
            each.check()
        checked = check_files([each.source() for each in finders], left_out, self.skip_unreadable)
        images, counts = readable(annotations.images, annotations.counts, checked)
        files = read_box_files(
            images,
            annotations.labels,
            checked,
            check=BoxCheck(self.boxes, key="boxes"),
            channels=self.channels,
            levels=self.levels,
        )
        if self.validation_annotations is not None:
            parts = own_split(files, counts[0], self.limit, seed, left_out)
        else:
            parts = split_files(files, self.validation, self.limit, seed, left_out)
        return box_data(
            files,
            parts,
            categories=annotations.categories,
            flip=self.flip,
            notes=(*annotations.notes, *(note for each in finders for note in each.notes())),
            left_out=left_out,
        )
