"""Digits of mnist5k on larger canvases, as objects to be found; needs no network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from scalesearch.arch import check
from scalesearch.datasets import mnist5k
from scalesearch.datasets._arrays import ArrayImages, statistics
from scalesearch.datasets._split import stratified
from scalesearch.datasets.coco import Dataset as Coco
from scalesearch.errors import UserError
from scalesearch.interfaces import BoxData

_FORMAT = 1  # raised when the same options come to give other files
_TRIES = 50  # places tried for a digit before it is left out
_LEGIBLE = 8  # pixels: the ink of a smaller digit would fade away
_INK = 32  # grey level above which a pixel is part of a digit's box
_SAMPLE = 200  # canvases whose pixels stand for all
_LAST = "validation.json"  # the file that is written last
_MAKING, _LONG = ".making", 3600.0  # folders that are written to, for seconds; nobody's then


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Real handwritten digits at random places and sizes, written once as COCO files.

    Training and validation canvases share no digit. The files lie in `path`, or in the user's
    cache folder ($XDG_CACHE_HOME, by default ~/.cache), and are read as any COCO data set is.

    Attributes:
        train, validation: canvases.
        side: of a canvas in pixels.
        digits: at most so many on a canvas, one at the least.
        smallest, largest: side of a digit's 28x28 image on the canvas in pixels.
        layout: seed of all places and sizes: not the study's, so that studies share the files.
        path: where to write the files.
    """

    task: ClassVar[str] = "detection"

    train: int = 1000
    validation: int = 250
    side: int = 128
    digits: int = 5
    smallest: int = 20
    largest: int = 64
    layout: int = 0
    path: Path | None = None

    def __post_init__(self) -> None:
        for key in ("train", "validation", "side", "digits"):
            check.whole(key, getattr(self, key))
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
        if not (folder / _LAST).is_file():
            try:
                self._write(folder)
            except OSError as error:
                raise UserError(
                    f"cannot write to {folder.parent}: {error}",
                    key="path",
                    hint="give a folder that can be written to, or set XDG_CACHE_HOME",
                ) from error
        coco = Coco(
            images=folder / "train",
            annotations=folder / "train.json",
            validation_images=folder / "validation",
            validation_annotations=folder / "validation.json",
            channels=1,
            flip=False,
        )
        data = coco.load(seed)
        sample = range(min(self.train, _SAMPLE))
        pixels = np.stack([np.asarray(data.train.image(index)) for index in sample])
        mean, std = statistics(pixels.transpose(0, 2, 3, 1))
        return replace(data, mean=mean, std=std)

    def _folder(self) -> Path:
        options = {k: v for k, v in asdict(self).items() if k != "path"} | {"format": _FORMAT}
        name = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]
        if self.path is not None:
            return self.path / name
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not cache.is_absolute():  # to be ignored, says the XDG Base Directory Specification
            cache = Path.home() / ".cache"
        return cache / "scalesearch" / "mnist_canvas" / name

    def _write(self, folder: Path) -> None:
        """All or nothing: into a folder beside, which then takes the name.

        A folder of that name that lacks a file is nobody's work and makes room.
        """
        digits = mnist5k.read()
        names = [str(digit) for digit in range(10)]
        parts = stratified(digits.labels, names, 0.2, self.layout)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _tidy(folder.parent)
        place = Path(tempfile.mkdtemp(prefix=_MAKING, dir=folder.parent))
        made = place / folder.name  # with the user's permissions, which `mkdtemp` does not give
        made.mkdir()
        try:
            counts = (self.train, self.validation)
            for index, (part, count) in enumerate(
                zip(("train", "validation"), counts, strict=True)
            ):
                draws = np.random.default_rng([self.layout, index])
                chosen = ArrayImages(digits.pixels[parts[index]], digits.labels[parts[index]])
                self._write_part(made, part, count, chosen, draws)
            if folder.is_dir() and not (folder / _LAST).is_file():
                folder.rename(place / "incomplete")
            made.rename(folder)
        except OSError:
            if not (folder / _LAST).is_file():  # else another process was faster
                raise
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _write_part(
        self, folder: Path, part: str, count: int, digits: ArrayImages, draws: np.random.Generator
    ) -> None:
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        (folder / part).mkdir()
        for number in range(1, count + 1):
            canvas, placed = self._canvas(digits, draws)
            name = f"{number:06}.png"
            Image.fromarray(canvas).save(folder / part / name)
            images.append(
                {"id": number, "file_name": name, "height": self.side, "width": self.side}
            )
            for (x0, y0, x1, y1), label in placed:
                box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
                ids = {"id": len(boxes) + 1, "image_id": number, "category_id": label + 1}
                boxes.append(ids | box | {"iscrowd": 0})
        categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
        content = {"images": images, "annotations": boxes, "categories": categories}
        (folder / f"{part}.json").write_text(json.dumps(content))

    def _canvas(
        self, digits: ArrayImages, draws: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple[tuple[int, int, int, int], int]]]:
        """A canvas and its digits: the box of each is that of its ink."""
        canvas = np.zeros((self.side, self.side), np.uint8)
        placed: list[tuple[tuple[int, int, int, int], int]] = []
        for _ in range(int(draws.integers(1, self.digits + 1))):
            pick = int(draws.integers(len(digits.labels)))
            # Sizes spread evenly on a logarithmic scale: as many small ones as large ones.
            ends = np.log([self.smallest, self.largest])
            side = round(float(np.exp(draws.uniform(*ends))))
            digit = Image.fromarray(digits.pixels[pick, :, :, 0])
            ink = np.array(digit.resize((side, side), Image.Resampling.BILINEAR))
            rows, columns = (np.flatnonzero((ink > _INK).any(axis)) for axis in (1, 0))
            ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            box = self._place(ink.shape[0], ink.shape[1], [b for b, _ in placed], draws)
            if box is not None:
                x0, y0, x1, y1 = box
                canvas[y0:y1, x0:x1] = ink
                placed.append((box, int(digits.labels[pick])))
        return canvas, placed

    def _place(
        self,
        height: int,
        width: int,
        taken: list[tuple[int, int, int, int]],
        draws: np.random.Generator,
    ) -> tuple[int, int, int, int] | None:
        for _ in range(_TRIES):
            y0 = int(draws.integers(self.side - height + 1))
            x0 = int(draws.integers(self.side - width + 1))
            x1, y1 = x0 + width, y0 + height
            if all(x1 <= a or c <= x0 or y1 <= b or d <= y0 for a, b, c, d in taken):
                return x0, y0, x1, y1
        return None


def _tidy(folder: Path) -> None:
    """Removes what processes that were killed had begun."""
    for begun in folder.glob(f"{_MAKING}*"):
        with contextlib.suppress(OSError):  # another process was faster
            if time.time() - begun.stat().st_mtime > _LONG:
                shutil.rmtree(begun)
