"""The training loop of every task: a model and a task to one score an epoch."""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.arch.plain import digest
from scalesearch.errors import TrialError, UserError
from scalesearch.history.fidelity import WHOLE_EPOCHS, Schedule
from scalesearch.history.jobs import Score, Scratch, seed_for
from scalesearch.interfaces import hook
from scalesearch.nn.build import build
from scalesearch.scaling.sides import smaller_side
from scalesearch.training.batches import micro_batches, nested_order
from scalesearch.training.checkpoint import TrainingCheckpoint
from scalesearch.training.course import Course
from scalesearch.training.depthwise import quick_depthwise
from scalesearch.training.device import autocast_dtype, cuda_math, isolated, pick_device
from scalesearch.training.freezing import begin, freeze, hold_frozen
from scalesearch.training.loading import Reader, Request, in_thread, loader_pool
from scalesearch.training.recipe import CommonRecipe
from scalesearch.training.updates import (
    MovingAverage,
    clip_gradients,
    gradient_scaler,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)

if TYPE_CHECKING:
    from scalesearch.interfaces import Data

# Losses are looked at this often: looking makes a GPU wait for its queue to run dry.
_LOOK_EVERY = 20
TRAIN, VALIDATION = 0, 1  # parts of a data set
Batch = TypeVar("Batch")


class Loss(NamedTuple):
    """The loss of one step.

    Attributes:
        total: a scalar with its gradient.
        where: says what of the batch has a loss that is not a number, as in `, images with ids 3`.
    """

    total: Tensor
    where: Callable[[], str] = str


class Evaluation(NamedTuple):
    """What a validation gives.

    Attributes:
        values: scores by name.
        detections_json: writes detections as a COCO results file, where the task has them.
    """

    values: dict[str, float]
    detections_json: Callable[[], bytes] | None = None


