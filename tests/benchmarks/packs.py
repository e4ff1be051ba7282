"""Packed images beside arrays in memory, and what two workers on one pack need.

One thread. Batches of 256 images of 128 pixels at shuffled places: a pack's against NumPy's
indexing of an array and a `TensorDataset`'s of a tensor, which both hold all pixels in memory of
their own. Then processes that read all of a pack, one alone and two at once: what that added to the
memory that is theirs alone (`Private` of /proc/self/smaps_rollup, which counts mapped pages that no
other process maps), and to their share of all memory (`Pss`, where two halves make a whole).
`python -m tests.benchmarks packs` from the repository prints the table.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIDE, COUNT, BATCH = 128, 12_000, 256
PER_SECOND = 10_000  # images for each core
SHARED = 1.2  # what two workers add to memory by what one adds
_PHOTOGRAPHS = 200  # 500 x 375, packed at 128 pixels

# A worker that says what it needs before and after it has read all images, and waits in between.
_WORKER = """
import sys
import numpy as np
from scalesearch.pack.file import open_pack
from scalesearch.pack.images import data_of
from scalesearch.view import View
from tests.benchmarks.packs import BATCH, SIDE, memory

images = data_of(open_pack(sys.argv[1])).train
images.batch(np.arange(1), View(SIDE))
before = memory()
print("ready", flush=True)
sys.stdin.readline()
order = np.random.default_rng(0).permutation(len(images))
for start in range(0, len(order), BATCH):
    images.batch(order[start : start + BATCH], View(SIDE))
print("read", flush=True)
sys.stdin.readline()
after = memory()
print(*(after[key] - before[key] for key in ("Private", "Pss")), before["Private"], flush=True)
sys.stdin.readline()
"""


def rows() -> list[dict[str, Any]]:
    """Images/s of a core, then the memory of workers in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.pack"
        speeds = gathering(path)
        return [*speeds, *sharing(path), packing(Path(folder))]


def gathering(path: Path) -> list[dict[str, Any]]:
    """Batches of shuffled images; the pack is written to `path`."""
    import numpy as np
    import torch
    from torch.utils.data import TensorDataset

    from scalesearch.datasets._array_images import ArrayImages
    from scalesearch.interfaces import ImageData
    from scalesearch.pack.file import shared_pack
    from scalesearch.pack.images import data_of
    from scalesearch.pack.manifest import Source
    from scalesearch.pack.write import write_pack
    from scalesearch.view import RandomCrop, View

    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), np.uint8)
    labels = np.arange(COUNT) % 10
    few = ArrayImages(pixels[:10], labels[:10])
    data = ImageData(
        train=ArrayImages(pixels, labels),
        validation=few,
        classes=tuple(map(str, range(10))),
        channels=3,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        flip=True,
    )
    packed: Any = data_of(write_pack(data, path, SIDE, Source(dataset="drawn"))).train
    tensors = TensorDataset(torch.from_numpy(pixels), torch.from_numpy(labels))
    order = np.random.default_rng(1).permutation(COUNT)
    batches = [order[start : start + BATCH] for start in range(0, COUNT, BATCH)]
    plain, crop = View(SIDE), View(SIDE, RandomCrop(), seed=1)
    ways: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
        "packed, 128 pixels": (lambda n: packed.batch(n, plain), batches),
        "NumPy, an array in memory": (lambda n: pixels[n], batches),
        "TensorDataset in memory": (lambda n: tensors[torch.from_numpy(n)], batches),
        "packed, resized to 96": (lambda n: packed.batch(n, View(96)), batches[:12]),
        "packed, random crops": (lambda n: packed.batch(n, crop), batches[:4]),
    }
    rates = [
        {
            "benchmark": name,
            "images/s a core": max(_rate(way, some) for _ in range(4)),
            "goal": f">= {PER_SECOND:,}" if name == "packed, 128 pixels" else "",
        }
        for name, (way, some) in ways.items()
    ]
    shared_pack.cache_clear()  # else this process maps the pages, too
    return rates


def _rate(way: Callable[[Any], object], batches: list[Any]) -> float:
    start = time.process_time()
    for batch in batches:
        way(batch)
    return sum(map(len, batches)) / (time.process_time() - start)


def memory() -> dict[str, float]:
    """MiB of this process, by the kernel's account: `Private`, `Pss` and `Rss`."""
    found = {"Private": 0.0}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        key, kilobytes = line.split(":")[0], float(line.split()[1]) / 1024
        if key.startswith("Private_") and key != "Private_Hugetlb":
            found["Private"] += kilobytes
        found[key] = kilobytes
    return found


def sharing(path: Path) -> list[dict[str, Any]]:
    """What one worker and two need that read all of a pack at the same time."""
    alone, both = _together(path, 1), _together(path, 2)
    size = path.stat().st_size / 2**20
    found = []
    for name, workers in (("one worker", alone), ("two workers", both)):
        private, pss, base = (sum(values) for values in zip(*workers, strict=True))
        found.append(
            {
                "benchmark": f"{name} on a pack of {size:.0f} MiB",
                "added private MiB": private,
                "added Pss MiB": pss,
                "private before": base,
                "ratio": pss / sum(one[1] for one in alone),
                "goal": f"< {SHARED}" if workers is both else "",
            }
        )
    return found


def _together(path: Path, count: int) -> list[tuple[float, ...]]:
    """What reading added to Private and Pss, and Private before, of workers that read at once."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", _WORKER, str(path)]
    workers = [subprocess.Popen(command, **pipes) for _ in range(count)]
    # All have done one step before any does the next: none ends while another measures.
    for word in ("ready", "read"):
        for one in workers:
            assert _line(one) == word
        for one in workers:
            _go(one)
    measured = [tuple(map(float, _line(one).split())) for one in workers]
    for one in workers:
        _go(one)
        one.communicate()
    return measured


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def _go(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()


def packing(folder: Path) -> dict[str, Any]:
    """Photographs of 500 x 375 pixels decoded, cut, resized and written."""
    import numpy as np
    from PIL import Image

    from scalesearch.datasets.image_folder import Dataset
    from scalesearch.pack.manifest import Source
    from scalesearch.pack.write import write_pack

    draws = np.random.default_rng(0)
    for number in range(_PHOTOGRAPHS):
        coarse = Image.fromarray(draws.integers(0, 256, (24, 32, 3), np.uint8))
        file = folder / "photographs" / str(number % 2) / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(file, quality=90)
    data = Dataset(path=folder / "photographs").load(0)
    start, wall = time.process_time(), time.perf_counter()
    write_pack(data, folder / "photographs.pack", SIDE, Source(dataset="image_folder"))
    spent, wall = time.process_time() - start, time.perf_counter() - wall
    return {
        "benchmark": "packing JPEGs of 500 x 375",
        "images/s a core": _PHOTOGRAPHS / spent,
        "images/s": _PHOTOGRAPHS / wall,
    }
