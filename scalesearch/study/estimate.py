"""How long phases take, from recorded trials or from timing a network on a worker."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.arch.detector import Architecture
from scalesearch.contracts import scores_of
from scalesearch.cost.closed_form import cost
from scalesearch.errors import UserError
from scalesearch.history.fidelity import WHOLE, WHOLE_EPOCHS, Fidelity, Schedule
from scalesearch.history.jobs import Failure, Job, Outcome, Result, Score
from scalesearch.interfaces import BoxImages, Data, Evaluator, Executor, Images, Targets, hook
from scalesearch.nn.build import build
from scalesearch.study.inputs import GridOfNetworks
from scalesearch.training.device import prepare_worker
from scalesearch.units import format_count
from scalesearch.view import View

if TYPE_CHECKING:
    import torch

    from scalesearch.study.context import Context

# A timing lasts about so many seconds, after one batch to warm up.
_SECONDS, _MOST_BATCHES = 1.0, 32
# Seconds after which so few images are enough: a batch of a large network takes minutes.
_LONG, _FEW_IMAGES = 2.0, 2


@dataclass(frozen=True)
class First(Images, BoxImages):
    """The first images of others: what `Images` or `BoxImages` promises, as those do."""

    images: Any
    most: int

    @property
    def whole(self) -> Any:
        """What has these images under the same indices: the same for every timing."""
        return self.images

    @property
    def in_memory(self) -> bool:
        return bool(hook(self.images, "in_memory"))

    def __len__(self) -> int:
        return min(self.most, len(self.images))

    @property
    def labels(self) -> np.ndarray:
        labels: np.ndarray = self.images.labels[: self.most]
        return labels

    @property
    def ids(self) -> Sequence[int]:
        ids: Sequence[int] = self.images.ids[: self.most]
        return ids

    def batch(self, indices: np.ndarray, view: View) -> torch.Tensor:
        batch: torch.Tensor = self.images.batch(indices, view)
        return batch

    def image(self, index: int) -> torch.Tensor:
        image: torch.Tensor = self.images.image(index)
        return image

    def targets(self, index: int) -> Targets:
        targets: Targets = self.images.targets(index)
        return targets

    def size(self, index: int) -> tuple[int, int]:
        size: tuple[int, int] = self.images.size(index)
        return size


@dataclass(frozen=True)
class TimingProbe:
    """Trains a network on a few batches, on a worker like a trial, and extrapolates to a trial."""

    evaluator: Evaluator
    data: Data
    schedule: Schedule = WHOLE_EPOCHS

    def prepare(self, threads: int) -> None:
        """Sets up a worker's process as for trials."""
        prepare_worker(threads)

    def __call__(self, job: Job) -> Generator[Score, None, Result]:
        """No score; the result's `seconds` are those of a whole trial on this worker."""
        yield from ()
        fitted = hook(self.evaluator, "fitted")(job.architecture) or self.evaluator
        return replace(self, evaluator=fitted)._of(job)

    def _of(self, job: Job) -> Result:
        once, rate = self._of_few_images(job.architecture) or self._of_batches(job.architecture)
        whole = once + max(rate, 0.0) * _trial_work(self.evaluator, self.data, self.schedule)
        return Result({}, cost(job.architecture), whole)

    def _of_few_images(self, network: Architecture) -> tuple[float, float] | None:
        """As `_of_batches`, from less than a batch; None where that says little, as it is quick."""
        batch, images = self.evaluator.workload.training_batch, _FEW_IMAGES
        if images < batch:
            self._timed(network, images)  # the first is slower
        while images < batch:
            seconds, work = self._timed(network, images)
            if seconds > _LONG:
                more, further = self._timed(network, 2 * images)
                rate = max(0.0, (more - seconds) / (further - work)) if further > work else 0.0
                return max(0.0, seconds - rate * work), rate or seconds / work
            images *= 4
        return None

    def _of_batches(self, network: Architecture) -> tuple[float, float]:
        """The seconds that any training takes, and those for each image of an epoch."""
        batch = self.evaluator.workload.training_batch
        warm, _ = self._timed(network, batch)
        batches = max(1, min(_MOST_BATCHES, round(_SECONDS / warm)))
        few, less = self._timed(network, batch)
        seconds, work = self._timed(network, (1 + batches) * batch)
        rate = (seconds - few) / (work - less) if work > less else seconds / work
        return max(0.0, few - rate * less), rate

    def _timed(self, network: Architecture, images: int) -> tuple[float, float]:
        """Seconds of a training on so many images, and its work; a batch at most is validated."""
        brief: Any = replace(self.evaluator, epochs=1)  # type: ignore[type-var]
        validated = min(images, self.evaluator.workload.training_batch)
        data: Any = self.data
        few = replace(
            data,
            train=First(self.data.train, images),
            validation=First(self.data.validation, validated),
        )
        started = time.perf_counter()
        for _ in scores_of(brief, build(network), network, few, 0):
            pass
        return time.perf_counter() - started, _work(few)


