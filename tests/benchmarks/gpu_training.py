"""Training EfficientNet-B0 on a GPU in bf16: our loop beside a plain loop over timm's network.

Both train on the same 224-pixel images in batches of 128 with AdamW and clipped gradients, read by
the same thread and normalised on the GPU; with and without a moving average of the weights, with
any cuDNN algorithm and with deterministic ones alone. They take turns, so that what else the card
does falls on both.
`python -m tests.benchmarks.gpu_training [--json PATH]` prints the table and writes it; without a
GPU it ends with the exit code 2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.arch.published import published
from scalesearch.datasets._array_images import ArrayImages
from scalesearch.evaluators.training import Evaluator
from scalesearch.interfaces import ImageData
from scalesearch.nn.build import build
from scalesearch.training.batches import prefetch, shuffled
from scalesearch.view import View
from tests.benchmarks.__main__ import machine, table

IMAGES, BATCH, RESOLUTION, CLASSES = 2048, 128, 224, 100
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DECAY, CLIP, RATE = 0.999, 5.0, 1e-3
_EPOCHS, _ROUNDS = 3, 3
_NO_GPU = "this benchmark needs a GPU, and torch sees none here"


def main(arguments: list[str]) -> int:
    """Prints the table and writes it; 2 without a GPU."""
    reader = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu_training")
    reader.add_argument("--json", type=Path, default=Path("build/gpu_training.json"))
    asked = reader.parse_args(arguments)
    if not torch.cuda.is_available():
        print(_NO_GPU, file=sys.stderr)
        return 2
    measured = rows()
    table("gpu_training", measured)
    card = {"card": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine() | card, "rows": measured}, indent=2)
    asked.json.write_text(text + "\n", encoding="utf-8")
    print(f"written to {asked.json}")
    return 0


def rows() -> list[dict[str, Any]]:
    """A row for each setting; without a GPU one that says so."""
    if not torch.cuda.is_available():
        return [{"network": f"none: {_NO_GPU}"}]
    data, before = random_images(), torch.backends.cudnn.deterministic
    try:
        return [
            row(data, ema, deterministic)
            for deterministic in (False, True)
            for ema in (None, DECAY)
        ]
    finally:
        torch.backends.cudnn.deterministic = before


def row(data: ImageData, ema: float | None, deterministic: bool) -> dict[str, Any]:
    """Images/s of both and their ratio within a round, each the median over the rounds."""
    torch.backends.cudnn.deterministic = deterministic
    speeds: dict[str, list[float]] = {"ours": [], "timm": []}
    for _ in range(_ROUNDS):
        for name, speed in (("ours", ours), ("timm", timms)):
            speeds[name].append(speed(data, ema))
    ratios = [mine / peer for mine, peer in zip(speeds["ours"], speeds["timm"], strict=True)]
    return {
        "network": "efficientnet_b0",
        "ema": ema is not None,
        "deterministic": deterministic,
        "ours": round(statistics.median(speeds["ours"]), 1),
        "timm": round(statistics.median(speeds["timm"]), 1),
        "unit": "images/s",
        "ratio": round(statistics.median(ratios), 3),
    }


def random_images() -> ImageData:
    """Images of noise in memory, and a few to validate on."""
    draws = np.random.default_rng(0)

    def images(count: int) -> ArrayImages:
        shape = (count, RESOLUTION, RESOLUTION, 3)
        pixels = draws.integers(0, 256, shape, dtype=np.uint8)
        return ArrayImages(pixels, draws.integers(0, CLASSES, count))

    names = tuple(str(number) for number in range(CLASSES))
    return ImageData(images(IMAGES), images(8), names, 3, MEAN, STD, True)


class Clock:
    """Starts with the first step after a warm-up of so many steps."""

    def __init__(self, warm_up: int) -> None:
        self.left, self.started = warm_up, 0.0

    def step(self) -> None:
        """Is called before each step."""
        if self.left == 0:
            torch.cuda.synchronize()
            self.started = time.perf_counter()
        self.left -= 1

    def seconds(self) -> float:
        """Since it started, once the GPU has done all that it was given."""
        torch.cuda.synchronize()
        return time.perf_counter() - self.started


def ours(data: ImageData, ema: float | None) -> float:
    """Images/s of our evaluator after its first epoch, the validation of a few images included."""
    net = published("efficientnet_b0", num_classes=CLASSES)
    evaluator = Evaluator(
        device="cuda",
        precision="bf16",
        epochs=1 + _EPOCHS,
        batch_size=BATCH,
        learning_rate=RATE,
        clip=CLIP,
        ema=ema,
        augment=False,
        validate_every=1 + _EPOCHS,
    )
    model, clock = build(net), Clock(IMAGES // BATCH)
    model.register_forward_pre_hook(lambda *_: clock.step())
    list(evaluator.evaluate(model, net, data, 0))
    return _EPOCHS * IMAGES / clock.seconds()


def timms(data: ImageData, ema: float | None) -> float:
    """Images/s of a plain loop over timm's network after its first epoch."""
    import timm
    from timm.utils import ModelEmaV2

    # The same dropout and random depth as ours.
    drops = {"drop_rate": 0.2, "drop_path_rate": 0.2}
    model = timm.create_model("efficientnet_b0", num_classes=CLASSES, **drops)
    model = model.cuda().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05, fused=True)
    average = None if ema is None else ModelEmaV2(model, ema)
    mean, std = (torch.tensor(v, device="cuda").view(1, -1, 1, 1) * 255 for v in (MEAN, STD))
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    read, draws = _reader(data), torch.Generator().manual_seed(0)
    clock = Clock(IMAGES // BATCH)
    for _ in range(1 + _EPOCHS):
        for pixels, labels in prefetch(read, shuffled(IMAGES, BATCH, draws)):
            clock.step()
            images = (pixels.cuda(non_blocking=True).float() - mean) / std
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                logits = model(images.contiguous(memory_format=torch.channels_last))
            criterion(logits.float(), labels.cuda(non_blocking=True)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            if average is not None:
                average.update(model)
    return _EPOCHS * IMAGES / clock.seconds()


def _reader(data: ImageData) -> Callable[[np.ndarray], tuple[torch.Tensor, torch.Tensor]]:
    def read(indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = data.train.batch(indices, View(RESOLUTION))
        labels = torch.from_numpy(data.train.labels[indices])
        return pixels.pin_memory(), labels.pin_memory()

    return read


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
