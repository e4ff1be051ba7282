"""A GPU that is fed: packed images of 192 pixels, cut at random, beside batches that cost nothing.

EfficientNet-B0 is trained in bf16 by our evaluator on a pack, read by as many processes as there
are cores, and on a data set whose every batch is the same tensor; and with a moving average of its
weights, which should cost next to nothing. `python -m tests.benchmarks gpu_input`, on a GPU.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.arch.published import published
from scalesearch.datasets._array_images import ArrayImages
from scalesearch.evaluators.training import Evaluator
from scalesearch.interfaces import ImageData, View
from scalesearch.nn.build import build
from scalesearch.pack.images import data_of
from scalesearch.pack.manifest import Source
from scalesearch.pack.write import write_pack
from scalesearch.training.loading import close_loaders
from tests.benchmarks.gpu_training import CLASSES, MEAN, STD, Clock

IMAGES, BATCH, SIDE, CROP = 8192, 256, 192, 160
DECAY = 0.9999
_EPOCHS, _ROUNDS = 2, 3


@dataclass(frozen=True)
class Synthetic:
    """Images that are there already: every batch is the same."""

    count: int
    pixels: torch.Tensor

    @property
    def labels(self) -> np.ndarray:
        """The class of each, int64 [N]."""
        return np.arange(self.count) % CLASSES

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: np.ndarray, view: View) -> torch.Tensor:
        """The same images each time, uint8 [B, 3, size, size]."""
        return self.pixels[: len(indices)].clone()


def rows() -> list[dict[str, Any]]:
    """Packed beside synthetic images, and with beside without an average; none without a GPU."""
    if not torch.cuda.is_available():
        return [{"benchmark": "none: this machine has no GPU"}]
    return measured(IMAGES, BATCH, "cuda", os.cpu_count() or 1)


def measured(images: int, batch: int, device: str, loaders: int) -> list[dict[str, Any]]:
    """Both rows, on so many images."""
    with tempfile.TemporaryDirectory() as folder:
        write_pack(noise(images), Path(folder) / "noise.pack", SIDE, Source(dataset="noise"))
        packed = data_of_pack(Path(folder) / "noise.pack")
        shape = (batch, 3, CROP, CROP)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        every = (Synthetic(images, pixels), Synthetic(8, pixels))
        names = tuple(map(str, range(CLASSES)))
        synthetic = ImageData(*every, names, 3, MEAN, STD, flip=True)
        speeds: dict[str, list[float]] = {"packed": [], "synthetic": [], "average": []}
        for _ in range(_ROUNDS):
            for name, data, ema, count in (
                ("packed", packed, None, loaders),
                ("synthetic", synthetic, None, 0),
                ("average", synthetic, DECAY, 0),
            ):
                speeds[name].append(speed(data, batch, device, count, ema))
        close_loaders()
    return [
        _row("packed 192-pixel images, cut at random", speeds["packed"], speeds["synthetic"], 0.85),
        _row("a moving average of the weights", speeds["average"], speeds["synthetic"], 0.97),
    ]


def speed(data: Any, batch: int, device: str, loaders: int, ema: float | None) -> float:
    """Images/s of our evaluator after its first epoch."""
    net = published("efficientnet_b0", num_classes=CLASSES, resolution=CROP)
    evaluator = Evaluator(
        device=device,
        precision="bf16" if device == "cuda" else "float32",
        epochs=1 + _EPOCHS,
        batch_size=batch,
        crop="random_resized",
        loaders=loaders,
        ema=ema,
        validate_every=1 + _EPOCHS,
    )
    model, clock = build(net), Clock(len(data.train) // batch)
    model.register_forward_pre_hook(lambda *_: clock.step())
    list(evaluator.evaluate(model, net, data, 0))
    return _EPOCHS * len(data.train) / clock.seconds()


def noise(images: int) -> ImageData:
    """Images of noise in memory, and a few to validate on."""
    draws = np.random.default_rng(0)

    def part(count: int) -> ArrayImages:
        pixels = draws.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
        return ArrayImages(pixels, np.arange(count) % CLASSES)

    names = tuple(map(str, range(CLASSES)))
    return ImageData(part(images), part(8), names, 3, MEAN, STD, flip=True)


def data_of_pack(path: Path) -> Any:
    """What a study reads of a pack."""
    from scalesearch.pack.file import open_pack

    return data_of(open_pack(path))


def _row(name: str, ours: list[float], peer: list[float], goal: float) -> dict[str, Any]:
    ratios = [mine / other for mine, other in zip(ours, peer, strict=True)]
    return {
        "benchmark": name,
        "ours": round(statistics.median(ours), 1),
        "peer": round(statistics.median(peer), 1),
        "unit": "images/s",
        "ratio": round(statistics.median(ratios), 3),
        "goal": f">= {goal}",
    }