def trial_seconds(
    executor: Executor,
    evaluator: Evaluator,
    network: Architecture,
    data: Data | None,
    schedule: Schedule = WHOLE_EPOCHS,
) -> float | None:
    """Seconds of one trial of a network on one worker, to its end, by timing it there.

    Whole images are timed; by the `schedule` fewer and smaller ones count as their share of pixels.

    None if the evaluator does not say how many epochs it trains, so that nothing can be scaled.

    Raises:
        UserError: the evaluator cannot score the network; the reason is given.
    """
    hook(evaluator, "check")(network)
    if hook(evaluator, "epochs") is None or data is None:
        return None
    jobs, outcomes = [Job("estimate", 0, network, 0)], list[Outcome]()
    executor.run(
        lambda: jobs.pop() if jobs else None,
        TimingProbe(evaluator, data, schedule),
        lambda job, score: True,
        lambda job, outcome: outcomes.append(outcome),
    )
    if isinstance(outcomes[0], Result):
        return outcomes[0].seconds
    flops = format_count(cost(network).flops)
    raise UserError(
        f"a training of a network of {flops} flops was tried and failed: {_why(outcomes[0])}"
    )


def _why(outcome: Outcome) -> str:
    return outcome.reason if isinstance(outcome, Failure) else type(outcome).__name__.lower()


def phase_seconds(
    executor: Executor,
    evaluator: Evaluator,
    networks: Sequence[Architecture],
    data: Data | None,
    schedule: Schedule = WHOLE_EPOCHS,
) -> float | None:
    """Seconds for all these networks on one worker, by timing the median one."""
    if not networks:
        return 0.0
    ordered = sorted(networks, key=lambda n: cost(n).flops)
    median = ordered[len(ordered) // 2]
    seconds = trial_seconds(executor, evaluator, median, data, schedule)
    if seconds is None:
        return None
    return seconds * sum(cost(n).flops for n in ordered) / cost(median).flops


def total_seconds(
    context: Context,
    networks: Sequence[Architecture],
    evaluator: Evaluator,
    schedule: Schedule = WHOLE_EPOCHS,
) -> float | None:
    """Seconds for all these networks with the study's workers, or None if nothing is known.

    From the recorded trials, scaled by FLOPs, epochs and what each takes of the images; without
    any from a timing. If that fails nothing is known: the trials themselves record why.
    """
    rate = _recorded_rate(context, evaluator, schedule)
    if rate is None:
        try:
            seconds = phase_seconds(context.executor, evaluator, networks, context.data, schedule)
        except UserError:
            return None
    else:
        seconds = rate * sum(cost(network).flops for network in networks)
    return None if seconds is None else seconds / context.executor.slots


def grid_sentence(grid: GridOfNetworks) -> str:
    """`20 triples, 14 different networks, 11 within limits (1.8 to 2.9 times the FLOPs)`."""
    base = cost(grid.baseline).flops
    ratios = sorted(cost(network).flops / base for network in grid.fitting)
    spread = f" ({_times(ratios[0])} to {_times(ratios[-1])} times the FLOPs)" if ratios else ""
    left_out = getattr(grid.space, "left_out", 0)
    coarse = f"; {left_out} more cannot be realised at the budget within 2 %" if left_out else ""
    count = len(grid.fitting)
    sentence = (
        f"{grid.space.size} {grid.noun}, {grid.networks} different networks, "
        f"{count + grid.unused} within limits{spread}{coarse}"
    )
    if grid.halving is None:
        return sentence
    some = f" on {count} of them that lie far apart" if grid.unused else ""
    return (
        f"{sentence}; a budget of {grid.halving.trainings} trainings{some}: "
        f"{grid.halving.words(count)}"
    )


def _times(ratio: float) -> str:
    """`1.8`, and of less than 1 two digits that say something: `0.0098`."""
    return f"{ratio:.1f}" if ratio >= 0.995 else f"{ratio:.2g}"


def grid_seconds(context: Context, grid: GridOfNetworks, evaluator: Evaluator) -> float | None:
    """Seconds of a grid with the study's workers, or None if nothing is known."""
    seconds = total_seconds(context, grid.fitting, evaluator, grid.schedule)
    return None if seconds is None else seconds * grid.share


def _work(data: Data, every: int = 1, fidelity: Fidelity = WHOLE) -> float:
    """Images of an epoch, in training steps: validation runs forward alone, a third of one, and
    only `every` so many epochs. It takes all of its images, at the side of the epoch.
    """
    images = fidelity.data * len(data.train) + len(data.validation) / 3 / every
    return images * fidelity.resolution**2


def _trial_work(evaluator: Evaluator, data: Data, schedule: Schedule) -> float:
    """The same of all epochs of a trial, each with the pixels that its images have."""
    every = hook(evaluator, "validate_every")
    return sum(
        epochs * _work(data, every, fidelity)
        for epochs, fidelity in schedule.spans(hook(evaluator, "epochs") or 1)
    )


def _recorded_rate(context: Context, evaluator: Evaluator, schedule: Schedule) -> float | None:
    """Seconds for each FLOP of the searched networks, for trainings as `evaluator` has them."""
    search = context.study.search
    trials = context.folder.read().get("search", ())
    done = [trial for trial in trials if trial.state == "assessed" and trial.seconds > 0]
    if search is None or not done or not hook(search.evaluator.make(), "trains"):
        return None
    rate = sum(t.seconds for t in done) / sum(t.cost.flops for t in done)
    assert context.data is not None  # the settings were checked: what trains has images
    before = _trial_work(search.evaluator.make(), context.data, search.schedule)
    return rate * _trial_work(evaluator, context.data, schedule) / before
