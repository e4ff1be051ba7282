"""An evaluator whose process, or whose driver's, is killed once in the middle of an epoch.

In a study file: `evaluator: {name: "tests.dying:Evaluator", place: FOLDER, after: 40}`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.evaluators import training
from scalesearch.history.jobs import Score, Scratch

DRIVER = "driver"  # the file that holds the number of its process


@dataclass(frozen=True)
class Fatal:
    """Training images that note each batch, and whose reader kills a process."""

    images: Any
    place: Path
    after: int
    victim: str

    @property
    def labels(self) -> np.ndarray:
        return self.images.labels

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: np.ndarray, view: Any) -> Any:
        with (self.place / "read").open("a") as file:
            file.write("x" * len(indices))
        if (self.place / "read").stat().st_size > self.after:
            with contextlib.suppress(FileExistsError), (self.place / "killed").open("x"):
                itself = self.victim == "itself"
                pid = os.getpid() if itself else int((self.place / DRIVER).read_text())
                os.kill(pid, signal.SIGKILL)
        return self.images.batch(indices, view)


@dataclass(frozen=True, kw_only=True)
class Evaluator(training.Evaluator):
    """Trains as usual, but for one kill.

    Attributes:
        place: a folder for what happened.
        after: images that are read in training before the kill.
        victim: `itself` or `driver`.
    """

    place: Path
    after: int = 10**9
    victim: str = "itself"

    def evaluate(
        self, model: Any, architecture: Any, data: Any, seed: int, scratch: Scratch | None = None
    ) -> Generator[Score, None, None]:
        fatal = Fatal(data.train, self.place, self.after, self.victim)
        data = dataclasses.replace(data, train=fatal)
        yield from super().evaluate(model, architecture, data, seed, scratch)
