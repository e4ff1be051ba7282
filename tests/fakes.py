"""Plug-ins for tests: whole studies in seconds, with scores that follow from the network alone.

In a study file: `evaluator: {name: "tests.fakes:Evaluator"}`; `dataset:` likewise.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.arch.backbone import Backbone
from scalesearch.arch.plain import digest
from scalesearch.cost.closed_form import cost
from scalesearch.cost.cost import Workload
from scalesearch.errors import TrialError
from scalesearch.files.write import format_yaml
from scalesearch.history.jobs import Score
from scalesearch.interfaces import ImageData, View

SPACE = """\
resolution: 8
in_channels: 1
num_classes: 10
width_divisor: 2
stem: {width: 4, kernel: 3, stride: 1}
stages:
  - {block: mbconv, width: [4, 6, 8], stride: 2, depth: [1, 2], kernel: [3, 5], expand: [1, 2]}
head: {width: 8, dropout: 0.0}
"""
FOUR = SPACE.replace("[4, 6, 8]", "8").replace("[3, 5]", "3")  # a space of four networks


def accuracy_of(network: Backbone, seed: int = 0) -> float:
    """More FLOPs, better score; the digest and the seed shake it by a few thousandths."""
    text = f"{digest(network)}/{seed}"
    shake = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
    return 1 - 1 / (2 + cost(network).flops / 1e4) + shake / 200


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Scores without training.

    Attributes:
        epochs: scores given; the last is `accuracy_of` the network, those before it are lower.
        delay: seconds before each of them.
        fail_on: networks of this many blocks fail with a `TrialError`.
        raise_on: networks of this many blocks raise a `RuntimeError` about memory.
        nan_on: networks of this many blocks have an accuracy that is not a number.
        die_on: networks of this many blocks kill their process.
        metric: name of the score.
        calls: file that gets a line for each call: number of blocks and digest.
    """

    epochs: int = 1
    delay: float = 0.0
    fail_on: int | None = None
    raise_on: int | None = None
    nan_on: int | None = None
    die_on: int | None = None
    metric: str = "accuracy"
    calls: Path | None = None

    @property
    def workload(self) -> Workload:
        return Workload(training_batch=2)

    def evaluate(
        self, model: object, architecture: Backbone, data: ImageData, seed: int
    ) -> Generator[Score, None, None]:
        if self.calls is not None:
            with self.calls.open("a") as file:
                file.write(f"{architecture.depth} {digest(architecture)}\n")
        if architecture.depth == self.die_on:
            os.kill(os.getpid(), signal.SIGKILL)
        if architecture.depth == self.fail_on:
            raise TrialError("made to fail")
        if architecture.depth == self.raise_on:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 TB")
        top = accuracy_of(architecture, seed)
        for epoch in range(1, self.epochs + 1):
            time.sleep(self.delay)
            value = float("nan") if architecture.depth == self.nan_on else top * epoch / self.epochs
            yield Score(epoch, {self.metric: value, "loss": 1 - value})


@dataclass(frozen=True)
class Grey:
    """Images that are all of one grey."""

    count: int

    @property
    def labels(self) -> np.ndarray:
        return np.arange(self.count) % 10

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: np.ndarray, view: View) -> object:
        import torch

        return torch.full((len(indices), 1, view.size, view.size), 128, dtype=torch.uint8)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A few grey images in ten classes."""

    images: int = 16

    def load(self, seed: int) -> ImageData:
        images, classes = Grey(self.images), tuple(map(str, range(10)))
        return ImageData(images, images, classes, 1, (0.5,), (0.3,), flip=False)


STUDY: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "tests.fakes:Dataset"},
    "evaluator": {"name": "tests.fakes:Evaluator"},
    "search": {
        "space": "space.yaml",
        "sampler": {"name": "tpe", "startup": 4},
        "trials": 6,
        "limits": {"flops": {"max": "15k"}},
    },
    "grid": {"step": 0.2, "tolerance": 0.3, "match": "nominal"},
    "family": {"phi": [0, 1]},
}


def write_study(folder: Path, *, without: tuple[str, ...] = (), **changes: Any) -> Path:
    """A study file of seconds, and its space, in a folder."""
    (folder / "space.yaml").write_text(SPACE)
    plain = {key: value for key, value in STUDY.items() if key not in without} | changes
    file = folder / "study.yaml"
    file.write_text(format_yaml(plain))
    return file
