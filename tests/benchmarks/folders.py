"""What the start of a study takes that reads a folder of 20,000 image files.

The first start opens every file, the second one only looks at names, sizes and times of change, as
the manifest of the first has the rest. Beside it torchvision's `ImageFolder`, which lists files and
opens none. Each number is the least of a few starts in one process: the first of them also reads
the folders from the disk, and the decoder's library.
`python -m tests.benchmarks.folders` from the repository prints the table; a number behind it is
that of the files.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision.datasets import ImageFolder

from scalesearch.datasets.image_folder import Dataset

FILES, CLASSES = 20_000, 100
GOAL = 1.0  # seconds of the second start
REPEATS = 3


def rows(files: int = FILES) -> list[dict[str, Any]]:
    """One row for each kind of start, and one for what every loader process is sent."""
    with tempfile.TemporaryDirectory() as place:
        root = fill(Path(place) / "images", files)
        os.environ["SCALESEARCH_CACHE"] = str(Path(place) / "cache")
        dataset = Dataset(path=root)
        theirs = least(lambda: ImageFolder(str(root)))
        first = seconds(lambda: dataset.load(0))
        second = least(lambda: dataset.load(0))
        images = dataset.load(0).train
        sent = least(lambda: pickle.loads(pickle.dumps(images)))
        size = len(pickle.dumps(images))
        (manifest,) = (Path(place) / "cache" / "manifests").iterdir()
        kept = manifest.stat().st_size
    per = {"files": files}
    return [
        {"what": "ImageFolder of torchvision, s", "value": theirs, **per},
        {"what": "first start, s", "value": first, "of torchvision's": first / theirs, **per},
        {
            "what": "second start, s",
            "value": second,
            "of torchvision's": second / theirs,
            "goal": GOAL,
            **per,
        },
        {"what": "manifest, bytes a file", "value": kept / files},
        {"what": "training images pickled and back, s", "value": sent},
        {"what": "training images pickled, bytes an image", "value": size / len(images)},
    ]


def fill(root: Path, files: int) -> Path:
    """So many small JPEG files that all differ, in classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    start, rest = buffer.getvalue()[:2], buffer.getvalue()[2:]
    for number in range(CLASSES):
        (root / f"class{number:03}").mkdir(parents=True)
    for number in range(files):
        # A comment, as JPEG has it: the marker, its length, its text.
        comment = b"\xff\xfe\x00\x0a" + f"{number:08}".encode()
        file = root / f"class{number % CLASSES:03}" / f"image{number:08}.jpg"
        file.write_bytes(start + comment + rest)
    return root


def least(run: Callable[[], object]) -> float:
    """Seconds of the quickest of a few runs."""
    return min(seconds(run) for _ in range(REPEATS))


def seconds(run: Callable[[], object]) -> float:
    """Of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    from tests.benchmarks.__main__ import table

    table("folders", rows(*map(int, sys.argv[1:])))
