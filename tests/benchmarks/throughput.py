"""Throughput of EfficientNet-B0 on the CPU beside timm's: training, inference, exported.

First our evaluator against a plain PyTorch loop over timm's network: both train on 96-pixel images
in batches of 32 with AdamW, each in a process of its own since the allocator setting holds for a
whole process. Then the networks themselves, with equal settings in one process. What is compared
takes turns, so that what else the machine does falls on both.
`python -m tests.benchmarks.throughput` from the repository prints the table.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGES, BATCH, RESOLUTION, CLASSES = 256, 32, 96, 10
GOAL = 1.8
# Beside timm's network with equal settings: training, inference, and inference folded.
EQUAL, FOLDED = 1.0, 1.4
SIDE = 224


def rows(rounds: int = 5) -> list[dict[str, Any]]:
    """Our evaluator with one thread, as in a worker, and with every core; then the networks."""
    counts = sorted({1, os.cpu_count() or 1})
    return [*(compare(threads, rounds) for threads in counts), *networks(rounds)]


@dataclass(frozen=True)
class Duel:
    """Two ways to the same end, each a function that handles `images` images."""

    name: str
    images: int
    ours: Callable[[], object]
    peer: Callable[[], object]
    goal: str


def networks(rounds: int) -> list[dict[str, Any]]:
    """The networks themselves, with one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [fight(duel, rounds) for duel in duels()]
    finally:
        torch.set_num_threads(threads)