@dataclass(frozen=True, kw_only=True)
class Task(abc.ABC, Generic[Batch]):
    """What a task brings to the loop: its batches, its loss and its evaluation.

    Attributes:
        architecture: of the models; `data` has images for it.
        schedule: how much of its images each epoch takes.
        metrics: the scores whose spread over several seeds is reported.
    """

    architecture: Any
    data: Data
    recipe: CommonRecipe
    schedule: Schedule = WHOLE_EPOCHS
    metrics: ClassVar[tuple[str, ...]]

    @cached_property
    def device(self) -> torch.device:
        """Where it trains; `UserError` for a GPU that is not there."""
        return pick_device(self.recipe.device)

    @cached_property
    def autocast_dtype(self) -> torch.dtype | None:
        """The 16-bit type of its forward passes, if any; `UserError` for one it cannot have."""
        return autocast_dtype(self.recipe.precision, self.device)

    @cached_property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of pixels from 0 to 255, [1, C, 1, 1] on the device."""
        mean, std = (
            (torch.tensor(values).view(1, -1, 1, 1) * 255).to(self.device, non_blocking=True)
            for values in (self.data.mean, self.data.std)
        )
        return mean, std

    def prepare(self, model: nn.Module) -> None:
        """Takes weights to begin with, and freezes what is not trained."""
        begin(model, self.recipe)
        freeze(model, self.architecture, self.recipe)

    def train_mode(self, model: nn.Module) -> None:
        """Puts a model into training mode; what is frozen stays in evaluation mode."""
        model.train()
        hold_frozen(model, self.recipe)

    @cached_property
    def loaders(self) -> int:
        """How many processes read images; 0 for a thread of this one."""
        if self.recipe.loaders is not None:
            return self.recipe.loaders
        idle = hook(self.data.train, "in_memory") and not self.changes_much
        return 0 if idle or self.device.type == "cpu" else torch.get_num_threads()

    @property
    def changes_much(self) -> bool:
        """Whether each training image is changed by a CPU for longer than it is read of memory."""
        return False

    def batches(
        self, part: int, read: Reader[Batch], order: Iterable[np.ndarray]
    ) -> Iterator[Batch]:
        """What a reader makes of a part's images in an order, read ahead of their use.

        The part is `TRAIN` or `VALIDATION`.
        """
        every = (self.data.train, self.data.validation)
        # Of a timing on a few of them the whole is sent, once for all timings.
        parts = tuple(getattr(images, "whole", images) for images in every)
        pinned = self.device.type == "cuda"
        requests = (Request(part, read, indices) for indices in order)
        if self.loaders:
            return loader_pool(parts, self.loaders, pinned=pinned).read(requests)
        return in_thread(parts, requests, pinned=pinned)

    def side(self, epoch: int) -> int:
        """The side in pixels of the images of an epoch, from 1, and of its validation.

        Raises:
            TrialError: a factory's module takes no smaller images.
        """
        try:
            return smaller_side(self.architecture, self.schedule.at(epoch).resolution)
        except UserError as error:  # the baseline was tried before; here it is a network's own
            raise TrialError(error.problem) from None

    def course(self, seed: int) -> Course:
        """The epochs of a training; `seed` alone decides which images a part of the data is."""

        def order() -> np.ndarray:
            return nested_order(len(self.data.train), seed_for(seed, "data", 0), self.labels)

        recipe = self.recipe
        return Course(recipe.epochs, len(self.data.train), recipe.batch_size, order, self.schedule)

    @property
    def labels(self) -> np.ndarray | None:
        """The class of each training image, where it has one: a part of them has all classes."""
        return None

    @abc.abstractmethod
    def reader(self, seed: int, side: int) -> Reader[Batch]:
        """Makes batches of training images with a side of so many pixels, changed at random.

        What it draws for an image follows from the seed and the image's index alone. It is called
        in a thread or processes of its own, and pickled without the images.
        """

    @abc.abstractmethod
    def loss(self, model: nn.Module, batch: Batch, normaliser: float | None = None) -> Loss:
        """The loss of a batch: a sum over its images, divided by its `normaliser` or another one.

        With that of a whole batch the losses of its parts add up to its own.
        """

    @abc.abstractmethod
    def normaliser(self, parts: Sequence[Batch]) -> float:
        """What the loss of a batch is divided by, given all of its parts."""

    @abc.abstractmethod
    def part(self, batch: Batch, images: slice) -> Batch:
        """Some images of a batch."""

    @abc.abstractmethod
    def evaluate(self, model: nn.Module, side: int) -> Evaluation:
        """The scores of a model in evaluation mode, over every validation image once, at a side."""

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8 images [N, C, R, R] as a network takes them, on the device in channels last."""
        images, (mean, std) = self.sent(pixels).float(), self._statistics
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of forward passes."""
        low = self.autocast_dtype
        return torch.autocast(self.device.type, dtype=low, enabled=low is not None)

    def cuda_math(self) -> AbstractContextManager[None]:
        """How CUDA computes while the task is at work."""
        recipe = self.recipe
        return cuda_math(self.device, tf32=recipe.tf32, cudnn_benchmark=recipe.cudnn_benchmark)

    def sent(self, tensor: Tensor) -> Tensor:
        """A tensor on the device; nobody waits for a pinned one."""
        return tensor.to(self.device, non_blocking=True)


class Best(NamedTuple):
    """The best of the validated epochs so far: its scores, and all that the scored module held."""

    score: Score
    state: dict[str, Tensor]


@dataclass(kw_only=True)
class State:
    """All that training changes.

    Attributes:
        scaler: of fp16's losses; in any other precision it does nothing and has no state.
        average: the moving average of the weights, if the recipe asks for one.
        epoch: how many epochs are done.
        best: of `checkpoint: best`, the epoch whose weights will count.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: MovingAverage | None
    epoch: int = 0
    best: Best | None = None

    @classmethod
    def begin(cls, model: nn.Module, task: Task[Any]) -> State:
        """The state before the first step."""
        model.to(task.device)
        model.to(memory_format=torch.channels_last)
        task.prepare(model)
        ema = task.recipe.ema
        average = None if ema is None else MovingAverage(model, ema)
        optimizer = make_optimizer(model, task.recipe)
        scaler = gradient_scaler(optimizer, task.device, task.autocast_dtype)
        return cls(model=model, optimizer=optimizer, scaler=scaler, average=average)

    def snapshot(self) -> dict[str, Any]:
        """All of it as tensors and plain values; the tensors are the state's own."""
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state(),
            "best": None if self.best is None else _plain_best(self.best),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Becomes what it was when the snapshot was taken."""
        self.epoch = snapshot["epoch"]
        self.model.load_state_dict(snapshot["model"])
        self.optimizer.load_state_dict(snapshot["optimizer"])
        if snapshot["scaler"] and self.scaler.is_enabled():  # else it was another kind of GPU
            self.scaler.load_state_dict(snapshot["scaler"])
        if self.average is not None:
            self.average.load(snapshot["average"])
        if snapshot["best"] is not None:
            step, values, written, state = snapshot["best"]
            detections = None if written is None else bytes(written.numpy())
            self.best = Best(Score(step, values, detections), state)

    @property
    def scored(self) -> nn.Module:
        """The module whose scores count."""
        return self.model if self.average is None else self.average.module


def train(
    model: nn.Module, task: Task[Any], seed: int, scratch: Scratch | None = None
) -> Generator[Score, None, None]:
    """Trains `model` and yields its scores, and the mean `loss` where a task has none of its own.

    It does so after every `validate_every`th epoch and the last; of several `seeds` once, at the
    end of all. With the last score the model holds the weights that were scored, in eval mode, on
    the device it was trained on. The same model, seed, threads and machine give bit-equal weights
    on a CPU. Random numbers of the caller are never touched: each epoch draws from (seed, epoch).

    With a scratch folder it leaves a checkpoint there, and goes on from the one of an earlier
    attempt: it yields that one's scores again and trains what is left, to the same weights.

    Raises:
        TrialError: a loss that is not a finite number, or an image that cannot be decoded.
        UserError: the recipe asks for what the network or the machine does not have.
    """
    checkpoint = TrainingCheckpoint.of(scratch, lambda: _identity(task, seed))
    if task.recipe.seeds > 1:
        yield _repeated(model, task, seed, checkpoint)
    else:
        yield from _trained(model, task, seed, checkpoint, [])


def _identity(task: Task[Any], seed: int) -> str:
    """What a checkpoint must have in common with a training."""
    # A resume may have others of these: after running out of memory, or on another machine.
    recipe = replace(task.recipe, micro_batch=None, validation_batch=None, loaders=None)
    data = task.data
    images = len(data.train), len(data.validation), data.mean, data.std, data.classes
    same = f"{digest(task.architecture)}/{seed}/{recipe}/{images}"
    return f"{same}/{task.schedule}" if task.schedule else same


def _trained(
    model: nn.Module,
    task: Task[Any],
    seed: int,
    checkpoint: TrainingCheckpoint,
    finished: Sequence[Mapping[str, float]],
) -> Generator[Score, None, None]:
    """One training, after those of other seeds whose last scores are `finished`."""
    state, recipe, course = State.begin(model, task), task.recipe, task.course(seed)
    scores: list[Score] = []
    saved = checkpoint.read()
    if saved and saved["training"] is not None and len(saved["finished"]) == len(finished):
        state.restore(saved["training"])
        scores = [Score(step, values) for step, values in saved["scores"]]
        del saved  # it holds every weight twice
        yield from scores

    def now() -> dict[str, Any]:
        shown = [[score.step, dict(score.values)] for score in scores]
        return {"finished": [*finished], "training": state.snapshot(), "scores": shown}

    while state.epoch < recipe.epochs:
        began, epoch_seed = time.perf_counter(), seed_for(seed, "epoch", state.epoch + 1)
        with isolated(epoch_seed, task.device), task.cuda_math():
            values, speed = _train_epoch(state, task, course, epoch_seed)
            last = state.epoch == recipe.epochs
            validates = last or state.epoch % recipe.validate_every == 0
            if validates:
                evaluation = _evaluate(state, task)
        if state.average is not None and last:
            model.load_state_dict(state.average.module.state_dict())
        model.eval()
        if validates:
            added = {name: v for name, v in values.items() if name not in evaluation.values}
            score = Score(state.epoch, evaluation.values | added, images_per_second=speed)
            better = recipe.checkpoint == "best" and _is_better(score, state.best, task)
            write = evaluation.detections_json if better or last else None
            score = replace(score, detections_json=None if write is None else write())
            if better:
                state.best = Best(score, _copied(state.scored))
            if last and state.best is not None:
                model.load_state_dict(state.best.state)
                best = state.best.score
                score = replace(best, step=score.step, images_per_second=speed)
            scores.append(score if last else replace(score, detections_json=None))
        if not last:  # before the score is shown: who is told of an epoch may rely on it
            checkpoint.after_epoch(state.epoch, time.perf_counter() - began, now)
        if validates:
            yield replace(scores[-1], notes=checkpoint.notes)


def _is_better(score: Score, best: Best | None, task: Task[Any]) -> bool:
    """Whether a score is above the best before it, by the task's first metric.

    Epochs of less than the last one's fidelity do not count: they are scored on other images.
    """
    metric, at = task.metrics[0], task.schedule.at
    if at(score.step) != at(task.recipe.epochs):
        return False
    if best is None or metric not in best.score.values:
        return True
    return score.values.get(metric, -math.inf) > best.score.values[metric]


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


def _plain_best(best: Best) -> list[Any]:
    """The best epoch in values that a checkpoint can hold."""
    written = best.score.detections_json
    tensor = None if written is None else torch.frombuffer(bytearray(written), dtype=torch.uint8)
    return [best.score.step, dict(best.score.values), tensor, best.state]


def _repeated(
    model: nn.Module, task: Task[Any], seed: int, checkpoint: TrainingCheckpoint
) -> Score:
    """The mean score of several trainings; the model ends with the weights of the last."""
    alone = replace(task, recipe=replace(task.recipe, seeds=1))
    saved = checkpoint.read()
    finished: list[Mapping[str, float]] = [] if saved is None else [*saved["finished"]]
    del saved
    for number in range(len(finished), task.recipe.seeds):
        own = seed_for(seed, "repeat", number)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(own)
            model.load_state_dict(build(task.architecture).state_dict())
        *_, last = _trained(model, alone, own, checkpoint, finished)
        finished.append(dict(last.values))
        if len(finished) < task.recipe.seeds:
            checkpoint.write({"finished": finished, "training": None})
    names = [name for name in last.values if all(name in values for values in finished)]
    values = {name: fmean(each[name] for each in finished) for name in names}
    for metric in task.metrics:
        if metric in names:
            values[f"{metric}_spread"] = stdev(each[metric] for each in finished)
    return replace(last, values=values)


def _train_epoch(
    state: State, task: Task[Any], course: Course, seed: int
) -> tuple[dict[str, float], float]:
    """One pass over its images: the mean `loss`, and `step_seconds` if they are timed.

    And the images that it trained with each second.
    """
    recipe, epoch = task.recipe, state.epoch + 1
    draws = torch.Generator().manual_seed(seed)
    batches = course.batches(epoch, draws)
    before, steps = course.step(epoch), len(batches)
    read = task.reader(seed, task.side(epoch))
    pending, losses, seconds = list[Loss](), list[float](), list[float]()
    task.train_mode(state.model)
    began_epoch = time.perf_counter()
    with quick_depthwise(state.model):
        for step, batch in enumerate(task.batches(TRAIN, read, batches), 1):
            rate = learning_rate(recipe, before + step - 1, course.steps)
            set_learning_rate(state.optimizer, rate)
            began = time.perf_counter()
            pending.append(_step(state, task, batch))
            if recipe.timed or step % _LOOK_EVERY == 0 or step == steps:
                losses += _finite(pending, task, course, epoch, len(losses))
                pending.clear()
            seconds.append(time.perf_counter() - began)
    state.epoch += 1
    timed = {"step_seconds": median(seconds)} if recipe.timed else {}
    speed = sum(map(len, batches)) / (time.perf_counter() - began_epoch)
    return {"loss": sum(losses) / len(losses), **timed}, speed


def _step(state: State, task: Task[Any], batch: Any) -> Loss:
    """One update of the weights."""
    state.optimizer.zero_grad(set_to_none=True)  # before activations take their room
    if task.recipe.step_batch >= len(batch):
        loss = task.loss(state.model, batch)
        state.scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]
    else:
        loss = _accumulated(state, task, batch)
    state.scaler.unscale_(state.optimizer)  # clipped is what the optimizer takes
    if task.recipe.clip is not None:
        clip_gradients(state.model, task.recipe.clip, task.device)
    state.scaler.step(state.optimizer)  # skipped after an overflow of fp16, which is no error
    state.scaler.update()
    if state.average is not None:
        state.average.update(state.model)
    return Loss(loss.total.detach(), loss.where)


def _accumulated(state: State, task: Task[Any], batch: Any) -> Loss:
    """The loss of a batch whose parts come one after the other, its gradient added up."""
    bounds = micro_batches(len(batch), task.recipe.step_batch)
    parts, losses = [task.part(batch, slice(*each)) for each in bounds], list[Loss]()
    normaliser = task.normaliser(parts)
    for part in parts:
        loss = task.loss(state.model, part, normaliser)
        state.scaler.scale(loss.total).backward()  # type: ignore[no-untyped-call]
        losses.append(Loss(loss.total.detach(), loss.where))
    total = torch.stack([loss.total for loss in losses]).sum()

    def where() -> str:
        broken = [loss for loss in losses if not math.isfinite(float(loss.total))]
        return (broken or losses)[0].where()

    return Loss(total, where)


def _finite(
    pending: list[Loss], task: Task[Any], course: Course, epoch: int, done: int
) -> list[float]:
    """The losses of the steps after `done` as numbers; `TrialError` for one that is not finite."""
    values: list[float] = torch.stack([loss.total for loss in pending]).tolist()
    for step, (value, loss) in enumerate(zip(values, pending, strict=True), done + 1):
        if not math.isfinite(value):
            rate = learning_rate(task.recipe, course.step(epoch) + step - 1, course.steps)
            raise TrialError(
                f"loss is {value} in epoch {epoch}, step {step} "
                f"(learning rate {rate:.3g}){loss.where()}"
            )
    return values


def _evaluate(state: State, task: Task[Any]) -> Evaluation:
    with torch.no_grad():
        evaluation = task.evaluate(state.scored.eval(), task.side(state.epoch))
    loss = evaluation.values.get("loss", 0.0)
    if not math.isfinite(loss):
        raise TrialError(f"validation loss is {loss} after epoch {state.epoch}")
    return evaluation
