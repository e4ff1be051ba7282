"""COCO: a folder of images and a JSON file of boxes, or two of each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal

from scalesearch.datasets._box_images import box_data, read_box_files, readable, split_files
from scalesearch.datasets._boxes import BoxCheck, BoxForm
from scalesearch.datasets._checked_files import check_files, check_skip
from scalesearch.datasets._coco_annotations import Source, read_annotations
from scalesearch.datasets._find_images import ImageFinder
from scalesearch.datasets._image_files import check_channels
from scalesearch.datasets._listing import LeftOutFiles
from scalesearch.datasets._pixels import Levels, check_levels
from scalesearch.datasets._split import check_split, shares_of
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
        test_images, test_annotations: the same of images that no phase sees, on which the networks
            that are reported are scored once at the end.
        test: a share of the first images for this; none by default.
        limit: at most so many images of each part; null takes all.
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
    test_images: Path | None = None
    test_annotations: Path | None = None
    test: float | None = None
    limit: int | None = None
    channels: Literal[1, 3] = 3
    flip: bool = True
    boxes: BoxForm = "xywh"
    levels: Levels | None = None
    skip_unreadable: int = 0

    def __post_init__(self) -> None:
        check_split(self.validation, self.limit, self.test)
        check_channels(self.channels)
        check_levels(self.levels)
        check_skip(self.skip_unreadable)
        for part in ("validation", "test"):
            images, annotations = f"{part}_images", f"{part}_annotations"
            if getattr(self, part) is not None and getattr(self, annotations) is not None:
                raise UserError(
                    f"{annotations} are given already",
                    key=part,
                    hint="leave one of the two out",
                )
            if getattr(self, images) is not None and getattr(self, annotations) is None:
                raise UserError(f"{annotations} are missing", key=images)

    def load(self, seed: int) -> BoxData:
        """Reads the annotations, opens the images that no earlier start opened, and splits them."""
        left_out = LeftOutFiles(self.images)
        finder = ImageFinder(self.images, "images", left_out, ".json")
        sources = {"train": Source(self.annotations, finder)}
        folders = {self.images: finder}
        for part in ("validation", "test"):
            images, key = f"{part}_images", f"{part}_annotations"
            if (file := getattr(self, key)) is None:
                continue
            folder = getattr(self, images) or self.images
            if folder not in folders:
                folders[folder] = ImageFinder(folder, images, left_out, ".json")
            sources[part] = Source(file, folders[folder], key)
        annotations = read_annotations([*sources.values()])
        for each in folders.values():
            each.check()
        checked = check_files(
            [each.source() for each in folders.values()], left_out, self.skip_unreadable
        )
        counts = dict(zip(sources, annotations.counts, strict=True))
        annotated, own = readable(annotations.images, counts, checked)
        files = read_box_files(
            annotated,
            annotations.labels,
            checked,
            check=BoxCheck(self.boxes, key="boxes"),
            channels=self.channels,
            levels=self.levels,
        )
        shares = shares_of(self.validation, self.test)
        parts = split_files(files, own, shares, self.limit, seed, left_out)
        return box_data(
            files,
            parts,
            categories=annotations.categories,
            flip=self.flip,
            notes=(*annotations.notes, *chain(*(each.notes() for each in folders.values()))),
            left_out=left_out,
        )