def fight(duel: Duel, rounds: int) -> dict[str, Any]:
    """Images/s of both and their ratio within a round, each the median over the rounds."""
    calls = max(1, 16 // duel.images)  # a round of one image would be too short to time
    speeds: dict[str, list[float]] = {"ours": [], "peer": []}
    for step in range(rounds + 1):
        for name, call in (("ours", duel.ours), ("peer", duel.peer)):
            start = time.perf_counter()
            for _ in range(calls):
                call()
            if step:  # the first warms caches and makes the optimizer's state
                speeds[name].append(calls * duel.images / (time.perf_counter() - start))
    ratios = [mine / peer for mine, peer in zip(speeds["ours"], speeds["peer"], strict=True)]
    return {
        "benchmark": duel.name,
        "ours": round(statistics.median(speeds["ours"]), 1),
        "peer": round(statistics.median(speeds["peer"]), 1),
        "unit": "images/s",
        "ratio": round(statistics.median(ratios), 2),
        "goal": duel.goal,
    }


def duels() -> Iterator[Duel]:
    """Training and inference beside timm's B0, and the exported file beside it and beside us."""
    import timm
    import torch

    import scalesearch as ss

    net = ss.architecture("efficientnet_b0")
    settings = {"drop_rate": net.head.dropout, "drop_path_rate": net.drop_path}
    pair = ss.build(net), timm.create_model("efficientnet_b0", **settings)
    with tempfile.TemporaryDirectory() as folder:
        kept, folded = (_exported(pair[0], Path(folder), fold) for fold in (False, True))
    batch = torch.randn(BATCH, 3, RESOLUTION, RESOLUTION)
    faster = f"at least {EQUAL} times as fast"
    yield Duel(
        f"B0 training step at {RESOLUTION} px, batch {BATCH} (beside timm's)",
        BATCH,
        *(_step(model, batch) for model in pair),
        faster,
    )
    built, peer = (model.eval() for model in pair)
    for count in (1, 16):
        images = torch.randn(count, 3, SIDE, SIDE)
        name = f"B0 inference at {SIDE} px, batch {count}"
        yield Duel(
            f"{name} (beside timm's)", count, *(_look(m, images) for m in (built, peer)), faster
        )
    yield Duel(
        f"{name}, exported and folded (beside timm's)",
        count,
        *(_look(model, images) for model in (folded, peer)),
        f"at least {FOLDED} times as fast",
    )
    yield Duel(
        f"{name}, exported (beside the built network)",
        count,
        *(_look(model, images) for model in (kept, built)),
        "about 1",
    )


def _exported(model: Any, folder: Path, fold: bool) -> Any:
    """The network that the exported file builds."""
    import importlib.util

    import scalesearch as ss

    name = f"b0_folded_{fold}".lower()
    path = folder / f"{name}.py"
    net = ss.architecture("efficientnet_b0")
    ss.export(net, path, weights=model.state_dict(), fold=fold)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


def _step(model: Any, images: Any) -> Callable[[], object]:
    """A training step with AdamW."""
    import torch
    from torch.nn import functional

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    targets = torch.arange(len(images))
    model.train()

    def step() -> None:
        loss = functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _look(model: Any, images: Any) -> Callable[[], object]:
    """A forward pass without gradients."""
    import torch

    return torch.no_grad()(lambda: model(images))


def compare(threads: int, rounds: int) -> dict[str, Any]:
    """Images/s of both loops and their ratio within a round, each the median over the rounds."""
    loops = {name: _start(name, threads) for name in ("plain", "ours")}
    try:
        for process in loops.values():
            _one_round(process)  # warms caches and makes the optimizer's state
        speeds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(rounds):
            for name, process in loops.items():
                speeds[name].append(_one_round(process))
    finally:
        for process in loops.values():
            process.terminate()
            process.wait()
    ratios = [mine / peer for mine, peer in zip(speeds["ours"], speeds["plain"], strict=True)]
    return {
        "benchmark": f"training B0 at {RESOLUTION} px, batch {BATCH}, {threads} threads"
        " (beside a plain loop over timm's)",
        "ours": round(statistics.median(speeds["ours"]), 1),
        "peer": round(statistics.median(speeds["plain"]), 1),
        "unit": "images/s",
        "ratio": round(statistics.median(ratios), 2),
        "goal": f"at least {GOAL} times faster",
    }


def ours(threads: int) -> Iterator[None]:
    """Each step is one epoch of our evaluator over the images (and a validation over two)."""
    import torch

    from scalesearch.arch.published import published
    from scalesearch.datasets._array_images import ArrayImages
    from scalesearch.evaluators.training import Evaluator
    from scalesearch.interfaces import ImageData
    from scalesearch.nn.build import build
    from scalesearch.training.device import prepare_worker

    prepare_worker(threads)
    pixels, labels = _images()
    data = ImageData(
        train=ArrayImages(pixels, labels),
        validation=ArrayImages(pixels[:2], labels[:2]),
        classes=tuple(map(str, range(CLASSES))),
        channels=3,
        mean=(0.5, 0.5, 0.5),
        std=(0.3, 0.3, 0.3),
        flip=True,
    )
    net = published("efficientnet_b0", num_classes=CLASSES, resolution=RESOLUTION)
    torch.manual_seed(0)
    evaluator = Evaluator(epochs=1000, batch_size=BATCH, device="cpu")
    for _ in evaluator.evaluate(build(net), net, data, 0):
        yield


def plain(threads: int) -> Iterator[None]:
    """Each step is one pass of the loop that everybody writes first."""
    import timm
    import torch
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = timm.create_model("efficientnet_b0", num_classes=CLASSES, drop_path_rate=0.2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    pixels, labels = _images()
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255
    targets = torch.from_numpy(labels)
    model.train()
    while True:
        for start in range(0, IMAGES, BATCH):
            loss = functional.cross_entropy(
                model(images[start : start + BATCH]), targets[start : start + BATCH]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield


def _images() -> Any:
    import numpy as np

    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (IMAGES, RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
    return pixels, draws.integers(0, CLASSES, IMAGES)


def _start(name: str, threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, name, str(threads)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def _one_round(process: subprocess.Popen[str]) -> float:
    """Images/s of one pass in a waiting process."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _serve(name: str, threads: int) -> None:
    """Makes one pass for each line that comes in and answers its images/s."""
    passes = {"ours": ours, "plain": plain}[name](threads)
    for _ in sys.stdin:
        start = time.perf_counter()
        next(passes)
        print(IMAGES / (time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve(sys.argv[1], int(sys.argv[2]))
    else:
        from tests.benchmarks.__main__ import table

        table("throughput", rows())
