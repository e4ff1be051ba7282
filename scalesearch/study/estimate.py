"""How long something will take, from what trials took before or from a short try."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.arch.detector import Architecture, Detector
from scalesearch.cost.closed_form import cost
from scalesearch.history.jobs import Job, Outcome, Result, Score
from scalesearch.interfaces import BoxData, BoxImages, Data, Evaluator, Executor, Images, Targets
from scalesearch.nn.build import build
from scalesearch.study.inputs import GridOfNetworks
from scalesearch.training.allocator import prepare_worker

if TYPE_CHECKING:
    import torch

    from scalesearch.study.context import Context

# Of a try, after one batch to warm up.
_SECONDS, _MOST_BATCHES = 1.0, 32


@dataclass(frozen=True)
class Few:
    """The first images of others, with all that `Images` promises."""

    images: Images
    most: int

    @property
    def labels(self) -> np.ndarray:
        """Labels, int64 [N]."""
        return self.images.labels[: self.most]

    def __len__(self) -> int:
        return min(self.most, len(self.images))

    def batch(self, indices: np.ndarray, resolution: int) -> torch.Tensor:
        """Those images as uint8 [B, C, resolution, resolution]."""
        return self.images.batch(indices, resolution)


@dataclass(frozen=True)
class FewBoxes:
    """The first images of others, with all that `BoxImages` promises."""

    images: BoxImages
    most: int

    @property
    def ids(self) -> Sequence[int]:
        """Ids of the images."""
        return self.images.ids[: self.most]

    def __len__(self) -> int:
        return min(self.most, len(self.images))

    def image(self, index: int) -> torch.Tensor:
        """An image as uint8 [C, H, W]."""
        return self.images.image(index)

    def targets(self, index: int) -> Targets:
        """Its objects."""
        return self.images.targets(index)

    def size(self, index: int) -> tuple[int, int]:
        """Its height and width."""
        return self.images.size(index)


@dataclass(frozen=True)
class Try:
    """Trains a network briefly, on a worker as a trial would, and tells what a whole one takes."""

    evaluator: Evaluator
    data: Data

    def prepare(self, threads: int) -> None:
        """Sets up a worker's process as for trials."""
        prepare_worker(threads)

    def __call__(self, job: Job) -> Generator[Score, None, Result]:
        """No score; the result's `seconds` are those of a whole trial on this worker."""
        yield from ()
        warm, _ = self._timed(job.architecture, 1)
        batches = max(1, min(_MOST_BATCHES, round(_SECONDS / warm)))
        few, less = self._timed(job.architecture, 1)
        seconds, work = self._timed(job.architecture, 1 + batches)
        rate = (seconds - few) / (work - less) if work > less else seconds / work
        # What is the same however many images there are, such as the start of a training.
        once = max(0.0, few - rate * less)
        epochs: int = getattr(self.evaluator, "epochs", 1)
        every: int = getattr(self.evaluator, "validate_every", 1)
        whole = once + epochs * max(rate, 0.0) * _work(self.data, every)
        return Result({}, cost(job.architecture), whole)

    def _timed(self, network: Architecture, batches: int) -> tuple[float, float]:
        brief: Any = dataclasses.replace(self.evaluator, epochs=1)  # type: ignore[type-var]
        batch = self.evaluator.workload.training_batch
        kind: Any = FewBoxes if isinstance(self.data, BoxData) else Few
        train, validation = (
            kind(self.data.train, batch * batches),
            kind(self.data.validation, batch),
        )
        few = dataclasses.replace(self.data, train=train, validation=validation)
        started = time.perf_counter()
        for _ in brief.evaluate(build(network), network, few, 0):
            pass
        return time.perf_counter() - started, _work(few)


def try_seconds(
    executor: Executor, evaluator: Evaluator, network: Architecture, data: Data
) -> float | None:
    """Seconds that one trial of a network will take on one worker, by training it there briefly.

    None if the evaluator does not say how many epochs it trains, so that nothing can be scaled,
    and if it cannot score the network: the trial itself will record why.
    """
    if not hasattr(evaluator, "epochs"):
        return None
    jobs, outcomes = [Job("estimate", 0, network, 0)], list[Outcome]()
    executor.run(
        lambda: jobs.pop() if jobs else None,
        Try(evaluator, data),
        lambda job, score: True,
        lambda job, outcome: outcomes.append(outcome),
    )
    return outcomes[0].seconds if isinstance(outcomes[0], Result) else None


def phase_seconds(
    executor: Executor, evaluator: Evaluator, networks: Sequence[Architecture], data: Data
) -> float | None:
    """Seconds for all these networks on one worker, by a try of the median one."""
    if not networks:
        return 0.0
    ordered = sorted(networks, key=lambda n: cost(n).flops)
    median = ordered[len(ordered) // 2]
    seconds = try_seconds(executor, evaluator, median, data)
    if seconds is None:
        return None
    return seconds * sum(cost(n).flops for n in ordered) / cost(median).flops


def _work(data: Data, every: int = 1) -> float:
    """Images of an epoch, in training steps: validation runs forward alone, a third of one, and
    only `every` so many epochs.
    """
    return len(data.train) + len(data.validation) / 3 / every


def total_seconds(
    context: Context, networks: Sequence[Architecture], evaluator: Evaluator
) -> float | None:
    """Seconds for all these networks with the study's workers, or None if nothing is known.

    Trials already recorded are the measure, scaled by FLOPs and epochs; else one short try.
    """
    rate = _recorded_rate(context, evaluator)
    if rate is None:
        seconds = phase_seconds(context.executor, evaluator, networks, context.data)
    else:
        seconds = rate * sum(cost(network).flops for network in networks)
    return None if seconds is None else seconds / context.executor.slots


def grid_sentence(grid: GridOfNetworks) -> str:
    """`20 triples, 14 different networks, 11 within limits (1.8 to 2.9 times the FLOPs)`."""
    base = cost(grid.baseline).flops
    ratios = sorted(cost(network).flops / base for network in grid.fitting)
    spread = f" ({ratios[0]:.1f} to {ratios[-1]:.1f} times the FLOPs)" if ratios else ""
    what = "combinations" if isinstance(grid.baseline, Detector) else "triples"
    return (
        f"{grid.space.size} {what}, {grid.networks} different networks, "
        f"{len(grid.fitting)} within limits{spread}"
    )


def _recorded_rate(context: Context, evaluator: Evaluator) -> float | None:
    """Seconds for each FLOP of the searched networks, for as many epochs as `evaluator` trains."""
    search = context.study.search
    trials = context.folder.read().get("search", ())
    done = [trial for trial in trials if trial.state == "assessed" and trial.seconds > 0]
    if search is None or not done:
        return None
    before = getattr(search.evaluator.make(), "epochs", 1)
    epochs = getattr(evaluator, "epochs", 1)
    rate = sum(t.seconds for t in done) / sum(t.cost.flops for t in done)
    return rate * epochs / before
