"""Digits of mnist5k on larger canvases, as objects to detect; needs no network."""

from __future__ import annotations

import fcntl
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from scalesearch.arch import check
from scalesearch.datasets import mnist5k
from scalesearch.datasets._array_images import ArrayImages, channel_statistics
from scalesearch.datasets._split import draw_parts
from scalesearch.datasets.coco import Dataset as Coco
from scalesearch.errors import UserError
from scalesearch.files.cache import cache_folder
from scalesearch.interfaces import BoxData

_FORMAT = 1  # raised when the same options give other files
_TRIES = 50  # random places for a digit before it is left out
_LEGIBLE = 8  # pixels: a smaller digit would have no ink left
_INK = 32  # grey level above which a pixel is part of a digit's box
_SAMPLE = 200  # canvases whose pixels give mean and standard deviation
# The parts in the order of writing, with the seed of each beside that of the layout.
_SEEDS = {"train": 0, "test": 2, "validation": 1}
_LAST = "validation.json"  # the file that is written last

_Corners = tuple[int, int, int, int]  # x0, y0, x1, y1


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Handwritten digits at random places and sizes, written once as COCO files.

    Canvases of different parts share no digit. The files are in `path`, or in the user's
    cache folder (as of `cache_folder`), and are read as any COCO data set is.

    Attributes:
        train, validation: how many canvases.
        test: how many that no phase sees, on which the networks that are reported are scored once
            at the end.
        side: of a canvas in pixels.
        digits: at most so many on a canvas, at least one.
        smallest, largest: side of a digit's 28x28 image on the canvas in pixels.
        layout: seed of all places and sizes; not the study's, so that studies share the files.
        path: where to write the files.
    """

    task: ClassVar[str] = "detection"

    train: int = 1000
    validation: int = 250
    test: int = 0
    side: int = 128
    digits: int = 5
    smallest: int = 20
    largest: int = 64
    layout: int = 0
    path: Path | None = None

    def __post_init__(self) -> None:
        for key in ("train", "validation", "side", "digits"):
            check.whole(key, getattr(self, key))
        check.whole("test", self.test, least=0)
        check.whole("smallest", self.smallest, least=_LEGIBLE)
        check.whole("layout", self.layout, least=0)
        if not self.smallest <= self.largest <= self.side:
            raise UserError(
                f"{self.largest!r} cannot be used",
                key="largest",
                allowed=f"from smallest ({self.smallest}) to side ({self.side})",
            )

    def load(self, seed: int) -> BoxData:
        """Writes the files if they are not there yet (some seconds), then reads them."""
        folder = self._folder()
        try:
            self._write(folder)
        except OSError as error:
            raise UserError(
                f"cannot write to {folder.parent}: {error}",
                key="path",
                hint="give a folder that can be written to, or set SCALESEARCH_CACHE",
            ) from error
        coco = Coco(
            images=folder / "train",
            annotations=folder / "train.json",
            validation_images=folder / "validation",
            validation_annotations=folder / "validation.json",
            test_images=folder / "test" if self.test else None,
            test_annotations=folder / "test.json" if self.test else None,
            channels=1,
            flip=False,
        )
        data = coco.load(seed)
        sample = range(min(self.train, _SAMPLE))
        pixels = np.stack([np.asarray(data.train.image(index)) for index in sample])
        mean, std = channel_statistics(pixels.transpose(0, 2, 3, 1))
        return replace(data, mean=mean, std=std)

    def _folder(self) -> Path:
        """A folder for these options: below `path`, or in the user's cache."""
        options = {k: v for k, v in asdict(self).items() if k != "path"} | {"format": _FORMAT}
        if not self.test:  # as files without such a part were named before there was one
            del options["test"]
        name = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]
        if self.path is not None:
            return self.path / name
        return cache_folder() / "mnist_canvas" / name

    def _write(self, folder: Path) -> None:
        """Writes the files unless all are there, one process at a time."""
        if (folder / _LAST).is_file():
            return
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            if (folder / _LAST).is_file():
                return
            digits = mnist5k.read()
            names = [str(digit) for digit in range(10)]
            shares = ({"test": 0.2} if self.test else {}) | {"validation": 0.2}
            parts = draw_parts(digits.labels, names, shares, self.layout)
            for part in (each for each in _SEEDS if each in parts):
                draws = np.random.default_rng([self.layout, _SEEDS[part]])
                self._write_part(folder, part, digits.choose(parts[part]), draws)

    def _write_part(
        self, folder: Path, part: str, digits: ArrayImages, draws: np.random.Generator
    ) -> None:
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        (folder / part).mkdir(exist_ok=True)
        for image_id in range(1, getattr(self, part) + 1):
            canvas, boxes = self._canvas(digits, draws)
            name = f"{image_id:06}.png"
            Image.fromarray(canvas).save(folder / part / name)
            size = {"height": self.side, "width": self.side}
            images.append({"id": image_id, "file_name": name, **size})
            for (x0, y0, x1, y1), label in boxes:
                width, height = x1 - x0, y1 - y0
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": label + 1,
                        "bbox": [x0, y0, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
        categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        incomplete = folder / f"{part}.json.incomplete"
        incomplete.write_text(json.dumps(content))
        incomplete.rename(folder / f"{part}.json")

    def _canvas(
        self, digits: ArrayImages, draws: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple[_Corners, int]]]:
        """A canvas and its digits: the box of each, which is that of its ink, and its label."""
        canvas = np.zeros((self.side, self.side), np.uint8)
        boxes: list[tuple[_Corners, int]] = []
        for _ in range(int(draws.integers(1, self.digits + 1))):
            index = int(draws.integers(len(digits)))
            # Sizes spread evenly on a logarithmic scale: as many small ones as large ones.
            side = round(float(np.exp(draws.uniform(*np.log([self.smallest, self.largest])))))
            digit = Image.fromarray(digits.pixels[index, :, :, 0])
            ink = np.array(digit.resize((side, side), Image.Resampling.BILINEAR))
            rows, columns = (np.flatnonzero((ink > _INK).any(axis)) for axis in (1, 0))
            ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            box = self._free_box(ink.shape, [taken for taken, _ in boxes], draws)
            if box is not None:
                x0, y0, x1, y1 = box
                canvas[y0:y1, x0:x1] = ink
                boxes.append((box, int(digits.labels[index])))
        return canvas, boxes

    def _free_box(
        self, shape: tuple[int, ...], taken: list[_Corners], draws: np.random.Generator
    ) -> _Corners | None:
        """A random place for ink of this height and width that overlaps no other box."""
        height, width = shape
        for _ in range(_TRIES):
            y0 = int(draws.integers(self.side - height + 1))
            x0 = int(draws.integers(self.side - width + 1))
            x1, y1 = x0 + width, y0 + height
            if all(x1 <= a or c <= x0 or y1 <= b or d <= y0 for a, b, c, d in taken):
                return x0, y0, x1, y1
        return None
