"""Reading photographs: CPU time an image beside Pillow's way and timm's, and loaders beside a step.

JPEG files of 500 x 375 pixels are made first. What is compared takes turns in one process, so that
what else the machine does falls on all; loaders are two processes each.
`python -m tests.benchmarks input` from the repository prints the table.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageOps

FILES, SIDE, BATCH, LOADERS = 256, 224, 64, 2
STEP = 0.02  # seconds of a simulated training step of a batch


def rows(rounds: int = 5) -> list[dict[str, Any]]:
    """CPU time an image of three ways, and what two loaders give to a training."""
    from scalesearch.training.device import prepare_worker

    prepare_worker(1)  # as workers and loaders do, for all that are compared
    with tempfile.TemporaryDirectory() as folder:
        make_photographs(Path(folder))
        return [*of_one_image(Path(folder), rounds), *of_loaders(Path(folder), rounds)]


def make_photographs(folder: Path) -> None:
    """Parts of real photographs (of scikit-image), each another one, in two classes."""
    from skimage import data

    whole = [Image.fromarray(picture()[..., :3]) for picture in (data.astronaut, data.coffee)]
    draws = np.random.default_rng(0)
    for label, picture in enumerate(whole):
        (folder / str(label)).mkdir()
        for number in range(FILES // 2):
            share = draws.uniform(0.4, 0.9)
            left, top = draws.uniform(0, 1 - share, 2) * picture.size
            width, height = share * picture.width, share * picture.height
            part = picture.crop((int(left), int(top), int(left + width), int(top + height)))
            part.resize((500, 375)).save(folder / str(label) / f"{number}.jpg", quality=90)


def of_one_image(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """Decoding, a random part at 224 pixels and mirroring, in one process with one thread."""
    from timm.data import create_transform
    from torchvision.datasets import ImageFolder

    data, read = ours(folder)
    order = np.arange(BATCH)
    peer = create_transform(
        SIDE, is_training=True, auto_augment=None, color_jitter=None, interpolation="bilinear"
    )
    files = ImageFolder(str(folder), transform=peer)
    shift = torch.Generator().manual_seed(0)

    def pillow() -> object:
        return _shifted(torch.stack([_square(path) for path in data.train.paths[:BATCH]]), shift)

    def timm() -> object:
        return torch.stack([files[int(index)][0] for index in order])

    ways = {"ours": lambda: read(data.train, order), "pillow": pillow, "timm": timm}
    # One after the other, as a loader process reads.
    with mock.patch("torch.utils.data.get_worker_info", return_value=True):
        spent = taking_turns(ways, rounds, time.process_time)
    for peer_name, goal in (("pillow", "<= 0.6"), ("timm", "<= 1")):
        mine, theirs = spent["ours"], spent[peer_name]
        ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
        yield {
            "benchmark": f"decode, crop, flip to {SIDE}: CPU time beside {peer_name}",
            "ours": round(statistics.median(mine) / BATCH * 1e3, 2),
            "peer": round(statistics.median(theirs) / BATCH * 1e3, 2),
            "unit": "ms/image",
            "ratio": round(statistics.median(ratios), 2),
            "goal": goal,
        }


def of_loaders(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """Two processes: their rate beside timm's, and a training that waits for neither."""
    from timm.data import create_dataset, create_loader

    from scalesearch.training.loading import Request, close_loaders, loader_pool

    data, read = ours(folder)
    pool = loader_pool((data.train,), LOADERS, pinned=False)
    batches = np.split(np.arange(FILES // BATCH * BATCH) % len(data.train), FILES // BATCH)

    def requests(count: int) -> list[Request]:
        return [Request(0, read, batches[n % len(batches)]) for n in range(count)]

    theirs = create_loader(
        create_dataset("", root=str(folder), is_training=True),
        input_size=SIDE,
        batch_size=BATCH,
        is_training=True,
        use_prefetcher=False,
        auto_augment=None,
        color_jitter=None,
        interpolation="bilinear",
        num_workers=LOADERS,
        persistent_workers=True,
        device=torch.device("cpu"),
    )
    steps = len(batches)
    ways = {
        "ours": lambda: [len(batch) for batch in pool.read(requests(steps))],
        "timm": lambda: [len(batch) for batch, _ in theirs],
    }
    spent = taking_turns(ways, rounds, time.perf_counter)
    rates = {name: [FILES / seconds for seconds in each] for name, each in spent.items()}
    ratios = [mine / peer for mine, peer in zip(rates["ours"], rates["timm"], strict=True)]
    yield {
        "benchmark": f"{LOADERS} loader processes beside timm's",
        "ours": round(statistics.median(rates["ours"])),
        "peer": round(statistics.median(rates["timm"])),
        "unit": "images/s",
        "ratio": round(statistics.median(ratios), 2),
        "goal": ">= 1",
    }

    count = 3 * steps

    def alone() -> None:
        for _ in pool.read(requests(count)):
            pass

    def trained() -> None:
        for _ in pool.read(requests(count)):
            time.sleep(STEP)

    spent = taking_turns(
        {"alone": alone, "trained": trained}, max(2, rounds // 2), time.perf_counter
    )
    ratios = [
        max(read_in, count * STEP) / whole
        for read_in, whole in zip(spent["alone"], spent["trained"], strict=True)
    ]
    yield {
        "benchmark": f"{LOADERS} loaders and a step of {1000 * STEP:.0f} ms: of the slower's rate",
        "ours": round(count * BATCH / statistics.median(spent["trained"])),
        "peer": round(count * BATCH / max(statistics.median(spent["alone"]), count * STEP)),
        "unit": "images/s",
        "ratio": round(statistics.median(ratios), 2),
        "goal": ">= 0.95",
    }
    close_loaders()


def ours(folder: Path) -> tuple[Any, Any]:
    """The data set, and a reader as a training with random crops has it."""
    from scalesearch.datasets.image_folder import Dataset
    from scalesearch.training.classify import ClassReader
    from scalesearch.training.recipe import Recipe
    from scalesearch.view import RandomCrop, View

    data = Dataset(path=folder, validation=0.02).load(0)
    view = View(SIDE, RandomCrop(), seed=1)
    return data, ClassReader(view, Recipe(crop="random_resized"), data.mean, data.flip, 1)


def taking_turns(
    ways: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each way in each round, by a clock; the first round warms caches."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(rounds + 1):
        for name, way in ways.items():
            began = clock()
            way()
            if step:
                spent[name].append(clock() - began)
    return spent


def _square(path: str) -> torch.Tensor:
    """The middle of a photograph by Pillow alone."""
    with Image.open(path) as image:
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        upright = ImageOps.exif_transpose(image).convert("RGB")
    side = min(upright.size)
    left, top = ((length - side) / 2 for length in upright.size)
    box = (left, top, left + side, top + side)
    square = upright.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def _shifted(images: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """Each image shifted by up to an eighth and mirrored or not."""
    from scalesearch.training.augment import Moves, moved

    reach, count = SIDE // 8, len(images)
    shifts = torch.randint(-reach, reach + 1, (2, count, 1), generator=draws)
    return moved(images, Moves(shifts, torch.rand(count, 1, generator=draws) < 0.5))


if __name__ == "__main__":
    for row in rows():
        print(row)
