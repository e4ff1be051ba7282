"""How long something will take, from what trials took before or from a short try."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.arch.backbone import Backbone
from scalesearch.cost.closed_form import cost
from scalesearch.interfaces import Evaluator, ImageData, Images
from scalesearch.nn.build import build
from scalesearch.training.allocator import prepare_worker
from scalesearch.units import format_seconds

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


def try_seconds(
    evaluator: Evaluator, network: Backbone, data: ImageData, threads: int
) -> float | None:
    """Seconds that one trial of a network will take on one worker here, by training it briefly.

    None if the evaluator does not say how many epochs it trains, so that nothing can be scaled,
    and if it cannot score the network: the trial itself will record why. Sets up this process as
    a worker with so many threads, since that decides how fast it is.
    """
    epochs = getattr(evaluator, "epochs", None)
    if epochs is None:
        return None
    prepare_worker(threads)
    brief: Any = dataclasses.replace(evaluator, epochs=1)  # type: ignore[type-var]
    batch = evaluator.workload.training_batch

    def timed(batches: int) -> tuple[float, float]:
        few = dataclasses.replace(
            data, train=Few(data.train, batch * batches), validation=Few(data.validation, batch)
        )
        started = time.perf_counter()
        for _ in brief.evaluate(build(network), network, few, 0):
            pass
        return time.perf_counter() - started, _work(few)

    try:
        warm, _ = timed(1)
        seconds, work = timed(max(1, min(_MOST_BATCHES, round(_SECONDS / warm))))
    except RuntimeError:  # also TrialError, and torch's own for memory
        return None
    return epochs * seconds * _work(data) / work


def _work(data: ImageData) -> float:
    """Images of an epoch, in training steps: validation runs forward alone, a third of one."""
    return len(data.train) + len(data.validation) / 3


def total_seconds(
    context: Context, networks: Sequence[Backbone], evaluator: Evaluator
) -> float | None:
    """Seconds for all these networks with the study's workers, or None if nothing is known.

    Trials already recorded are the measure, scaled by FLOPs and epochs; else one short try.
    """
    if not networks:
        return 0.0
    flops = sum(cost(network).flops for network in networks)
    rate = _recorded_rate(context, evaluator)
    if rate is None:
        median = sorted(networks, key=lambda n: cost(n).flops)[len(networks) // 2]
        threads = context.executor.threads
        seconds = try_seconds(evaluator, median, context.data, threads)
        rate = None if seconds is None else seconds / cost(median).flops
    return None if rate is None else rate * flops / context.executor.slots


def grid_sentence(
    context: Context, triples: int, networks: Sequence[Backbone], evaluator: Evaluator
) -> str:
    """`grid: 14 triples, 11 different networks within limits, about 2 min`."""
    seconds = total_seconds(context, networks, evaluator)
    about = f", about {format_seconds(seconds)}" if seconds is not None else ""
    return f"grid: {triples} triples, {len(networks)} different networks within limits{about}"


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
